"""Plain texts and references, decided on as bytes: compiled code, part of `find_loop`."""

from __future__ import annotations

from typing import Any

import numpy as np

from laion_hpc.runtime.compiled import part
from laion_hpc.stages.extract.fast.arrays import Array, Bytes, Limits, Pages
from laion_hpc.stages.extract.fast.window_loops import starts_with
from laion_hpc.stages.extract.links import REASONS
from laion_hpc.stages.extract.text import ACCENTED_A, ALONE, ALPHABET, OTHER

OK = 0
ODD = 255
_CODE = {reason: code for code, reason in enumerate(REASONS, 1)}
"""What the loop says of a text or a reference: 0 plain and fine, 255 odd, else the reason."""

_NO_TEXT = _CODE["no_text"]
_TEXT_TOO_SHORT = _CODE["text_too_short"]
_TEXT_TOO_LONG = _CODE["text_too_long"]
_DATA_URL = _CODE["data_url"]
_BAD_URL = _CODE["bad_url"]
_URL_TOO_LONG = _CODE["url_too_long"]
_EXTENSION = _CODE["extension"]

BASE_BROKEN, BASE_PLAIN, BASE_ODD = 0, 1, 2
"""A page's base: no URL at all; one that references are appended to; one for the library."""

# What a JSON string holds, as bits.
ESCAPE, NOT_ASCII, AMPERSAND, SPACES, CONTROL = 1, 2, 4, 8, 16


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


CLASS = _classes()
_HOST, _PATH, _QUERY, LETTER, _FIRST = 1, 2, 4, 8, 16

_SLASH, _MARK, _OTHER = 1, 2, 3
_SPECIAL = np.where(CLASS & _PATH, 0, _OTHER).astype(np.uint8)
"""For each byte: 0 if it says nothing more in a path, 3 if it is not plain."""
_SPECIAL[0x2F] = _SLASH
_SPECIAL[[0x25, 0x2E, 0x3A, 0x3F]] = _MARK  # % . : ?


@part
def _host_end(buf: Array, at: int, end: int) -> int:
    """The slash after a plain host name, or -1.

    Not plain are numbers at the end (addresses), Punycode, ports, capitals, labels that are empty
    or too long for DNS.
    """
    label = at
    letters = True
    i = at
    while i < end:
        c = buf[i]
        if c == 0x2F or c == 0x2E:
            if i == label or i - label > 63 or starts_with(buf, label, i, b"xn--"):
                return -1
            if c == 0x2F:
                return i if letters and i - at <= 200 else -1
            label = i + 1
            letters = True
        elif not CLASS[c] & _HOST:
            return -1
        elif not CLASS[c] & LETTER:
            letters = False
        i += 1
    return -1


@part
def _has_extension(buf: Array, at: int, end: int, extensions: Array) -> bool:
    """Whether the at most eight letters from `at` on, in lower case, are one of the extensions."""
    packed = np.uint64(0)
    for i in range(at, end):
        c = np.uint64(buf[i])
        if 0x41 <= c <= 0x5A:
            c += np.uint64(32)
        packed |= c << np.uint64(8 * (i - at))
    for extension in extensions:  # noqa: SIM110
        if extension == packed:
            return True
    return False


@part
def resolve(
    buf: Array, at: int, end: int, pages: Pages, page: int, limits: Limits, out: Array, free: int
) -> tuple[int, int]:
    """(status, end of the URL in `out`) of a reference: appended to `out` from `free` if OK."""
    kind = pages.base_kind[page]
    prefix = pages.prefix_ends[page - 1, 2] if page else 0
    if kind == BASE_BROKEN:
        return _BAD_URL, free
    if starts_with(buf, at, end, b"data:"):
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
            before = pages.prefix_ends[page, 0]
            path = _host_end(buf, at + 2, end)
        else:
            before = pages.prefix_ends[page, 1]
    elif starts_with(buf, at, end, b"https://"):
        path = _host_end(buf, at + 8, end)
        scheme = False
        relative = False
    elif starts_with(buf, at, end, b"http://"):
        path = _host_end(buf, at + 7, end)
        scheme = False
        relative = False
    elif CLASS[first] & _FIRST:
        before = pages.prefix_ends[page, 2]
    else:
        return ODD, free
    if path < 0 or (relative and kind == BASE_ODD):
        return ODD, free
    stop = end  # of the path
    dot = -1
    i = path
    while i < end:
        c = buf[i]
        said = _SPECIAL[c]
        i += 1
        if not said:
            continue
        if said == _SLASH:
            scheme = False
            dot = -1
        elif c == 0x2E or c == 0x25:  # . or %
            # A relative reference continues a segment that is empty so far.
            if (i - 1 == path and scheme) or (i - 1 > path and buf[i - 2] == 0x2F):
                return ODD, free  # perhaps a dot segment
            if c == 0x2E:
                dot = i - 1
        elif c == 0x3A:
            if scheme:
                return ODD, free
        elif c == 0x3F:
            stop = i - 1
            while i < end and CLASS[buf[i]] & _QUERY:
                i += 1
            if i < end:
                if buf[i] != 0x23:
                    return ODD, free
                i += 1
                c = 0x23
        if c == 0x23 and i - 1 > at:  # the fragment does not belong to the image's URL
            for k in range(i, end):
                if buf[k] == 0x5C:
                    return ODD, free  # perhaps no JSON
            end = i - 1
            stop = min(stop, end)
            break
        if said == _OTHER:
            return ODD, free
    if before - prefix + end - at > limits.max_url:
        return _URL_TOO_LONG, free
    begin = dot + 1 if dot >= 0 else stop
    if stop - begin > 8:
        if limits.longer:
            return ODD, free
    elif _has_extension(buf, begin, stop, limits.extensions):
        return _EXTENSION, free
    if free + before - prefix + end - at > len(out):
        return ODD, free
    for i in range(prefix, before):
        out[free] = pages.prefixes[i]
        free += 1
    for i in range(at, end):
        out[free] = buf[i]
        free += 1
    return OK, free


@part
def _trim(buf: Array, spans: Array, row: int, table: Array) -> int:
    """How many characters `text.clean` leaves of a text, if it only strips spaces off its ends.

    Then `spans[row]` becomes theirs. Else -1.
    """
    begin, end = spans[row, 0], spans[row, 1]
    while begin < end and buf[begin] == 0x20:
        begin += 1
    number = 0
    stop = begin  # the end of the last character but spaces
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
    spans[row, 0] = begin
    spans[row, 1] = stop
    return number


@part
def judge_text(buf: Array, spans: Array, row: int, bits: int, old: bool, limits: Limits) -> int:
    """What becomes of a text, `spans[row]`, whose JSON string holds `bits`."""
    length = spans[row, 1] - spans[row, 0]
    if bits & (ESCAPE | CONTROL) or (old and bits & AMPERSAND):
        return ODD
    if bits & ~AMPERSAND:
        length = _trim(buf, spans, row, limits.characters)
        if length < 0:
            return ODD
    if length == 0:
        return _NO_TEXT
    if length < limits.min_text:
        return _TEXT_TOO_SHORT
    if length > limits.max_text:
        return _TEXT_TOO_LONG
    return OK
