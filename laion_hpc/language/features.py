"""CLD3's features of a text: the inputs of its network.

The mean embedding of all runs of 1, 2, 3 and 4 characters; the mean embedding of the characters'
kinds of script; the embedding of the first script. Sums are taken in float32 in a fixed order, so
that a text's answer depends on nothing but the text.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from laion_hpc.language.letters import COMMON, INHERITED, script_of
from laion_hpc.language.runs import SPACE, any_rows, ascii_rows
from laion_hpc.runtime.compiled import part

INPUTS = 80
BIGRAMS, QUADGRAMS, RELEVANT, SCRIPT, TRIGRAMS, UNIGRAMS = 0, 16, 32, 40, 48, 64
"""Where in the input an embedding begins."""

LATIN, HAN, HANGUL = 1, 24, 102
"""Scripts: CLD3 counts Hangul as Han (ULScript), and tells them apart by what most of it is."""

RELEVANT_SCRIPTS = 12

Array = Any
_int: Any = np.int64


@part
def _plus(sums: Any, table: Array, row: Any, at: int) -> Any:
    """Eight sums and what is added to them; a tuple stays in registers."""
    return (
        sums[0] + table[row, at],
        sums[1] + table[row, at + 1],
        sums[2] + table[row, at + 2],
        sums[3] + table[row, at + 3],
        sums[4] + table[row, at + 4],
        sums[5] + table[row, at + 5],
        sums[6] + table[row, at + 6],
        sums[7] + table[row, at + 7],
    )


_ZERO = np.float32(0)
_ZEROS = (_ZERO, _ZERO, _ZERO, _ZERO, _ZERO, _ZERO, _ZERO, _ZERO)


@part
def _means(
    model: Any, rows: Array, many: int, counts: Array, inputs: Array, into: int
) -> None:  # fmt: skip
    """Write the mean embeddings of the runs."""
    unigrams, bigrams = model.unigrams, model.bigrams
    trigrams, quadgrams = model.trigrams, model.quadgrams
    low1 = high1 = low2 = high2 = low3 = high3 = low4 = high4 = _ZEROS
    for n in range(many):
        low1 = _plus(low1, unigrams, rows[0, n], 0)
        high1 = _plus(high1, unigrams, rows[0, n], 8)
        low2 = _plus(low2, bigrams, rows[1, n], 0)
        high2 = _plus(high2, bigrams, rows[1, n], 8)
        low3 = _plus(low3, trigrams, rows[2, n], 0)
        high3 = _plus(high3, trigrams, rows[2, n], 8)
        low4 = _plus(low4, quadgrams, rows[3, n], 0)
        high4 = _plus(high4, quadgrams, rows[3, n], 8)
    _write(low1, high1, counts[0], inputs, into, UNIGRAMS)
    _write(low2, high2, counts[1], inputs, into, BIGRAMS)
    _write(low3, high3, counts[2], inputs, into, TRIGRAMS)
    _write(low4, high4, counts[3], inputs, into, QUADGRAMS)


@part
def _write(low: Any, high: Any, count: int, inputs: Array, into: int, at: int) -> None:
    divisor = np.float32(max(count, 1))  # without runs the sums are 0
    for k in range(8):
        inputs[into, at + k] = low[k] / divisor
        inputs[into, at + 8 + k] = high[k] / divisor


@part
def _relevant_script(code: int) -> int:
    """The kind of a character: its script where it tells much of the language, else its size."""
    if code < 0x80:
        return 1
    if code < 0x800:
        if code < 0x370:
            return 2
        if code < 0x400:
            return 5  # Greek
        if code < 0x500:
            return 6  # Cyrillic
        if 0x590 <= code < 0x600:
            return 7  # Hebrew
        if 0x600 <= code < 0x700:
            return 8  # Arabic
        return 2
    if code < 0x10000:
        if 0x1100 <= code < 0x1200:
            return 9  # Hangul Jamo
        if 0x3041 <= code < 0x30A0:
            return 10  # Hiragana
        if 0x30A0 <= code < 0x3100:
            return 11  # Katakana
        return 3
    return 4


@part
def _is_hangul(code: int) -> bool:
    return (
        0xAC00 <= code <= 0xD7AF
        or 0x1100 <= code <= 0x11FF
        or 0x3130 <= code <= 0x318F
        or 0xA960 <= code <= 0xA97F
        or 0xD7B0 <= code <= 0xD7FF
        or 0xFFA0 <= code <= 0xFFDC
    )


@part
def _first_script(codes: Array, size: int, characters: Array) -> Any:
    """The script of the first span of a text, Han and Hangul told apart by their numbers in it."""
    take = 0
    while take < size and script_of(codes[take], characters) == COMMON:
        take += 1
    if take == size:
        return COMMON
    own = script_of(codes[take], characters)
    if own != HAN:
        return own
    hangul = others = 0
    while take < size:  # as `letters` finds the end of a span
        script = COMMON
        while take < size:
            script = script_of(codes[take], characters)
            if script != own and script != INHERITED:
                if script == COMMON:
                    break
                after = COMMON
                if take + 1 < size:
                    after = script_of(codes[take + 1], characters)
                if after != COMMON and after != own:
                    break
            if _is_hangul(codes[take]):
                hangul += 1
            else:
                others += 1
            take += 1
        while take < size:
            script = script_of(codes[take], characters)
            if script != COMMON:
                break
            take += 1
        if script != own and script != INHERITED:
            break
    return HANGUL if hangul > others else HAN


@part
def features(
    text: Array, size: int, model: Any, inputs: Array, into: int, data: Array, starts: Array,
    left: Array, words: Array, mixed: Array, rows: Array, counts: Array,
) -> None:  # fmt: skip
    """Write the network's (80,) inputs, `inputs[into]`, for `size` bytes of UTF-8.

    The others are room to work in: for three times the size and some more; `counts` for
    RELEVANT_SCRIPTS.
    """
    relevant_scripts, scripts = model.relevant_scripts, model.scripts
    every = np.uint8(0)
    for n in range(size):
        every |= text[n]
    if every < 0x80:
        many, letters = ascii_rows(text, size, data, rows, counts)
        _means(model, rows, many, counts, inputs, into)
        first = LATIN if letters else COMMON
        for n in range(8):
            inputs[into, RELEVANT + n] = relevant_scripts[1, n] if letters else _ZERO
            inputs[into, SCRIPT + n] = scripts[first, n]
        return
    many = any_rows(text, size, data, starts, left, words, mixed, rows, counts)
    _means(model, rows, many, counts, inputs, into)
    counts[:] = 0
    number = _decode(text, size, starts)
    total = 0
    for n in range(number):
        if starts[n] != SPACE:
            counts[_relevant_script(starts[n])] += 1
            total += 1
    inputs[into, RELEVANT : RELEVANT + 8] = 0
    for kind in range(RELEVANT_SCRIPTS):
        if counts[kind]:
            weight = np.float32(counts[kind]) / np.float32(total)
            for n in range(8):
                inputs[into, RELEVANT + n] += relevant_scripts[kind, n] * weight
    first = _first_script(starts, number, model.characters)
    for n in range(8):
        inputs[into, SCRIPT + n] = scripts[first, n]


@part
def _decode(text: Array, size: int, codes: Array) -> int:
    """Write the code points of valid UTF-8; how many."""
    number = -1
    for n in range(size):
        byte = _int(text[n])
        if byte & 0xC0 == 0x80:
            codes[number] = _int(codes[number]) << 6 | byte & 0x3F
            continue
        number += 1
        if byte >= 0xC0:
            byte &= 0x1F if byte < 0xE0 else 0x0F if byte < 0xF0 else 0x07
        codes[number] = byte
    return number + 1
