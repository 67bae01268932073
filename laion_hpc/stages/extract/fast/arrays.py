"""What compiled code is given, and what it fills."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.int64]
Array = Any
"""In compiled code: numba knows the type of each item."""


class Pages(NamedTuple):
    """What is to be known of the pages of a batch."""

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
    """`links.Rules` for compiled code."""

    min_text: int
    max_text: int
    max_url: int
    extensions: npt.NDArray[np.uint64]
    """Those of up to eight bytes, the first byte lowest."""
    longer: bool
    """Whether there are longer ones."""
    characters: Bytes
    """`text.characters`."""


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
    resolved_span: Numbers
    """Where in `resolved`; shape (links, 2)."""
    resolved: Bytes
    """The URLs with status OK, one after the other."""
    strange: Bytes
    """(pages,) 1 for one whose links are not as Common Crawl writes them; its are incomplete."""


class Buffer(NamedTuple):
    """Bytes that are not to be written to, PADDING without links at their end, in three widths."""

    bytes: Bytes
    halves: npt.NDArray[np.uint16]
    words: npt.NDArray[np.uint64]
