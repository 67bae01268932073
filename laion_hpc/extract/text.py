"""Alt texts made fit for use: one line, no control characters, mojibake repaired."""

from __future__ import annotations

import re

_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff]+")
"""C0 and C1 controls, line and paragraph separators, byte order marks."""


_DOUBTFUL = re.compile(
    "[\x80-\u0250\u02c6-\u02dd\u0370-\u0530\u2010-\u2265\ufb01\ufb02\ufffd]{2}"
    "|[\x80-\x9f]|[\xc2\xc3] "
)
"""Where mojibake can be: UTF-8 read as a single-byte character set shows at least two characters
in a row that are not ASCII, or a capital A with an accent before what was a no-break space."""


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


def _repaired(text: str) -> str:
    from ftfy import fix_encoding
    from ftfy.badness import is_bad  # the heuristic that fix_encoding asks first

    return fix_encoding(text) if is_bad(text) else text
