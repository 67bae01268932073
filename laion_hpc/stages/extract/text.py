"""Alt texts made fit for use: one line, no control characters, mojibake repaired."""

from __future__ import annotations

import re
from functools import lru_cache

import numpy as np
import numpy.typing as npt

_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff]+")
"""C0 and C1 controls, line and paragraph separators, byte order marks."""


_ALPHABETS = "\u0391-\u03ce\u0401\u0410-\u0457"
"""Greek and Cyrillic letters: mojibake holds them too, but not these alone."""
_OTHERS = (
    "\x80-\u0250\u02c6-\u02dd\u0370-\u0390\u03cf-\u0400\u0402-\u040f\u0458-\u0530"
    "\u2010-\u2265\ufb01\ufb02\ufffd"
)
_ACCENTED_A = "\xc2\xc3"
_DOUBTFUL = re.compile(
    f"[{_OTHERS}][{_OTHERS}{_ALPHABETS}]|[{_ALPHABETS}][{_OTHERS}]|[\x80-\x9f]|[{_ACCENTED_A}] "
)
"""Where mojibake can be: UTF-8 read as a single-byte character set shows at least two characters
in a row that are not ASCII, or a capital A with an accent before what was a no-break space."""

ALONE, ALPHABET, OTHER, ACCENTED_A = 1, 2, 4, 8


@lru_cache(maxsize=1)
def characters() -> npt.NDArray[np.uint8]:
    """What each character below U+20000 is to `clean`, as bits; 0 for one to ask it about.

    A text stays as it is if all are ALONE, one space at most stands between them and none at the
    ends, no OTHER comes beside an OTHER or ALPHABET, and no ACCENTED_A before a space.
    """
    every = "".join(map(chr, range(1 << 17)))
    table = np.fromiter(map(str.isprintable, every), np.uint8, len(every))
    for listed, bit in ((_ALPHABETS, ALPHABET), (_OTHERS, OTHER), (_ACCENTED_A, ACCENTED_A)):
        for found in re.finditer(f"[{listed}]+", every):
            table[found.start() : found.end()] |= bit
    table[0x80:0xA0] = 0
    return table


def clean(text: str) -> str:
    """The text as it is if it needs no repair; else repaired.

    Runs of whitespace and control characters become one space, none at the ends. Text that was
    decoded with the wrong character set is put right (ftfy), only where ftfy's own heuristic
    sees such damage. Nothing else changes: no entities, quotes, widths or normal forms.
    """
    if not text.isascii() and _DOUBTFUL.search(text):
        text = _repaired(text)
    if text.isprintable():  # so the space is its only whitespace
        if text[:1] == " " or text[-1:] == " " or "  " in text:
            text = " ".join(text.split())
        return text
    return " ".join(_CONTROLS.sub(" ", text).split())


@lru_cache(maxsize=1 << 12)
def _repaired(text: str) -> str:
    """Cached, for a page's title and alt, and a site's pages, say the same."""
    from ftfy import fix_encoding

    return fix_encoding(text)  # which asks ftfy.badness.is_bad first
