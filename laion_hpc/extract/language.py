"""The language of a text, by CLD3, and the class that decides how it is filtered."""

from __future__ import annotations

from typing import NamedTuple

import gcld3

CACHED_TEXTS = 1 << 16
"""Texts whose language is remembered, per process; some 20 MB. The same alt texts come again
and again within a site, and WATs hold the pages of a site together."""

UNDETERMINED = "und"


class Language(NamedTuple):
    """What CLD3 says of a text, and what follows from it."""

    code: str
    """BCP-47; empty if none was detected."""
    probability: float
    reliable: bool
    kind: str
    """en, multi or nolang (`schemas.LANGUAGE_CLASSES`)."""


NO_LANGUAGE = Language("", 0.0, False, "nolang")


class Identifier:
    """CLD3 with a cache. The answer depends on the text alone. One per process: not shared."""

    def __init__(self, min_bytes: int, max_bytes: int, min_probability: float) -> None:
        self._threshold = min_probability
        self._cld3 = gcld3.NNetLanguageIdentifier(min_bytes, max_bytes)
        self._cache: dict[str, Language] = {}

    def __call__(self, text: str) -> Language:
        """The language of a text without lone surrogates."""
        found = self._cache.get(text)
        if found is None:
            if len(self._cache) >= CACHED_TEXTS:
                self._cache.clear()
            result = self._cld3.FindLanguage(text)
            found = classify(
                result.language, result.probability, result.is_reliable, self._threshold
            )
            self._cache[text] = found
        return found


def classify(code: str, probability: float, reliable: bool, threshold: float) -> Language:
    """LAION-5B's three classes: English, another language, and no language.

    A text is of no language if CLD3 detects none, calls its answer unreliable, or gives it less
    than the threshold. Code and probability are kept in any case.
    """
    if code == UNDETERMINED or not code:
        return NO_LANGUAGE
    if not reliable or probability < threshold:
        kind = "nolang"
    else:
        kind = "en" if code == "en" else "multi"
    return Language(code, probability, reliable, kind)
