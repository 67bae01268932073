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
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from laion_hpc.runtime.compiled import compiled
from laion_hpc.stages.extract import kernel
from laion_hpc.stages.extract.plain import Bytes
from laion_hpc.stages.extract.text import characters
from laion_hpc.stages.extract.windows import PADDING

Numbers = npt.NDArray[np.int64]

_MIN_LINK_BYTES = len('{"path":"IMG@/src"}')


class Found(NamedTuple):
    """One entry for each image link, in order. Spans are half-open, in bytes of the buffer."""

    page: Numbers
    position: Numbers
    """Of the link among the page's image links."""
    url: Numbers
    alt: Numbers
    title: Numbers
    """Spans of the JSON strings between their quotes; shape (links, 2); 0, 0 if missing."""
    text_status: Bytes
    url_status: Bytes
    title_status: Bytes
    resolved: Bytes
    """The URLs with status OK, one after the other."""
    resolved_span: Numbers
    """Where in `resolved`; shape (links, 2)."""
    strange: Numbers
    """Pages whose links are not written as Common Crawl writes them; theirs are incomplete."""


class Pages(NamedTuple):
    """What the kernel needs to know of the pages of a batch."""

    spans: Numbers
    """Where in the buffer the links of each page are; shape (pages, 2)."""
    base_kind: Bytes
    prefixes: Bytes
    """The directories of the bases, one after the other."""
    prefix_ends: Numbers
    """Where in `prefixes` each page's scheme (with colon), origin and directory end."""
    old: Bytes
    """1 where HTML entities are still to be decoded."""


class Limits(NamedTuple):
    """`links.Rules` for the kernel."""

    min_text: int
    max_text: int
    max_url: int
    extensions: npt.NDArray[np.uint64]
    """Those of up to eight bytes, the first byte lowest."""
    longer: bool
    """Whether there are longer ones."""
    characters: Bytes
    """`text.characters`."""


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
    spans = [np.empty((most, 2), np.int64) for _ in range(4)]
    page, position = np.empty(most, np.int64), np.empty(most, np.int64)
    status = [np.empty(most, np.uint8) for _ in range(3)]
    resolved = np.empty(2 * len(buffer) + len(pages.prefixes), np.uint8)
    strange = np.zeros(len(pages.spans), np.uint8)
    number = _find()(
        buffer,
        buffer.view(np.uint16),
        buffer.view(np.uint64),
        *pages,
        *rules,
        page,
        position,
        *spans,
        *status,
        resolved,
        strange,
    )
    return Found(
        page=page[:number],
        position=position[:number],
        url=spans[0][:number],
        alt=spans[1][:number],
        title=spans[2][:number],
        text_status=status[0][:number],
        url_status=status[1][:number],
        title_status=status[2][:number],
        resolved=resolved,
        resolved_span=spans[3][:number],
        strange=np.flatnonzero(strange),
    )


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
    number, span, byte = np.empty(0, np.int64), np.empty((0, 2), np.int64), np.empty(0, np.uint8)
    pages = Pages(span, byte, nothing, np.empty((0, 3), np.int64), byte)
    rules = Limits(0, 0, 0, np.empty(0, np.uint64), False, byte)
    spans, status = [span] * 4, [byte] * 3
    return compiled(
        kernel.find, nothing, nothing.view(np.uint16), nothing.view(np.uint64), *pages, *rules,
        number, number, *spans, *status, byte, byte,
    )  # fmt: skip


@lru_cache(maxsize=1)
def _gather() -> Any:
    nothing = np.frombuffer(bytes(8), np.uint8)
    spans = np.empty((0, 2), np.int64)
    return compiled(
        kernel.gather, nothing, nothing, spans, np.zeros(1, np.int64), np.empty(0, np.uint8)
    )
