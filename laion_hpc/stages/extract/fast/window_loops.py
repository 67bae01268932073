"""The compiled code of `windows`: where members begin, and what records they hold."""

from __future__ import annotations

from typing import Any

import numpy as np

from laion_hpc.runtime.compiled import part

IMAGE, LICENSE, CUT = 1, 2, 4
"""Bits for a record: it mentions images; its payload a licence; the payload is JSON cut short."""

_MAX_HEADER_BYTES = 1 << 16
"""Bytes at the end of a gzip member; the last four are the size of what it holds (RFC 1952)."""
_LEAST = 20
"""Bytes of the shortest gzip member."""

_LENGTH = b"\r\nContent-Length: "
_ORGANISATION = b"creativecommons.org"
BLOCK = 128
"""Bytes that are looked through at once."""

Array = Any
_int: Any = np.int64


def _word(text: bytes) -> Any:
    return np.frombuffer(text, f"<u{len(text)}")[0]


_MG, _GA = _word(b"MG"), _word(b"G@")
"""One of them is at an even place wherever "IMG@" is."""

_L0, _L1, _L2, _L3, _L4, _L5, _L6, _L7 = (_word(_ORGANISATION[n : n + 8]) for n in range(8))
"""One of them is at a place divisible by eight wherever the organisation is."""


@part
def starts_with(data: Array, at: int, end: int, what: bytes) -> bool:
    """Whether `data[at:end]` begins with some bytes."""
    if end - at < len(what):
        return False
    for n in range(len(what)):  # noqa: SIM110
        if data[at + n] != what[n]:
            return False
    return True


@part
def _stated(data: Array, end: int) -> Any:
    return (
        _int(data[end - 4])
        | _int(data[end - 3]) << 8
        | _int(data[end - 2]) << 16
        | _int(data[end - 1]) << 24
    )


def members(data: Array, first: int, room: int, reach: int, places: Array, sizes: Array) -> int:
    """Fill where members end that begin at `first` or later, and their stated sizes; how many.

    As many as have `room` together and lie within `reach` bytes. Among them may be some that are
    none: three bytes of compressed data that look like the begin of the next.
    """
    number = total = 0
    size = len(data)
    stop = min(size - BLOCK, first + reach)
    at = first + _LEAST
    while at < size - 3:
        # Most blocks hold no 1F 8B.
        hit = True
        if at < stop:
            hit = False
            start = np.uint64(at)
            for n in range(BLOCK):
                place = start + np.uint64(n)
                hit |= (data[place] == 0x1F) & (data[place + np.uint64(1)] == 0x8B)
        elif at >= first + reach:
            return number
        after = min(at + BLOCK, size - 3)
        if hit:
            for i in range(at, after):
                if data[i] == 0x1F and data[i + 1] == 0x8B and data[i + 2] == 8:
                    stated = _stated(data, i)
                    if stated > room:
                        continue
                    if number == len(places) or total + stated > room:
                        return number
                    places[number], sizes[number] = i, stated
                    number += 1
                    total += stated
        at = after
    if size - first >= _LEAST and number < len(places):
        stated = _stated(data, size)
        if total + stated <= room:
            places[number], sizes[number] = size, stated
            number += 1
    return number


def records(
    data: Array, halves: Array, words: Array, size: int, first: int, places: Array, sizes: Array,
    offset: Array, spans: Array, flags: Array,
) -> int:  # fmt: skip
    """Fill the last three for the records in `data[:size]`; how many, or -1.

    -1 unless there is one in each member, exactly as long as its header says. The members are
    those that end at some of `places`; the first begins at `first`.
    """
    number = at = candidate = 0
    member = first
    while at < size:
        payload = _header_end(data, at, size)
        if payload < 0:
            return -1
        length = _content_length(data, at, payload)
        if length < 0:
            return -1
        end = payload + length
        after = end + 4
        while candidate < len(places) and sizes[candidate] != after - at:
            candidate += 1
        if candidate == len(places) or after > size:
            return -1
        offset[number] = member
        member = places[candidate]
        candidate += 1
        spans[number, 0], spans[number, 1], spans[number, 2] = at, payload, end
        if _mentions_image(data, halves, at, after):
            flags[number] = IMAGE
            if _mentions_license(data, words, payload, end):
                flags[number] |= LICENSE
        elif length and data[payload] == 0x7B and data[end - 1] != 0x7D:
            flags[number] = CUT
        number += 1
        at = after
    return number if candidate == len(places) else -1


@part
def _header_end(data: Array, at: int, size: int) -> int:
    """Where the payload of a record begins, or -1."""
    if not starts_with(data, at, size, b"WARC/"):
        return -1
    for i in range(at, min(size, at + _MAX_HEADER_BYTES) - 3):
        if data[i] == 0x0D and starts_with(data, i, size, b"\r\n\r\n"):
            return i + 4
    return -1


@part
def _content_length(data: Array, at: int, payload: int) -> int:
    """What the last line of a header says if it is Content-Length, written plainly, or -1."""
    i = payload - 5
    length = 0
    scale = 1
    while i > at and 0x30 <= data[i] <= 0x39 and scale < 10**12:
        length += _int(data[i] - 0x30) * scale
        scale *= 10
        i -= 1
    begin = i + 1 - len(_LENGTH)
    if scale == 1 or begin < at or not starts_with(data, begin, payload, _LENGTH):
        return -1
    if data[i + 1] == 0x30 and scale > 10:
        return -1
    return length


@part
def _mentions_image(data: Array, halves: Array, begin: int, end: int) -> bool:
    """Whether IMG@/src stands in `data[begin:end]`."""
    for block in range(begin // BLOCK, (end + BLOCK - 1) // BLOCK):
        if image_in_block(halves, block):
            for i in range(max(begin, BLOCK * block - 2), min(end, BLOCK * (block + 1))):
                if data[i] == 0x49 and starts_with(data, i, end, b"IMG@/src"):
                    return True
    return False


@part
def image_in_block(halves: Array, block: int) -> bool:
    """Whether IMG@ may stand in a block, or begin in the two bytes before it."""
    first = np.uint64(BLOCK // 2 * block)
    hit = np.uint16(0)
    for n in range(BLOCK // 2):
        x = halves[first + np.uint64(n)]
        hit |= np.uint16(x == _MG) | np.uint16(x == _GA)
    return bool(hit)


@part
def _mentions_license(data: Array, words: Array, begin: int, end: int) -> bool:
    """Whether creativecommons.org stands in `data[begin:end]`."""
    for block in range(begin // BLOCK, (end + BLOCK - 1) // BLOCK):
        first = np.uint64(BLOCK // 8 * block)
        hit = np.uint64(0)
        for n in range(BLOCK // 8):
            x = words[first + np.uint64(n)]
            hit |= (
                np.uint64(x == _L0) | np.uint64(x == _L1) | np.uint64(x == _L2)
                | np.uint64(x == _L3) | np.uint64(x == _L4) | np.uint64(x == _L5)
                | np.uint64(x == _L6) | np.uint64(x == _L7)
            )  # fmt: skip
        if hit:
            for i in range(max(begin, BLOCK * block - 8), min(end, BLOCK * (block + 1))):
                if data[i] == 0x63 and starts_with(data, i, end, _ORGANISATION):
                    return True
    return False
