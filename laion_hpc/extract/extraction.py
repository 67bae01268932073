"""The candidates of one WAT, from its records: batch by batch, with books on every one."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from laion_hpc import ledger
from laion_hpc.config import Config
from laion_hpc.extract.batch import Decider, Links, StrangePagesError
from laion_hpc.extract.classes import language_columns
from laion_hpc.extract.links import DUPLICATE, Rules
from laion_hpc.extract.pages import (
    IMAGE_BYTES,
    BrokenRecordError,
    Outline,
    read_outline,
    whole_outline,
)
from laion_hpc.extract.parts import RUN, Candidates
from laion_hpc.extract.records import Damage, Record
from laion_hpc.ledger import Ledger

LISTED_DAMAGE = 100
"""Damaged places that a WAT's ledger names; the rest is only counted."""

BATCH_BYTES = 1 << 23
"""Of inflated records whose links are decided on together."""


class _Page(NamedTuple):
    """A page that waits for its batch."""

    outline: Outline
    record: Record


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
    """The state of one WAT while it is read. Memory: a batch, and 90 bytes a candidate."""

    def __init__(self, config: Config, candidates: Candidates, wat: str) -> None:
        self._config, self._candidates, self._wat = config, candidates, wat
        self._decide = Decider(Rules.of(config))
        self._seen: set[bytes] = set()
        self._waiting: list[_Page] = []
        self._waiting_bytes = 0
        self._books = _Books()

    @property
    def unreadable(self) -> bool:
        """Whether there was nothing but damage."""
        return not self._books.records_read and self._books.records_damaged > 0

    def take(self, item: Record | Damage) -> None:
        """Count a record or a damaged place; keep a page until there is a batch of them."""
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
                self._waiting.append(_Page(outline, item))
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
        """Decide on the links of the pages that wait, and pass on the candidates."""
        pages, self._waiting, self._waiting_bytes = self._waiting, [], 0
        while pages:
            try:
                links = self._decide([page.outline for page in pages])
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
                text=links.text.take(rows),
                title=links.title.take(rows),
            )
        columns = language_columns(links.text, self._config)
        for value in columns[3].value_counts().to_pylist():
            self._books.classes[value["values"]] += value["counts"]
        self._candidates.add(_rows(links, pages, columns), block)

    def _first_of_each(self, links: Links) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
        """The rows whose URL and text come for the first time in the WAT, and their blocks.

        90 bytes a pair: two never hash alike in practice (128 bits), and the strings need not
        be kept.
        """
        seen, blocks = self._seen, self._config.dataset.blocks
        digest, hashed = xxhash.xxh3_128_digest, xxhash.xxh3_64_intdigest
        first: list[int] = []
        block: list[int] = []
        as_bytes = _pieces(links.url), _pieces(links.text)
        for row, (url, text) in enumerate(zip(*as_bytes, strict=True)):
            pair = digest(b"%b\n%b" % (url, text))
            if pair not in seen:
                seen.add(pair)
                first.append(row)
                block.append(hashed(url) % blocks)
        return np.array(first, np.int64), np.array(block, np.int32)

    def _read_whole(self, pages: list[_Page], strange: set[int]) -> list[_Page]:
        """The pages again: the strange ones read the thorough way, the broken ones left out."""
        left: list[_Page] = []
        for number, page in enumerate(pages):
            if number not in strange:
                left.append(page)
                continue
            record = page.record
            try:
                outline = whole_outline(record.data, record.begin, record.end)
            except BrokenRecordError as error:
                self._books.records_read -= 1
                self._lost(record.offset, 0, str(error))
                continue
            if outline is not None:
                left.append(_Page(outline, record))
        return left

    def _lost(self, offset: int, size: int, reason: str) -> None:
        self._books.records_damaged += 1
        self._books.bytes_damaged += size
        self._note(offset, size, reason)

    def _note(self, offset: int, size: int, reason: str) -> None:
        if len(self._books.damage) < LISTED_DAMAGE:
            extent = f", {size} bytes" if size else ""
            self._books.damage.append(f"{self._wat}@{offset}{extent}: {reason}")


def _pieces(strings: pa.StringArray) -> list[bytes]:
    """The UTF-8 of each: many times as fast as `to_pylist`."""
    _, ends, data = strings.buffers()
    offsets = np.frombuffer(ends, np.int32).tolist()
    whole = data.to_pybytes()
    return [whole[begin:end] for begin, end in pairwise(offsets)]


def _rows(links: Links, pages: list[_Page], languages: tuple[pa.Array, ...]) -> pa.RecordBatch:
    page = pa.array(links.page)

    def of_page(values: list[str]) -> pa.Array:
        return pa.array(values, pa.string()).take(page)

    outlines = [page.outline for page in pages]
    offsets = np.array([page.record.offset for page in pages], np.int64)
    columns = {
        "url": links.url,
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
