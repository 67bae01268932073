"""The candidates of one WAT, from its records: batch by batch, with books on every one."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from laion_hpc.config import Config
from laion_hpc.files import ledger, utf8
from laion_hpc.files.ledger import Ledger
from laion_hpc.stages.extract.batch import Decider, Links, StrangePagesError
from laion_hpc.stages.extract.duplicates import Pairs
from laion_hpc.stages.extract.external_sort import RUN, Candidates
from laion_hpc.stages.extract.language_class import language_columns
from laion_hpc.stages.extract.links import DUPLICATE, Rules
from laion_hpc.stages.extract.pages import (
    IMAGE_BYTES,
    BrokenRecordError,
    Outline,
    read_outline,
    whole_outline,
)
from laion_hpc.stages.extract.plain import Bytes
from laion_hpc.stages.extract.records import Damage, Record
from laion_hpc.stages.extract.walk import CUT, LICENSE
from laion_hpc.stages.extract.windows import Window

LISTED_DAMAGE = 100
"""Damaged places that a WAT's ledger names; the rest is only counted."""

BATCH_BYTES = 1 << 23
"""Of inflated records whose links are decided on together."""


class _Page(NamedTuple):
    """A page that waits for its batch, and where its record is."""

    outline: Outline
    offset: int
    data: bytes | memoryview
    begin: int
    end: int


@dataclass
class _Books:
    """What a WAT's ledger counts."""

    links: int = 0
    pages: int = 0
    records_read: int = 0
    records_repaired: int = 0
    records_damaged: int = 0
    bytes_damaged: int = 0
    damage: list[str] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    classes: Counter[str] = field(default_factory=Counter)


class Extraction:
    """The state of one WAT while it is read. Memory: a batch, and 64 bytes a candidate."""

    def __init__(self, config: Config, candidates: Candidates, wat: str) -> None:
        self._config, self._candidates, self._wat = config, candidates, wat
        self._decide = Decider(Rules.of(config))
        self._pairs = Pairs()
        self._waiting: list[_Page] = []
        self._waiting_bytes = 0
        self._books = _Books()

    @property
    def unreadable(self) -> bool:
        """Whether there was nothing but damage."""
        return not self._books.records_read and self._books.records_damaged > 0

    def take(self, item: Window | Record | Damage) -> None:
        """Count what was read; decide on a window's pages, keep others until they are a batch."""
        if isinstance(item, Window):
            self._take_waiting()
            self._take_window(item)
            return
        if isinstance(item, Damage):
            self._lost(item.offset, item.size, item.reason)
            return
        offset, data, begin, end, fault = item
        if IMAGE_BYTES in data or fault:
            try:
                outline = read_outline(data, begin, end)
            except BrokenRecordError as error:
                self._lost(offset, 0, f"{fault}: {error}" if fault else str(error))
                return
            if outline is not None:
                self._waiting.append(_Page(outline, offset, data, begin, end))
                self._waiting_bytes += len(data)
        elif data[begin : begin + 1] == b"{" and data[end - 1 : end] != b"}":
            self._lost(offset, 0, "invalid JSON: cut short")
            return
        self._books.records_read += 1
        if fault:
            self._books.records_repaired += 1
            self._note(offset, 0, f"{fault}, read all the same")
        if self._waiting_bytes >= BATCH_BYTES:
            self._take_waiting()

    def _take_window(self, window: Window) -> None:
        """Count the records of a window, and decide on its pages."""
        data = window.data.data
        self._books.records_read += len(window.flags)
        look = np.flatnonzero(window.flags)
        pages: list[_Page] = []
        for offset, flags, (_, begin, end) in zip(
            window.offset[look].tolist(),
            window.flags[look].tolist(),
            window.spans[look].tolist(),
            strict=True,
        ):
            if flags & CUT:
                self._books.records_read -= 1
                self._lost(offset, 0, "invalid JSON: cut short")
                continue
            payload = data[begin:end]
            try:
                outline = read_outline(payload, licensed=bool(flags & LICENSE))
            except BrokenRecordError as error:
                self._books.records_read -= 1
                self._lost(offset, 0, str(error))
                continue
            if outline is not None:
                pages.append(_Page(outline, offset, payload, 0, len(payload)))
        self._decide_on(pages, window.data)

    def finish(self, config: str, source: str) -> Ledger:
        """Write what is left of the candidates; the WAT's ledger."""
        self._take_waiting()
        self._candidates.close()
        books = self._books
        return Ledger(
            stage="extract",
            unit="links",
            inputs=books.links,
            kept=books.links - books.dropped.total(),
            dropped=dict(books.dropped),
            config=config,
            source=source,
            counts={
                "wats": 1,
                "pages": books.pages,
                "records_read": books.records_read,
                "records_repaired": books.records_repaired,
                "records_damaged": books.records_damaged,
                "bytes_damaged": books.bytes_damaged,
                "damage": books.damage,
                "kept_by_class": dict(books.classes),
            },
            files=tuple(ledger.describe(path, rows=rows) for path, rows in self._candidates.runs),
        )

    def _take_waiting(self) -> None:
        pages, self._waiting, self._waiting_bytes = self._waiting, [], 0
        self._decide_on(pages, None)

    def _decide_on(self, pages: list[_Page], window: Bytes | None) -> None:
        """Decide on the links of some pages, and pass on the candidates."""
        while pages:
            try:
                links = self._decide([page.outline for page in pages], window)
                break
            except StrangePagesError as error:
                pages = self._read_whole(pages, set(error.pages))
        else:
            return
        self._books.pages += links.pages_with_images
        self._books.links += links.images
        self._books.dropped += links.dropped
        first, block = self._first_of_each(links)
        if len(first) < len(links.page):
            self._books.dropped[DUPLICATE] += len(links.page) - len(first)
            rows = pa.array(first)
            links = links._replace(
                page=links.page[first],
                position=links.position[first],
                url=links.url.take(rows),
                host=links.host.take(rows),
                text=links.text.take(rows),
                title=links.title.take(rows),
            )
        columns = language_columns(links.text, self._config)
        for value in columns[3].value_counts().to_pylist():
            self._books.classes[value["values"]] += value["counts"]
        self._candidates.add(_rows(links, pages, columns), block)

    def _first_of_each(self, links: Links) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
        """The rows whose URL and text come for the first time in the WAT, and their blocks."""
        ends, urls = utf8.of_column(links.url)
        rows = np.flatnonzero(self._pairs.first((ends, urls), utf8.of_column(links.text)))
        whole, hashed, blocks = (
            urls.tobytes(),
            xxhash.xxh3_64_intdigest,
            self._config.dataset.blocks,
        )
        spans = zip(ends[rows].tolist(), ends[rows + 1].tolist(), strict=True)
        hashes = [hashed(whole[begin:end]) for begin, end in spans]
        return rows, (np.array(hashes, np.uint64) % np.uint64(blocks)).astype(np.int32)

    def _read_whole(self, pages: list[_Page], strange: set[int]) -> list[_Page]:
        """The pages again: the strange ones read the thorough way, the broken ones left out."""
        left: list[_Page] = []
        for number, page in enumerate(pages):
            if number not in strange:
                left.append(page)
                continue
            try:
                outline = whole_outline(page.data, page.begin, page.end)
            except BrokenRecordError as error:
                self._books.records_read -= 1
                self._lost(page.offset, 0, str(error))
                continue
            if outline is not None:
                left.append(page._replace(outline=outline))
        return left

    def _lost(self, offset: int, size: int, reason: str) -> None:
        self._books.records_damaged += 1
        self._books.bytes_damaged += size
        self._note(offset, size, reason)

    def _note(self, offset: int, size: int, reason: str) -> None:
        if len(self._books.damage) < LISTED_DAMAGE:
            extent = f", {size} bytes" if size else ""
            self._books.damage.append(f"{self._wat}@{offset}{extent}: {reason}")


def _rows(links: Links, pages: list[_Page], languages: tuple[pa.Array, ...]) -> pa.RecordBatch:
    page = pa.array(links.page)

    def of_page(values: list[str]) -> pa.Array:
        return pa.array(values, pa.string()).take(page)

    outlines = [page.outline for page in pages]
    offsets = np.array([page.offset for page in pages], np.int64)
    columns = {
        "url": links.url,
        "host": links.host,
        "text": links.text,
        **dict(zip(_LANGUAGE, languages, strict=True)),
        "license": of_page([outline.license for outline in outlines]),
        "page_url": of_page([outline.url for outline in outlines]),
        "page_language": of_page([outline.language for outline in outlines]),
        "title": links.title,
        "record_offset": pa.array(offsets[links.page]),
        "link_position": pa.array(links.position),
    }
    return pa.RecordBatch.from_arrays([columns[name] for name in RUN.names], schema=RUN)


_LANGUAGE = ("language", "language_probability", "language_reliable", "language_class")
