"""CLD3's features of a text, and its network on them.

Features: the mean embedding of all runs of 1, 2, 3 and 4 characters within words, words being put
between `^` and `$`; the mean embedding of the characters' kinds of script; the embedding of the
first script. Then one hidden layer with ReLU, and a softmax over the languages. Sums are taken in
float32 in a fixed order, so that a text's answer depends on nothing but the text.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from laion_hpc.language.compiled import part
from laion_hpc.language.letters import COMMON, INHERITED, script_of

INPUTS = 80
HIDDEN = 208
LANGUAGES = 109
BIGRAMS, QUADGRAMS, RELEVANT, SCRIPT, TRIGRAMS, UNIGRAMS = 0, 16, 32, 40, 48, 64
"""Where in the input an embedding begins."""

LATIN, HAN, HANGUL = 1, 24, 102
"""Scripts: CLD3 counts Hangul as Han (ULScript), and tells them apart by what most of it is."""

RELEVANT_SCRIPTS = 12
_SPACE, _BEGIN, _END = 32, 94, 36

_SEED = 0xBEEF
_FACTOR = np.uint32(0x5BD1E995)
_TERMS = 14
"""Of the series for exp: its error is below 1e-11 of the value, for arguments from -32 to 0."""

Array = Any
_int: Any = np.int64


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
def _hash(data: Array, begin: int, end: int) -> Any:
    """MurmurHash2, 32 bits, of some bytes, with CLD3's seed."""
    mixed = np.uint32(_SEED ^ (end - begin))
    while begin + 4 <= end:
        word = np.uint32(_bytes(data, begin, 3) * _FACTOR)
        word = np.uint32((word ^ word >> np.uint32(24)) * _FACTOR)
        mixed = np.uint32(mixed * _FACTOR) ^ word
        begin += 4
    if begin < end:
        rest = np.uint32(data[begin])
        if begin + 1 < end:
            rest |= np.uint32(np.uint32(data[begin + 1]) << np.uint32(8))
        if begin + 2 < end:
            rest |= np.uint32(np.uint32(data[begin + 2]) << np.uint32(16))
        mixed = np.uint32((mixed ^ rest) * _FACTOR)
    return _finish(mixed)


@part
def _bytes(data: Array, at: int, last: int) -> Any:
    """The bytes from `at` to `at + last`, the first lowest."""
    word = np.uint32(data[at])
    if last > 0:
        word |= np.uint32(np.uint32(data[at + 1]) << np.uint32(8))
    if last > 1:
        word |= np.uint32(np.uint32(data[at + 2]) << np.uint32(16))
    if last > 2:
        word |= np.uint32(np.uint32(data[at + 3]) << np.uint32(24))
    return word


@part
def _ascii_rows(text: Array, size: int, model: Any, data: Array, rows: Array, counts: Array) -> Any:
    """`_rows` for a text in ASCII, whose characters are its bytes; without jumps."""
    data[0] = _BEGIN
    many = 1
    letters = 0
    for n in range(size):
        space = text[n] == _SPACE
        data[many] = _END if space else text[n]
        data[many + 1] = _SPACE  # these two stay only after a space
        data[many + 2] = _BEGIN
        many += 3 if space else 1
        letters += not space
    data[many] = _END
    many += 1
    for n in range(4):
        data[many + n] = _SPACE
    ones, twos, threes, fours = _none(model)
    count1 = count2 = count3 = count4 = 0
    for n in range(many):
        mixed = np.uint32(_SEED ^ 1) ^ np.uint32(data[n])
        whole = data[n] != _SPACE
        rows[0, n] = _finish(np.uint32(mixed * _FACTOR)) % ones if whole else ones
        count1 += whole
        mixed ^= np.uint32(_SEED ^ 1) ^ np.uint32(_SEED ^ 2)
        mixed ^= np.uint32(np.uint32(data[n + 1]) << np.uint32(8))
        whole = whole and data[n + 1] != _SPACE
        rows[1, n] = _finish(np.uint32(mixed * _FACTOR)) % twos if whole else twos
        count2 += whole
        mixed ^= np.uint32(_SEED ^ 2) ^ np.uint32(_SEED ^ 3)
        mixed ^= np.uint32(np.uint32(data[n + 2]) << np.uint32(16))
        whole = whole and data[n + 2] != _SPACE
        rows[2, n] = _finish(np.uint32(mixed * _FACTOR)) % threes if whole else threes
        count3 += whole
        mixed ^= np.uint32(_SEED ^ 3)
        mixed |= np.uint32(np.uint32(data[n + 3]) << np.uint32(24))
        whole = whole and data[n + 3] != _SPACE
        rows[3, n] = _hash_word(mixed) % fours if whole else fours
        count4 += whole
    counts[0], counts[1], counts[2], counts[3] = count1, count2, count3, count4
    return many, letters


@part
def _none(model: Any) -> Any:
    """The rows of zeros, for what is no run."""
    return (
        np.uint32(len(model.unigrams) - 1),
        np.uint32(len(model.bigrams) - 1),
        np.uint32(len(model.trigrams) - 1),
        np.uint32(len(model.quadgrams) - 1),
    )


@part
def _rows(
    text: Array, size: int, model: Any, data: Array, starts: Array, left: Array, rows: Array,
    counts: Array,
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
        if byte == _SPACE:
            data[length] = _END
            data[length + 1] = _SPACE
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
        after = 0 if data[starts[n]] == _SPACE else min(after + 1, 4)
        left[n] = after
    nones = _none(model)
    for run in range(4):
        counts[run] = 0
        for n in range(many):
            if left[n] > run:
                rows[run, n] = _hash(data, starts[n], starts[n + run + 1]) % nones[run]
                counts[run] += 1
            else:
                rows[run, n] = nones[run]
    return many


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
def _means(model: Any, rows: Array, many: int, counts: Array, inputs: Array) -> None:
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
    _write(low1, high1, counts[0], inputs, UNIGRAMS)
    _write(low2, high2, counts[1], inputs, BIGRAMS)
    _write(low3, high3, counts[2], inputs, TRIGRAMS)
    _write(low4, high4, counts[3], inputs, QUADGRAMS)


@part
def _write(low: Any, high: Any, count: int, inputs: Array, at: int) -> None:
    divisor = np.float32(max(count, 1))  # without runs the sums are 0
    for k in range(8):
        inputs[at + k] = low[k] / divisor
        inputs[at + 8 + k] = high[k] / divisor


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
    text: Array, size: int, model: Any, inputs: Array, data: Array, starts: Array, left: Array,
    rows: Array, counts: Array,
) -> None:  # fmt: skip
    """Write the network's (80,) inputs for `size` bytes of UTF-8.

    The others are room to work in: for three times the size and some more; `counts` for
    RELEVANT_SCRIPTS.
    """
    relevant_scripts, scripts = model.relevant_scripts, model.scripts
    every = np.uint8(0)
    for n in range(size):
        every |= text[n]
    if every < 0x80:
        many, letters = _ascii_rows(text, size, model, data, rows, counts)
        _means(model, rows, many, counts, inputs)
        first = LATIN if letters else COMMON
        for n in range(8):
            inputs[RELEVANT + n] = relevant_scripts[1, n] if letters else _ZERO
            inputs[SCRIPT + n] = scripts[first, n]
        return
    many = _rows(text, size, model, data, starts, left, rows, counts)
    _means(model, rows, many, counts, inputs)
    counts[:] = 0
    number = _decode(text, size, starts)
    total = 0
    for n in range(number):
        if starts[n] != _SPACE:
            counts[_relevant_script(starts[n])] += 1
            total += 1
    inputs[RELEVANT : RELEVANT + 8] = 0
    for kind in range(RELEVANT_SCRIPTS):
        if counts[kind]:
            weight = np.float32(counts[kind]) / np.float32(total)
            for n in range(8):
                inputs[RELEVANT + n] += relevant_scripts[kind, n] * weight
    first = _first_script(starts, number, model.characters)
    for n in range(8):
        inputs[SCRIPT + n] = scripts[first, n]


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


@part
def _exp(x: float) -> float:
    """e^x for x up to 0, and next to nothing below -32."""
    small = max(x, -32.0) / 32
    power = 1.0
    for n in range(_TERMS, 0, -1):
        power = 1 + power * small * (1 / n)
    for _ in range(5):
        power *= power
    return power


@part
def _layer(inputs: Array, used: Array, uses: int, weights: Array, sums: Array, width: int) -> None:
    """Add to `sums` the rows of `weights` that `used[:uses]` names, times their inputs; in order.

    Four rows at a time, which spares memory accesses and leaves the order of additions alone.
    """
    n = 0
    while n + 4 <= uses:
        a, b, c, d = used[n], used[n + 1], used[n + 2], used[n + 3]
        e, f, g, h = inputs[a], inputs[b], inputs[c], inputs[d]
        for k in range(width):
            sums[k] = (
                ((sums[k] + weights[a, k] * e) + weights[b, k] * f) + weights[c, k] * g
            ) + weights[d, k] * h
        n += 4
    while n < uses:
        a = used[n]
        e = inputs[a]
        for k in range(width):
            sums[k] += weights[a, k] * e
        n += 1


@part
def infer(inputs: Array, model: Any, hidden: Array, used: Array, scores: Array) -> Any:
    """The most likely language and its probability."""
    for n in range(INPUTS):
        used[n] = n
    hidden[:] = model.hidden_bias
    _layer(inputs, used, INPUTS, model.hidden, hidden, HIDDEN)
    uses = 0
    for n in range(HIDDEN):
        used[uses] = n
        uses += hidden[n] > 0
    scores[:] = model.output_bias
    _layer(hidden, used, uses, model.output, scores, len(scores))
    best = 0
    most = scores[0]
    for n in range(1, LANGUAGES):
        if scores[n] > most:
            best, most = n, scores[n]
    for n in range(len(scores)):
        scores[n] = _exp(scores[n] - most)
    rest = np.float32(0)
    for n in range(LANGUAGES):
        rest += scores[n]
    log_sum = np.float32(most + np.float32(math.log(rest)))
    return best, np.float32(_exp(most - log_sum))
