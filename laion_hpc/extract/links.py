"""Whether an image link becomes a candidate, and if not, why not."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from laion_hpc.config import Config
from laion_hpc.extract.text import clean
from laion_hpc.urls import Base, extension_of


class Rules(NamedTuple):
    """The config keys that the decision reads."""

    min_text: int
    max_text: int
    max_url: int
    extensions: frozenset[str]

    @classmethod
    def of(cls, config: Config) -> Rules:
        """The rules that a config sets."""
        keys = config.extract
        return cls(
            keys.min_text_characters,
            keys.max_text_characters,
            keys.max_url_characters,
            frozenset(extension.lower().lstrip(".") for extension in keys.drop_extensions),
        )


def decide(
    reference: str, alt: str, base: Base | None, rules: Rules, seen: Callable[[str, str], bool]
) -> tuple[str, str, str]:
    """The link's URL, its text and an empty string; or, if it is dropped, the reason last.

    `base` is the page's, None if the page's own URL is broken. `seen(url, text)` tells whether
    the pair came before, and remembers it. The first reason that applies counts, in this order:
    no_text, text_too_short, text_too_long, data_url, not_http, bad_url, url_too_long, extension,
    duplicate_in_wat.
    """
    text = clean(alt)
    if not text:
        return "", "", "no_text"
    if len(text) < rules.min_text:
        return "", "", "text_too_short"
    if len(text) > rules.max_text:
        return "", "", "text_too_long"
    if base is None:
        return "", "", "bad_url"
    url, fault = base.resolve(reference)
    if fault is not None:
        return "", "", fault
    if len(url) > rules.max_url:
        return "", "", "url_too_long"
    if extension_of(url) in rules.extensions:
        return "", "", "extension"
    if seen(url, text):
        return "", "", "duplicate_in_wat"
    return url, text, ""
