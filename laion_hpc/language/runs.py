"""The runs of 1, 2, 3 and 4 characters of a text, as rows of their embeddings.

Runs are within words, words being put between `^` and `$`. A row is the hash of the run's UTF-8
(MurmurHash2, 32 bits, CLD3's seed), modulo the number of rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from laion_hpc.runtime.compiled import part

ROWS = 100, 1000, 5000, 5000
"""Embeddings of the runs of each length; every table has a row of zeros after them. Constants: to
divide by one takes a multiplication."""

SPACE = 32
_BEGIN, _END = 94, 36

_SEED = 0xBEEF
_FACTOR = np.uint32(0x5BD1E995)
_LEADING = np.array([0, 0xFF, 0xFFFF, 0xFFFFFF], np.uint32)
"""Bytes that are left of a word."""

_N1, _N2, _N3, _N4 = map(np.uint32, ROWS)

Array = Any


@part
def _finish(mixed: Any) -> Any:
    """The end of MurmurHash2."""
    mixed = np.uint32((mixed ^ mixed >> np.uint32(13)) * _FACTOR)
    return mixed ^ mixed >> np.uint32(15)


@part
def _hash_word(word: Any) -> Any:
    """MurmurHash2 of four bytes."""
    word = np.uint32(word * _FACTOR)
    word = np.uint32((word ^ word >> np.uint32(24)) * _FACTOR)
    return _finish(np.uint32(np.uint32(_SEED ^ 4) * _FACTOR) ^ word)


@part
def _hash(words: Array, mixed: Array, begin: int, size: int) -> Any:
    """MurmurHash2, 32 bits, of 1 to 16 bytes, with CLD3's seed; without jumps.

    `words[n]` is the four bytes from n on, `mixed[n]` what MurmurHash2 makes of them first.
    """
    first, second = mixed[begin], mixed[begin + np.uint64(4)]
    third, fourth = mixed[begin + np.uint64(8)], mixed[begin + np.uint64(12)]
    left = size & np.uint64(3)
    rest = words[begin + size - left] & _LEADING[left]
    value = np.uint32(np.uint32(_SEED) ^ np.uint32(size))
    more = np.uint32(value * _FACTOR) ^ first
    value = more if size > 3 else value
    more = np.uint32(value * _FACTOR) ^ second
    value = more if size > 7 else value
    more = np.uint32(value * _FACTOR) ^ third
    value = more if size > 11 else value
    more = np.uint32(value * _FACTOR) ^ fourth
    value = more if size > 15 else value
    more = np.uint32((value ^ rest) * _FACTOR)
    return _finish(more if left else value)


@part
def ascii_rows(text: Array, size: int, data: Array, rows: Array, counts: Array) -> Any:
    """`any_rows` for a text in ASCII, whose characters are its bytes; without jumps."""
    data[0] = _BEGIN
    many = 1
    letters = 0
    for n in range(size):
        space = text[n] == SPACE
        data[many] = _END if space else text[n]
        data[many + 1] = SPACE  # these two stay only after a space
        data[many + 2] = _BEGIN
        many += 3 if space else 1
        letters += not space
    data[many] = _END
    many += 1
    for n in range(4):
        data[many + n] = SPACE
    count1 = count2 = count3 = count4 = 0
    for n in range(many):
        mixed = np.uint32(_SEED ^ 1) ^ np.uint32(data[n])
        whole = data[n] != SPACE
        rows[0, n] = _finish(np.uint32(mixed * _FACTOR)) % _N1 if whole else _N1
        count1 += whole
        mixed ^= np.uint32(_SEED ^ 1) ^ np.uint32(_SEED ^ 2)
        mixed ^= np.uint32(np.uint32(data[n + 1]) << np.uint32(8))
        whole = whole and data[n + 1] != SPACE
        rows[1, n] = _finish(np.uint32(mixed * _FACTOR)) % _N2 if whole else _N2
        count2 += whole
        mixed ^= np.uint32(_SEED ^ 2) ^ np.uint32(_SEED ^ 3)
        mixed ^= np.uint32(np.uint32(data[n + 2]) << np.uint32(16))
        whole = whole and data[n + 2] != SPACE
        rows[2, n] = _finish(np.uint32(mixed * _FACTOR)) % _N3 if whole else _N3
        count3 += whole
        mixed ^= np.uint32(_SEED ^ 3)
        mixed |= np.uint32(np.uint32(data[n + 3]) << np.uint32(24))
        whole = whole and data[n + 3] != SPACE
        rows[3, n] = _hash_word(mixed) % _N4 if whole else _N4
        count4 += whole
    counts[0], counts[1], counts[2], counts[3] = count1, count2, count3, count4
    return many, letters


@part
def any_rows(
    text: Array, size: int, data: Array, starts: Array, left: Array, words: Array,
    mixed: Array, rows: Array, counts: Array,
) -> int:  # fmt: skip
    """Write the rows of the embeddings of the runs of 1, 2, 3 and 4 characters that begin at each
    character, and how many there are of each size; how many characters with what marks words.

    Where a word ends before a run does, it has the row of zeros.
    """
    data[0] = _BEGIN
    starts[0] = 0
    many = length = 1
    for n in range(size):
        byte = text[n]
        if byte == SPACE:
            data[length] = _END
            data[length + 1] = SPACE
            data[length + 2] = _BEGIN
            for _ in range(3):
                starts[many] = length
                many += 1
                length += 1
        else:
            if byte & 0xC0 != 0x80:
                starts[many] = length
                many += 1
            data[length] = byte
            length += 1
    data[length] = _END
    starts[many] = length
    many += 1
    starts[many] = length + 1
    after = 0
    for n in range(many - 1, -1, -1):
        after = 0 if data[starts[n]] == SPACE else min(after + 1, 4)
        left[n] = after
    for n in range(4):
        starts[many + 1 + n] = length + 1
    for n in range(17):
        data[length + 1 + n] = 0
    for n in range(length + 14):
        word = (
            np.uint32(data[n])
            | np.uint32(np.uint32(data[n + 1]) << np.uint32(8))
            | np.uint32(np.uint32(data[n + 2]) << np.uint32(16))
            | np.uint32(np.uint32(data[n + 3]) << np.uint32(24))
        )
        words[n] = word
        word = np.uint32(word * _FACTOR)
        mixed[n] = np.uint32((word ^ word >> np.uint32(24)) * _FACTOR)
    count1 = count2 = count3 = count4 = 0
    for n in range(many):
        at = np.uint64(starts[n])
        runs = left[n]
        found = _hash(words, mixed, at, np.uint64(starts[n + 1]) - at) % _N1
        rows[0, n] = found if runs > 0 else _N1
        found = _hash(words, mixed, at, np.uint64(starts[n + 2]) - at) % _N2
        rows[1, n] = found if runs > 1 else _N2
        found = _hash(words, mixed, at, np.uint64(starts[n + 3]) - at) % _N3
        rows[2, n] = found if runs > 2 else _N3
        found = _hash(words, mixed, at, np.uint64(starts[n + 4]) - at) % _N4
        rows[3, n] = found if runs > 3 else _N4
        count1 += runs > 0
        count2 += runs > 1
        count3 += runs > 2
        count4 += runs > 3
    counts[0], counts[1], counts[2], counts[3] = count1, count2, count3, count4
    return many
