"""Records of a WAT in, decided links out: what `extract` is, one record and one link at a time.

`fast.read` does the same in compiled code, many at a time; the tests hold the two equal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from laion_hpc.stages.extract.links import Rules, decide
from laion_hpc.stages.extract.pages import IMAGE_BYTES, BrokenRecordError, Page, read_page
from laion_hpc.stages.extract.records import Damage, Record, read_records
from laion_hpc.stages.extract.text import clean
from laion_hpc.web.url import Base

CUT_SHORT = "invalid JSON: cut short"
BATCH_BYTES = 1 << 23
"""Of inflated records whose links are decided on together."""


class PageColumns(NamedTuple):
    """What a page's candidates say of it."""

    url: str
    language: str
    license: str
    record_offset: int


class Links(NamedTuple):
    """The n links of a batch that no rule drops, in order; what became of the others."""

    images: int
    """All image links."""
    dropped: Counter[str]
    pages_with_images: int
    page: npt.NDArray[np.int64]
    """(n,) which page of the batch."""
    position: npt.NDArray[np.int32]
    """(n,) among the page's image links."""
    url: pa.StringArray
    host: pa.StringArray
    text: pa.StringArray
    title: pa.StringArray


@dataclass
class Batch:
    """Some records of a WAT, one after the other."""

    read: int = 0
    """Records that could be read."""
    lost: list[Damage] = field(default_factory=list)
    repaired: list[Damage] = field(default_factory=list)
    """Faults of records that were read all the same."""
    pages: list[PageColumns] = field(default_factory=list)
    links: Links | None = None
    """None without pages."""


def read(path: Path, rules: Rules) -> Iterator[Batch]:
    """All records of a WAT in order, their links decided on.

    Raises NotAWatError if the file is empty or something else, OSError if it cannot be read.
    """
    some: list[Record | Damage] = []
    held = 0
    for item in read_records(path):
        some.append(item)
        held += len(item.data) if isinstance(item, Record) else 0
        if held >= BATCH_BYTES:
            yield _batch(some, rules)
            some, held = [], 0
    yield _batch(some, rules)


def is_cut_short(data: bytes | memoryview, begin: int, end: int) -> bool:
    """Whether a payload without images, of which no more is read, begins as JSON and stops."""
    return data[begin : begin + 1] == b"{" and data[end - 1 : end] != b"}"


def _batch(items: Iterable[Record | Damage], rules: Rules) -> Batch:
    batch = Batch()
    pages: list[Page] = []
    for item in items:
        if isinstance(item, Damage):
            batch.lost.append(item)
            continue
        page = None
        try:
            if IMAGE_BYTES in item.data or item.fault:
                page = read_page(item.data, item.begin, item.end)
            elif is_cut_short(item.data, item.begin, item.end):
                raise BrokenRecordError(CUT_SHORT)
        except BrokenRecordError as error:
            reason = f"{item.fault}: {error}" if item.fault else str(error)
            batch.lost.append(Damage(item.offset, 0, reason))
            continue
        batch.read += 1
        if item.fault:
            batch.repaired.append(Damage(item.offset, 0, item.fault))
        if page is not None:
            pages.append(page)
            batch.pages.append(PageColumns(page.url, page.language, page.license, item.offset))
    if pages:
        batch.links = _links(pages, rules)
    return batch


def _links(pages: list[Page], rules: Rules) -> Links:
    dropped: Counter[str] = Counter()
    rows: list[tuple[int, int, str, str, str, str]] = []
    for number, page in enumerate(pages):
        base = base_of(page.url, page.base)
        for position, link in enumerate(page.images):
            url, text, reason = decide(link.url, link.alt, base, rules)
            if url is None:
                dropped[reason] += 1
            else:
                rows.append((number, position, url.href, url.host, text, clean(link.title)))
    columns = list(zip(*rows, strict=True)) or [()] * 6
    return Links(
        sum(len(page.images) for page in pages),
        dropped,
        sum(bool(page.images) for page in pages),
        np.array(columns[0], np.int64),
        np.array(columns[1], np.int32),
        *(pa.array(column, pa.string()) for column in columns[2:]),
    )


def base_of(page_url: str, base_href: str) -> Base | None:
    """What a page's references are resolved against; None if its own URL is broken."""
    try:
        return Base(page_url, base_href)
    except (ValueError, TypeError):  # TypeError: a lone surrogate
        return None
