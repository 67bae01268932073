"""Finds image links in the JSON of WAT records, and decides on the plain ones: compiled code.

A page's `Links` array is mostly links to other pages. The kernel looks for `"IMG@/src"` in the
bytes, reads the object around it, and settles what needs no library: text of printable characters
among which no mojibake can be, and references that resolve by joining. Both are narrow on purpose.
Whatever is not plain is reported as ODD, and `links.decide` decides on it, which is also what
defines the result: the tests compare the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from laion_hpc.runtime.compiled import compiled
from laion_hpc.stages.extract.fast import find_loop
from laion_hpc.stages.extract.fast.arrays import Buffer, Bytes, Found, Limits, Numbers, Pages
from laion_hpc.stages.extract.fast.windows import PADDING
from laion_hpc.stages.extract.text import characters

_MIN_LINK_BYTES = len('{"path":"IMG@/src"}')


def limits(min_text: int, max_text: int, max_url: int, extensions: frozenset[str]) -> Limits:
    """`Limits` from the values of `links.Rules`."""
    encoded = sorted(extension.encode() for extension in extensions)
    packed = [int.from_bytes(one, "little") for one in encoded if len(one) <= 8]
    longer = len(packed) < len(encoded)
    listed = np.array(packed, np.uint64)
    return Limits(min_text, max_text, max_url, listed, longer, characters())


def joined(pieces: Sequence[Any], first: Bytes | None = None) -> Bytes:
    """Bytes one after the other, after those of `first`, as a buffer for `find`."""
    size = sum(map(len, pieces)) + (0 if first is None else len(first))
    begin = [] if first is None else [first.data]
    return np.frombuffer(b"".join([*begin, *pieces, bytes(PADDING + 8 - size % 8)]), np.uint8)


def find(buffer: Bytes, pages: Pages, rules: Limits) -> Found:
    """All image links of the pages.

    `buffer` is not to be written to; PADDING bytes without links follow them.
    """
    most = len(buffer) // _MIN_LINK_BYTES + 1
    found = _room(most, 2 * len(buffer) + len(pages.prefixes), len(pages.spans))
    number = _find()(_in_widths(buffer), pages, rules, found)
    return _cut(found, number)


def _room(links: int, url_bytes: int, pages: int) -> Found:
    def numbers() -> Numbers:
        return np.empty(links, np.int64)

    def spans() -> Numbers:
        return np.empty((links, 2), np.int64)

    def status() -> Bytes:
        return np.empty(links, np.uint8)

    return Found(
        numbers(), numbers(), spans(), spans(), spans(), status(), status(), status(), spans(),
        np.empty(url_bytes, np.uint8), np.zeros(pages, np.uint8),
    )  # fmt: skip


def _cut(found: Found, links: int) -> Found:
    """As many links as there are."""
    of_links = [name for name in Found._fields if name not in ("resolved", "strange")]
    return found._replace(**{name: getattr(found, name)[:links] for name in of_links})


def _in_widths(buffer: Bytes) -> Buffer:
    return Buffer(buffer, buffer.view(np.uint16), buffer.view(np.uint64))


def gather(first: Bytes, second: Bytes, spans: Numbers) -> tuple[Bytes, npt.NDArray[np.int32]]:
    """The bytes of spans one after the other, and Arrow's offsets of them.

    Spans that begin at `len(first)` or later are in `second`.
    """
    lengths = spans[:, 1] - spans[:, 0]
    offsets = np.zeros(len(spans) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    data = np.empty(offsets[-1], np.uint8)
    _gather()(_kept(first), _kept(second), spans, offsets, data)
    return data, offsets.astype(np.int32)


def _kept(data: Bytes) -> Bytes:
    """The same, as an array that is not to be written to: the one kind that is compiled for."""
    data = data.view()
    data.flags.writeable = False
    return data


@lru_cache(maxsize=1)
def _find() -> Any:
    nothing = np.frombuffer(bytes(PADDING), np.uint8)
    span, byte = np.empty((0, 2), np.int64), np.empty(0, np.uint8)
    pages = Pages(span, byte, nothing, np.empty((0, 3), np.int64), byte)
    rules = Limits(0, 0, 0, np.empty(0, np.uint64), False, byte)
    return compiled(find_loop.find, _in_widths(nothing), pages, rules, _room(0, 0, 0))


@lru_cache(maxsize=1)
def _gather() -> Any:
    nothing = np.frombuffer(bytes(8), np.uint8)
    spans = np.empty((0, 2), np.int64)
    return compiled(
        find_loop.gather, nothing, nothing, spans, np.zeros(1, np.int64), np.empty(0, np.uint8)
    )
