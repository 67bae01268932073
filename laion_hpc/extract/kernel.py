"""The compiled code of `scan`: it reads bytes as they are and decides only what is plain."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from laion_hpc.extract.links import REASONS
from laion_hpc.extract.text import ACCENTED_A, ALONE, ALPHABET, OTHER

Bytes = npt.NDArray[np.uint8]

OK = 0
ODD = 255
_CODE = {reason: code for code, reason in enumerate(REASONS, 1)}
"""What the kernel says of a text or a reference: 0 plain and fine, 255 odd, else the reason."""

_NO_TEXT = _CODE["no_text"]
_TEXT_TOO_SHORT = _CODE["text_too_short"]
_TEXT_TOO_LONG = _CODE["text_too_long"]
_DATA_URL = _CODE["data_url"]
_BAD_URL = _CODE["bad_url"]
_URL_TOO_LONG = _CODE["url_too_long"]
_EXTENSION = _CODE["extension"]

BASE_BROKEN, BASE_PLAIN, BASE_ODD = 0, 1, 2
"""A page's base: no URL at all; one that references are appended to; one for the library."""

# What a string holds, as bits.
_ESCAPE, _NOT_ASCII, _AMPERSAND, _SPACES, _CONTROL = 1, 2, 4, 8, 16


def _classes() -> Bytes:
    """For each byte: 1 in hosts, 2 in paths and 4 in queries stays as it is; 8 is a letter."""
    table = np.zeros(256, np.uint8)
    letters = "abcdefghijklmnopqrstuvwxyz"
    both = letters + letters.upper() + "0123456789-_.~!$&()*+,;=:@%/"
    for bit, characters in (
        (1, letters + "0123456789-"),
        (2, both + "'"),
        (4, both + "?"),
        (8, letters),
        (16, letters + letters.upper() + "0123456789_-"),
    ):
        table[np.frombuffer(characters.encode(), np.uint8)] |= bit
    return table


_CLASS = _classes()
_KIND = np.zeros(256, np.uint8)
"""For each byte: 0 if it is nothing special in a string; the bits that it sets, or 128."""
_KIND[0x7F:] = _NOT_ASCII
_KIND[:0x20] = _CONTROL
_KIND[0x26] = _AMPERSAND
_KIND[[0x20, 0x22, 0x5C]] = 128
_HOST, _PATH, _QUERY, _LETTER, _FIRST = 1, 2, 4, 8, 16


@njit(cache=True, nogil=True)
def _string(buf, at, end):  # type: ignore[no-untyped-def]
    """Reads a JSON string whose opening quote is at `at`: (place of its closing one, bits)."""
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
                    bits |= _SPACES
                return np.int64(i), bits
            if c == 0x5C:
                bits |= _ESCAPE
                i += one
            elif before == 0x20 or i == first:
                bits |= _SPACES
        else:
            bits |= kind
        i += one
    return -1, bits


@njit(cache=True, nogil=True)
def _starts_with(buf, at, end, what):  # type: ignore[no-untyped-def]
    if end - at < len(what):
        return False
    for k in range(len(what)):  # noqa: SIM110
        if buf[at + k] != what[k]:
            return False
    return True


@njit(cache=True, nogil=True)
def _is(buf, at, end, what):  # type: ignore[no-untyped-def]
    return end - at == len(what) and _starts_with(buf, at, end, what)


@njit(cache=True, nogil=True)
def _host_end(buf, at, end):  # type: ignore[no-untyped-def]
    """The slash after a plain host name, or -1.

    Not plain are numbers at the end (addresses), Punycode, ports, capitals, empty labels.
    """
    label = at
    letters = True
    i = at
    while i < end:
        c = buf[i]
        if c == 0x2F or c == 0x2E:
            if i == label or _starts_with(buf, label, i, b"xn--"):
                return -1
            if c == 0x2F:
                return i if letters and i - at <= 200 else -1
            label = i + 1
            letters = True
        elif not _CLASS[c] & _HOST:
            return -1
        elif not _CLASS[c] & _LETTER:
            letters = False
        i += 1
    return -1


@njit(cache=True, nogil=True)
def _has_extension(buf, at, end, extensions):  # type: ignore[no-untyped-def]
    """Whether the letters at `at`, in lower case, are one of the extensions."""
    i = 0
    while i < len(extensions):
        k = 0
        same = True
        while extensions[i] != 0x2F:
            if same and at + k < end:
                c = buf[at + k]
                if 0x41 <= c <= 0x5A:
                    c += 32
                same = c == extensions[i]
            else:
                same = False
            k += 1
            i += 1
        if same and at + k == end:
            return True
        i += 1
    return False


@njit(cache=True, nogil=True)
def _resolve(  # type: ignore[no-untyped-def]
    buf, at, end, kind, prefixes, prefix, ends, max_url, extensions, out, free
):
    """(status, end of the URL in `out`) of a reference: appended to `out` from `free` if OK."""
    if kind == BASE_BROKEN:
        return _BAD_URL, free
    if _starts_with(buf, at, end, b"data:"):
        return _DATA_URL, free
    if at == end:
        return _BAD_URL if kind == BASE_PLAIN else ODD, free
    first = buf[at]
    before = prefix  # end of what of the base goes before the reference
    relative = True
    path = at
    scheme = True  # a colon would end one
    if first == 0x2F:
        scheme = False
        if end - at > 1 and buf[at + 1] == 0x2F:
            before = ends[0]
            path = _host_end(buf, at + 2, end)
        else:
            before = ends[1]
    elif _starts_with(buf, at, end, b"https://"):
        path = _host_end(buf, at + 8, end)
        scheme = False
        relative = False
    elif _starts_with(buf, at, end, b"http://"):
        path = _host_end(buf, at + 7, end)
        scheme = False
        relative = False
    elif _CLASS[first] & _FIRST:
        before = ends[2]
    else:
        return ODD, free
    if path < 0 or (relative and kind == BASE_ODD):
        return ODD, free
    allowed = _PATH
    slash = scheme  # a relative reference continues a segment that is empty so far
    dot = -1
    stop = end
    for i in range(path, end):
        c = buf[i]
        if c == 0x23 and i > at:  # what comes after is no part of the image's URL
            for k in range(i, end):
                if buf[k] == 0x5C:
                    return ODD, free  # perhaps no JSON
            if stop == end:
                stop = i
            end = i
            break
        if allowed == _PATH:
            if c == 0x3F:
                allowed = _QUERY
                stop = i
                continue
            if slash and (c == 0x2E or c == 0x25):
                return ODD, free  # perhaps a dot segment
            slash = c == 0x2F
            if slash:
                scheme = False
                dot = -1
            elif c == 0x2E:
                dot = i
            elif c == 0x3A and scheme:
                return ODD, free
        if not _CLASS[c] & allowed:
            return ODD, free
    if before - prefix + end - at > max_url:
        return _URL_TOO_LONG, free
    if _has_extension(buf, dot + 1 if dot >= 0 else stop, stop, extensions):
        return _EXTENSION, free
    if free + before - prefix + end - at > len(out):
        return ODD, free
    for i in range(prefix, before):
        out[free] = prefixes[i]
        free += 1
    for i in range(at, end):
        out[free] = buf[i]
        free += 1
    return OK, free


@njit(cache=True, nogil=True)
def _object(buf, begin, end, url, alt, title):  # type: ignore[no-untyped-def]
    """Reads an object of strings without white space: (its end, is it an image, bits of each).

    The spans are set to those of its values. The end is -1 if it is written otherwise.
    """
    for span in (url, alt, title):
        span[0] = 0
        span[1] = 0
    url_bits = 0
    alt_bits = 0
    title_bits = 0
    image = False
    i = begin  # at a brace or comma
    while True:
        if i + 1 >= end or buf[i + 1] != 0x22:
            return -1, image, url_bits, alt_bits, title_bits
        key = i + 2
        colon, bits = _string(buf, i + 1, end)
        if colon < 0 or colon + 2 >= end or buf[colon + 1] != 0x3A or buf[colon + 2] != 0x22:
            return -1, image, url_bits, alt_bits, title_bits
        if bits & _ESCAPE:
            return -1, image, url_bits, alt_bits, title_bits
        value = colon + 3
        close, bits = _string(buf, colon + 2, end)
        if close < 0 or close + 1 >= end or bits & _CONTROL:
            return -1, image, url_bits, alt_bits, title_bits
        if _is(buf, key, colon, b"path"):
            image = _is(buf, value, close, b"IMG@/src")
        elif _is(buf, key, colon, b"url"):
            url[0] = value
            url[1] = close
            url_bits = bits
        elif _is(buf, key, colon, b"alt"):
            alt[0] = value
            alt[1] = close
            alt_bits = bits
        elif _is(buf, key, colon, b"title"):
            title[0] = value
            title[1] = close
            title_bits = bits
        i = close + 1
        if buf[i] == 0x7D:
            return i + 1, image, url_bits, alt_bits, title_bits
        if buf[i] != 0x2C:
            return -1, image, url_bits, alt_bits, title_bits


@njit(cache=True, nogil=True)
def _trim(buf, span, table):  # type: ignore[no-untyped-def]
    """How many characters `text.clean` leaves of a text, if it only strips spaces off its ends.

    Then the span becomes theirs. Else -1.
    """
    begin, end = span[0], span[1]
    while begin < end and buf[begin] == 0x20:
        begin += 1
    number = 0
    stop = begin  # the end of the last character that is no space
    spaces = 0
    before = 0
    i = begin
    while i < end:
        code: Any = np.int64(buf[i])
        size = 1
        if code == 0x20:
            if before & ACCENTED_A:
                return -1
            before = 0
            spaces += 1
            i += 1
            continue
        if code >= 0x80:
            size = 1 + (code >= 0xC2) + (code >= 0xE0) + (code >= 0xF0)
            if size == 1 or code > 0xF4 or i + size > end:
                return -1
            code &= 0x7F >> size
            for k in range(i + 1, i + size):
                if buf[k] & 0xC0 != 0x80:
                    return -1
                code = code << 6 | buf[k] & 0x3F
            if (size == 3 and code < 0x800) or (size == 4 and code < 0x10000):
                return -1
            if code >= len(table):
                return -1
        kind = table[code]
        if not kind & ALONE or spaces > 1:
            return -1
        if (before | kind) & OTHER and before & (OTHER | ALPHABET) and kind & (OTHER | ALPHABET):
            return -1
        number += 1 + spaces
        spaces = 0
        before = kind
        i += size
        stop = i
    span[0] = begin
    span[1] = stop
    return number


@njit(cache=True, nogil=True)
def _text_status(buf, span, bits, old, min_text, max_text, table):  # type: ignore[no-untyped-def]
    length = span[1] - span[0]
    if bits & (_ESCAPE | _CONTROL) or (old and bits & _AMPERSAND):
        return ODD
    if bits & ~_AMPERSAND:
        length = _trim(buf, span, table)
        if length < 0:
            return ODD
    if length == 0:
        return _NO_TEXT
    if length < min_text:
        return _TEXT_TOO_SHORT
    if length > max_text:
        return _TEXT_TOO_LONG
    return OK


@njit(cache=True, nogil=True)
def find(  # type: ignore[no-untyped-def]
    buf,
    words,
    ends,
    base_kind,
    prefixes,
    prefix_ends,
    old,
    min_text,
    max_text,
    max_url,
    extensions,
    characters,
    page,
    position,
    url,
    alt,
    titles,
    resolved_span,
    text_status,
    url_status,
    title_status,
    resolved,
    strange,
):
    """Fills the arrays of `Found`; returns the number of links."""
    number = 0
    free = 0
    current = 0
    in_page = 0
    begin = 0  # of the page's links, then the end of its last image link
    prefix = 0  # where the page's prefix begins
    for w in range(len(words)):
        # Is one of the eight bytes an @? (zero bytes of x: Bit Twiddling Hacks, "haszero")
        x = words[w] ^ np.uint64(0x4040404040404040)
        ones = np.uint64(0x0101010101010101)
        if not (x - ones) & ~x & np.uint64(0x8080808080808080):
            continue
        for i in range(8 * w, 8 * w + 8):
            if buf[i] != 0x40 or i < begin + 4 or i + 6 > len(buf):
                continue
            if not _starts_with(buf, i - 4, i + 6, b'"IMG@/src"'):
                if _starts_with(buf, i - 3, i + 2, b"IMG@\\"):
                    while i >= ends[current]:
                        current += 1
                        begin = ends[current - 1]
                        prefix = prefix_ends[current - 1, 2]
                        in_page = 0
                    strange[current] = 1
                continue
            while i >= ends[current]:
                current += 1
                begin = ends[current - 1]
                prefix = prefix_ends[current - 1, 2]
                in_page = 0
            # An unescaped {" before a letter cannot be inside a string, where a quote would end
            # the string: this is the beginning of the object, or of one inside it.
            start = i - 5
            while start >= begin and not (
                buf[start] == 0x7B and buf[start + 1] == 0x22 and _CLASS[buf[start + 2]] & _LETTER
            ):
                start -= 1
            if start < begin:
                strange[current] = 1
                continue
            close, image, url_bits, alt_bits, title_bits = _object(
                buf, start, ends[current], url[number], alt[number], titles[number]
            )
            if close < i:
                strange[current] = 1
                continue
            begin = close
            if not image:
                continue
            page[number] = current
            position[number] = in_page
            in_page += 1
            amps = old[current] != 0
            text_status[number] = _text_status(
                buf, alt[number], alt_bits, amps, min_text, max_text, characters
            )
            title = _text_status(buf, titles[number], title_bits, amps, 0, len(buf), characters)
            title_status[number] = ODD if title == ODD else OK
            if amps and url_bits & _AMPERSAND and base_kind[current] != BASE_BROKEN:
                status = ODD
            else:
                status, after = _resolve(
                    buf,
                    url[number, 0],
                    url[number, 1],
                    base_kind[current],
                    prefixes,
                    prefix,
                    prefix_ends[current],
                    max_url,
                    extensions,
                    resolved,
                    free,
                )
                resolved_span[number, 0] = free
                resolved_span[number, 1] = after
                # Only a URL that is used takes room.
                if text_status[number] == OK or text_status[number] == ODD:
                    free = after
            url_status[number] = status
            number += 1
    return number


@njit(cache=True, nogil=True)
def gather(first, second, spans, offsets, data):  # type: ignore[no-untyped-def]
    """Fills `data` for `scan.gather`."""
    for row in range(len(spans)):
        begin = spans[row, 0]
        to = offsets[row]
        source = first
        if begin >= len(first):
            begin -= len(first)
            source = second
        for k in range(offsets[row + 1] - to):
            data[to + k] = source[begin + k]
