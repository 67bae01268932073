"""The compiled code of `find`: finds image links in JSON, and decides on the plain ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from laion_hpc.runtime.compiled import part
from laion_hpc.stages.extract.fast.arrays import Array, Buffer, Found, Limits, Pages
from laion_hpc.stages.extract.fast.judge import (
    AMPERSAND,
    BASE_BROKEN,
    CLASS,
    CONTROL,
    ESCAPE,
    LETTER,
    NOT_ASCII,
    ODD,
    OK,
    SPACES,
    judge_text,
    resolve,
)
from laion_hpc.stages.extract.fast.window_loops import BLOCK, image_in_block, starts_with

_KIND = np.zeros(256, np.uint8)
"""For each byte: 0 if it is nothing special in a string; the bits that it sets, or 128."""
_KIND[0x7F:] = NOT_ASCII
_KIND[:0x20] = CONTROL
_KIND[0x26] = AMPERSAND
_KIND[[0x20, 0x22, 0x5C]] = 128
_PATH, _URL, _ALT, _TITLE = 1, 2, 3, 4
_int: Any = np.int64


@part
def _string(buf: Array, at: int, end: int) -> tuple[int, int]:
    """Read a JSON string whose opening quote is at `at`: (place of its closing one, bits)."""
    bits = 0
    # Unsigned: numba need not ask whether an index counts from the end.
    first = np.uint64(at + 1)
    i = first
    one = np.uint64(1)
    stop = np.uint64(end)
    while i < stop:
        kind = _KIND[buf[i]]
        if kind & 128:
            c = buf[i]
            before = buf[i - one]
            if c == 0x22:
                if before == 0x20:
                    bits |= SPACES
                return _int(i), bits
            if c == 0x5C:
                bits |= ESCAPE
                i += one
            elif before == 0x20 or i == first:
                bits |= SPACES
        else:
            bits |= kind
        i += one
    return -1, bits


@part
def _object(
    buf: Array, begin: int, end: int, image: bool, url: Array, alt: Array, title: Array, row: int
) -> tuple[int, bool, int, int, int]:
    """Read an object of strings without white space: (its end, is it an image, bits of each).

    From its brace, or with `image` from the comma or brace after a path that says so.

    The spans `url[row]` and so on are set to those of its values. The end is -1 if it is written
    otherwise.
    """
    url[row, 0] = url[row, 1] = alt[row, 0] = alt[row, 1] = title[row, 0] = title[row, 1] = 0
    url_bits = 0
    alt_bits = 0
    title_bits = 0
    i = begin  # at a brace or comma
    if image and i < end and buf[i] == 0x7D:
        return i + 1, image, url_bits, alt_bits, title_bits
    if image and (i >= end or buf[i] != 0x2C):
        return -1, image, url_bits, alt_bits, title_bits
    while True:
        if i + 1 >= end or buf[i + 1] != 0x22:
            return -1, image, url_bits, alt_bits, title_bits
        name = 0
        if starts_with(buf, i + 2, end, b'url":"'):
            name, value = _URL, i + 8
        elif starts_with(buf, i + 2, end, b'alt":"'):
            name, value = _ALT, i + 8
        elif starts_with(buf, i + 2, end, b'title":"'):
            name, value = _TITLE, i + 10
        else:
            colon, bits = _string(buf, i + 1, end)
            if colon < 0 or colon + 2 >= end or buf[colon + 1] != 0x3A or buf[colon + 2] != 0x22:
                return -1, image, url_bits, alt_bits, title_bits
            if bits & ESCAPE:
                return -1, image, url_bits, alt_bits, title_bits
            if colon - i == 6 and starts_with(buf, i + 2, colon, b"path"):
                name = _PATH
            value = colon + 3
        close, bits = _string(buf, value - 1, end)
        if close < 0 or close + 1 >= end or bits & CONTROL:
            return -1, image, url_bits, alt_bits, title_bits
        if name == _URL:
            url[row, 0] = value
            url[row, 1] = close
            url_bits = bits
        elif name == _ALT:
            alt[row, 0] = value
            alt[row, 1] = close
            alt_bits = bits
        elif name == _TITLE:
            title[row, 0] = value
            title[row, 1] = close
            title_bits = bits
        elif name == _PATH:
            image = close - value == 8 and starts_with(buf, value, close, b"IMG@/src")
        i = close + 1
        if buf[i] == 0x7D:
            return i + 1, image, url_bits, alt_bits, title_bits
        if buf[i] != 0x2C:
            return -1, image, url_bits, alt_bits, title_bits


@part
def _next_image(buf: Array, words: Array, first: int, end: int) -> int:
    """The first place from `first` on and before `end` where IMG@ is, or -1."""
    first = max(first, 0)
    w = (first + 3) // 8
    while 8 * w < end + 3:
        # Is one of the eight bytes an @? (zero bytes of x: Bit Twiddling Hacks, "haszero")
        x = words[w] ^ np.uint64(0x4040404040404040)
        ones = np.uint64(0x0101010101010101)
        if (x - ones) & ~x & np.uint64(0x8080808080808080):
            for i in range(max(8 * w - 3, first), min(8 * w + 5, end)):
                if buf[i + 3] == 0x40 and starts_with(buf, i, i + 4, b"IMG@"):
                    return i
        w += 1
    return -1


def find(buffer: Buffer, pages: Pages, limits: Limits, found: Found) -> int:
    """Fill the arrays of `found`; the number of links."""
    buf = buffer.bytes
    url, alt, titles = found.url, found.alt, found.title
    number = 0
    free = 0
    for current in range(len(pages.spans)):
        begin = pages.spans[current, 0]  # of the page's links, then the end of its last image link
        end = pages.spans[current, 1]
        in_page = 0
        entities = pages.old[current] != 0
        kind = pages.base_kind[current]
        for block in range(begin // BLOCK, (end + BLOCK - 1) // BLOCK):
            if not image_in_block(buffer.halves, block):
                continue
            i = BLOCK * block - 3
            while True:
                i = _next_image(buf, buffer.words, i + 1, min(BLOCK * (block + 1), end))
                if i < 0:
                    break
                if i <= begin or i + 4 >= end:
                    continue
                if not starts_with(buf, i - 1, end, b'"IMG@/src"'):
                    if buf[i + 4] == 0x5C:
                        found.strange[current] = 1
                    continue
                # An unescaped {" before a letter cannot be inside a string, where a quote would
                # end the string: this is the beginning of the object, or of one inside it.
                start = i - 2
                while start >= begin and not (
                    buf[start] == 0x7B and buf[start + 1] == 0x22 and CLASS[buf[start + 2]] & LETTER
                ):
                    start -= 1
                if start < begin:
                    found.strange[current] = 1
                    continue
                # As it is nearly always written, the path comes first.
                known = start + 9 == i and starts_with(buf, start, i, b'{"path":"')
                close, image, url_bits, alt_bits, title_bits = _object(
                    buf, i + 9 if known else start, end, known, url, alt, titles, number
                )
                if close < i:
                    found.strange[current] = 1
                    continue
                begin = close
                if not image:
                    continue
                found.page[number] = current
                found.position[number] = in_page
                in_page += 1
                said = judge_text(buf, alt, number, alt_bits, entities, limits)
                found.text_status[number] = said
                title = judge_text(buf, titles, number, title_bits, entities, limits)
                found.title_status[number] = ODD if title == ODD else OK
                if entities and url_bits & AMPERSAND and kind != BASE_BROKEN:
                    status = ODD
                else:
                    status, after = resolve(
                        buf,
                        url[number, 0],
                        url[number, 1],
                        pages,
                        current,
                        limits,
                        found.resolved,
                        free,
                    )
                    found.resolved_span[number, 0] = free
                    found.resolved_span[number, 1] = after
                    # Only a URL that is used takes room.
                    if said in (OK, ODD):
                        free = after
                found.url_status[number] = status
                number += 1
    return number


def gather(first: Array, second: Array, spans: Array, offsets: Array, data: Array) -> None:
    """Fill `data` for `find.gather`."""
    for row in range(len(spans)):
        begin = spans[row, 0]
        to = offsets[row]
        source = first
        if begin >= len(first):
            begin -= len(first)
            source = second
        for k in range(offsets[row + 1] - to):
            data[to + k] = source[begin + k]
