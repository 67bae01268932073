"""The table of characters, against what Python knows of Unicode."""

from __future__ import annotations

import unicodedata

import numpy as np

from laion_hpc.language import CODES, UNDETERMINED
from laion_hpc.language.features import HAN, HANGUL, INPUTS, LATIN
from laion_hpc.language.letters import COMMON, INHERITED
from laion_hpc.language.model import INVALID, LANES, LOWER_BITS, load
from laion_hpc.language.network import HIDDEN, LANGUAGES
from laion_hpc.language.runs import ROWS

TABLE = load().characters
LOWER = TABLE & np.uint32((1 << LOWER_BITS) - 1)
SCRIPT = TABLE >> np.uint32(LOWER_BITS)


def test_lower_case_is_pythons() -> None:
    changed = np.flatnonzero(np.arange(len(TABLE)) != LOWER)
    assert len(changed) > 1000
    other = [code for code in changed if chr(code).lower() != chr(LOWER[code])]
    assert other == [0x130]  # İ, which Python makes two characters of


def test_what_may_not_be_interchanged() -> None:
    controls = (set(range(0x20)) - {9, 10, 12, 13}) | set(range(0x7F, 0xA0))
    never = set(range(0xFDD0, 0xFDF0))
    never |= {plane << 16 | low for plane in range(17) for low in (0xFFFE, 0xFFFF)}
    expected = controls | set(range(0xD800, 0xE000)) | never
    assert set(np.flatnonzero(SCRIPT == INVALID).tolist()) == expected


def test_scripts_are_of_letters_and_marks() -> None:
    of_ascii = [code for code in range(128) if SCRIPT[code] not in (COMMON, INVALID)]
    assert "".join(map(chr, of_ascii)) == "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    assert {SCRIPT[ord(letter)] for letter in "aÉſ"} == {LATIN}
    assert {SCRIPT[ord(letter)] for letter in "漢かカ한"} >= {HAN}
    assert SCRIPT[0x301] == INHERITED
    letters = [code for code in np.flatnonzero(SCRIPT) if SCRIPT[code] != INVALID]
    other = [code for code in letters if unicodedata.category(chr(code))[0] not in "LM"]
    assert len(letters) > 100_000 and len(other) == 3  # of which Unicode thinks otherwise today


def test_shapes() -> None:
    model = load()
    assert model.hidden.shape == (HIDDEN / LANES, INPUTS, LANES)
    groups, rows, lanes = model.output.shape
    assert rows == HIDDEN and groups * lanes >= LANGUAGES
    assert tuple(len(table) - 1 for table in model[1:5]) == ROWS
    assert len(model.scripts) == HANGUL + 1
    assert all(not table[-1].any() for table in model[1:5])
    assert len(CODES) == LANGUAGES + 1 and CODES[UNDETERMINED] == "" and len(set(CODES)) == 110
