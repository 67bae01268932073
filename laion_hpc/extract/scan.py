"""Finds image links in the JSON of WAT records, and decides on the plain ones: compiled code.

A page's `Links` array is mostly links to other pages. The kernel looks for `"IMG@/src"` in the
bytes, reads the object around it, and settles what needs no library: text of printable characters
among which no mojibake can be, and references that resolve by joining. Both are narrow on purpose.
Whatever is not plain is reported as ODD, and `links.decide` decides on it, which is also what
defines the result: the tests compare the two.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from laion_hpc.extract import kernel
from laion_hpc.extract.text import characters

_find: Any = kernel.find
_gather: Any = kernel.gather

Bytes = kernel.Bytes
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

    ends: Numbers
    """Where in the buffer the links of each page end."""
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
    extensions: Bytes
    """Each extension followed by a slash, which none can hold."""
    characters: Bytes
    """`text.characters`."""


def limits(min_text: int, max_text: int, max_url: int, extensions: frozenset[str]) -> Limits:
    """`Limits` from the values of `links.Rules`."""
    listed = "".join(f"{extension}/" for extension in sorted(extensions) if "/" not in extension)
    return Limits(
        min_text, max_text, max_url, np.frombuffer(listed.encode(), np.uint8), characters()
    )


def padded(pieces: list[Any]) -> bytes:
    """Joins the links of pages into a buffer for `find`: a whole number of 64-bit words."""
    size = sum(map(len, pieces))
    return b"".join([*pieces, bytes(16 - size % 8)])


def find(buffer: bytes, pages: Pages, rules: Limits) -> Found:
    """All image links in a buffer made by `padded`."""
    most = len(buffer) // _MIN_LINK_BYTES + 1
    spans = [np.empty((most, 2), np.int64) for _ in range(4)]
    page, position = np.empty(most, np.int64), np.empty(most, np.int64)
    status = [np.empty(most, np.uint8) for _ in range(3)]
    resolved = np.empty(2 * len(buffer) + len(pages.prefixes), np.uint8)
    strange = np.zeros(len(pages.ends), np.uint8)
    data = np.frombuffer(buffer, np.uint8)
    number = _find(
        data,
        data.view(np.uint64),
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
    _gather(first, second, spans, offsets, data)
    return data, offsets.astype(np.int32)
