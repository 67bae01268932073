"""What is read of a text: its letters in lower case, without what repeats, as UTF-8.

After CLD3's cleaning, and in its units: it counts bytes of UTF-8. Spans of letters of one script
are each put between spaces, with one space for whatever stands between letters; then chunks that
are mostly spaces, or can be told from what came before, are left out; of a text that is still too
long some equally spaced snippets are taken.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from laion_hpc.language.model import INVALID, LOWER_BITS
from laion_hpc.runtime.compiled import part

READ_BYTES = 10_000
"""What comes after this number of bytes of a text is ignored (kMaxNumInputBytesToConsider)."""

ROOM = 4 * READ_BYTES + 64
"""Bytes that the letters can need: every one a span of its own, and longer in lower case."""

COMMON, INHERITED = 0, 40
"""Scripts: of no letter, of marks that take the script of what they are put on (ULScript)."""

CHUNK = 48
CHUNK_SPACES = 14
CHUNK_PREDICTED = 19
"""Chunks of 48 bytes go if 30% of it are spaces or 40% were predicted."""

PREDICTIONS = 4096
BACK = 32
"""Bytes in which a space is looked for at which to cut."""

SNIPPETS = 5

_LOWER = (1 << LOWER_BITS) - 1
_SPACE = 32

Array = Any
_int: Any = np.int64
"""What a byte must become before it is shifted."""


@part
def script_of(code: int, characters: Array) -> int:
    """The number of a character's script; COMMON if it is not a letter or mark."""
    script = _int(characters[code]) >> LOWER_BITS
    return COMMON if script == INVALID else script


@part
def encode(code: int, out: Array, put: int) -> int:
    """Write a character as UTF-8; where it ends."""
    if code < 0x80:
        out[put] = code
        return put + 1
    if code < 0x800:
        out[put] = 0xC0 | code >> 6
        out[put + 1] = 0x80 | code & 0x3F
        return put + 2
    if code < 0x10000:
        out[put] = 0xE0 | code >> 12
        out[put + 1] = 0x80 | code >> 6 & 0x3F
        out[put + 2] = 0x80 | code & 0x3F
        return put + 3
    out[put] = 0xF0 | code >> 18
    out[put + 1] = 0x80 | code >> 12 & 0x3F
    out[put + 2] = 0x80 | code >> 6 & 0x3F
    out[put + 3] = 0x80 | code & 0x3F
    return put + 4


@part
def read(data: Array, begin: int, end: int, characters: Array, codes: Array) -> Any:
    """Write the code points of a text, UTF-8 from `begin` to `end` of `data`.

    Two numbers: of the characters to be read, which are those before READ_BYTES are full or one
    comes that is malformed or may not be interchanged; and of those written, which are one more if
    there is a well-formed one after them: it tells where a span ends.
    """
    number = 0
    place = begin
    while place < end:
        code = _int(data[place])
        size = 1
        if code >= 0x80:
            size = 1 + (code >= 0xC2) + (code >= 0xE0) + (code >= 0xF0)
            if size == 1 or code > 0xF4 or place + size > end:
                return number, number
            code &= 0x7F >> size
            for n in range(1, size):
                byte = _int(data[place + n])
                if byte & 0xC0 != 0x80:
                    return number, number
                code = code << 6 | byte & 0x3F
            if (size == 3 and code < 0x800) or (size == 4 and not 0x10000 <= code < 0x110000):
                return number, number
        codes[number] = code
        place += size
        if place - begin > READ_BYTES or _int(characters[code]) >> LOWER_BITS == INVALID:
            return number, number + 1
        number += 1
    return number, number


@part
def letters(text: Array, stop: int, known: int, characters: Array, out: Array) -> int:
    """Write the letters among the first `stop` code points of `text` into `out`; how many bytes.

    A single letter of another script does not end a span if the one after it, among `known` code
    points, is of the span's script again, or no letter.
    """
    take = put = 0
    while True:
        while take < stop and script_of(text[take], characters) == COMMON:
            take += 1
        if take == stop:
            return put
        own = script = script_of(text[take], characters)
        out[put] = _SPACE
        put += 1
        while take < stop:
            while take < stop:
                found = _int(characters[text[take]])
                script = found >> LOWER_BITS
                if script != own and script != INHERITED:
                    if script == COMMON:
                        break
                    after = COMMON
                    if take + 1 < known:  # even if it is beyond `stop`
                        after = script_of(text[take + 1], characters)
                    if after != COMMON and after != own:
                        break
                put = encode(found & _LOWER, out, put)
                take += 1
            while take < stop:
                script = script_of(text[take], characters)
                if script != COMMON:
                    break
                take += 1
            out[put] = _SPACE
            put += 1
            if script != own and script != INHERITED:
                break


@part
def squeeze(out: Array, size: int, table: Array, touched: Array) -> int:
    """Leave out chunks with many spaces or repetitions, in place; how many bytes are left.

    `out[size]` must not continue a character. `table`, PREDICTIONS zeros, is left as it was;
    `touched` has room for a number per character.
    """
    out[size] = 0
    begin = put = 0
    key = touches = 0
    skipping = False
    while begin < size:
        end = min(begin + CHUNK, size)
        while out[end] & 0xC0 == 0x80:
            end += 1
        spaces = 0
        for n in range(begin, begin + (end - begin) // 4 * 4):
            spaces += out[n] == _SPACE
        predicted = 0
        n = begin
        while n < end:
            code = _int(out[n])
            length = 1 + (code >= 0xC0) + (code >= 0xE0) + (code >= 0xF0)
            if length == 2:
                code = code << 8 | out[n + 1]
            elif length == 3:
                code = code << 16 | _int(out[n + 1]) << 8 | out[n + 2]
            elif length == 4:
                code = code << 24 | _int(out[n + 1]) << 16 | _int(out[n + 2]) << 8
                code |= out[n + 3]
            n += length
            if table[key] == code:
                predicted += length
            table[key] = code
            touched[touches] = key
            touches += 1
            key = (key << 4 ^ code) & (PREDICTIONS - 1)
        if spaces >= CHUNK_SPACES or predicted >= CHUNK_PREDICTED:
            if not skipping:
                put -= _back_to_word(out, put)
                if put == 0:
                    out[0] = _SPACE
                    put = 1
                skipping = True
        else:
            source = begin
            if skipping:
                source += _on_to_word(out, begin, end - begin)
                skipping = False
            for n in range(source, end):
                out[put] = out[n]
                put += 1
        begin = end
    for n in range(touches):
        table[touched[n]] = 0
    return put


@part
def _back_to_word(out: Array, put: int) -> int:
    """Bytes back to the last space, or to the begin of a character."""
    limit = min(put, BACK)
    for n in range(limit):
        if out[put - n - 1] == _SPACE:
            return n
    for n in range(limit):
        if out[put - n] & 0xC0 != 0x80:
            return n
    return 0


@part
def _on_to_word(out: Array, begin: int, size: int) -> int:
    """Bytes to the one after the next space, or to the begin of a character."""
    limit = min(size, BACK)
    for n in range(limit):
        if out[begin + n] == _SPACE:
            return n + 1
    for n in range(limit):
        if out[begin + n] & 0xC0 != 0x80:
            return n
    return 0


@part
def snippets(out: Array, size: int, limit: int, chosen: Array) -> int:
    """Write SNIPPETS snippets of together `limit` bytes, a space after each, into `chosen`.

    Only if `size` exceeds `limit`; how many bytes.
    """
    count = 1 if limit <= SNIPPETS else SNIPPETS
    skip = (size - limit) // (count + 1)
    put = end = 0
    for _ in range(count):
        begin = _character_at(out, end, skip, size)
        end = _character_at(out, begin, limit // count, size)
        for n in range(begin, end):
            chosen[put] = out[n]
            put += 1
        chosen[put] = _SPACE
        put += 1
    return put


@part
def _character_at(out: Array, begin: int, distance: int, size: int) -> int:
    """The last place within a distance where a character begins."""
    end = begin + distance
    while begin < end < size and out[end] & 0xC0 == 0x80:
        end -= 1
    return end
