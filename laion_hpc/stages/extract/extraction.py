"""The candidates of one WAT, batch by batch, with books on every record and link."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from laion_hpc.config import Config
from laion_hpc.files import ledger
from laion_hpc.files.ledger import Ledger
from laion_hpc.stages.extract.batch import Batch, Links, PageColumns
from laion_hpc.stages.extract.external_sort import RUN, Candidates
from laion_hpc.stages.extract.language_class import language_columns
from laion_hpc.stages.extract.links import DUPLICATE
from laion_hpc.stages.extract.records import Damage

LISTED_DAMAGE = 100
"""Damaged places that a WAT's ledger names; the rest is only counted."""


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
    """The state of one WAT while it is read. Memory: a batch, and 110 bytes a candidate."""

    def __init__(self, config: Config, candidates: Candidates, wat: str) -> None:
        self._config, self._candidates, self._wat = config, candidates, wat
        self._seen: set[bytes] = set()
        self._books = _Books()

    @property
    def unreadable(self) -> bool:
        """Whether there was nothing but damage."""
        return not self._books.records_read and self._books.records_damaged > 0

    def take(self, batch: Batch) -> None:
        """Count a batch, and pass on its candidates."""
        books = self._books
        books.records_read += batch.read
        books.records_damaged += len(batch.lost)
        books.bytes_damaged += sum(damage.size for damage in batch.lost)
        books.records_repaired += len(batch.repaired)
        repaired = [
            replace(fault, reason=f"{fault.reason}, read all the same") for fault in batch.repaired
        ]
        for damage in sorted([*batch.lost, *repaired], key=lambda damage: damage.offset):
            self._note(damage)
        if batch.links is None:
            return
        links = batch.links
        books.pages += links.pages_with_images
        books.links += links.images
        books.dropped += links.dropped
        first, block = self._first_of_each(links)
        if len(first) < len(links.page):
            books.dropped[DUPLICATE] += len(links.page) - len(first)
            links = _taken(links, first)
        columns = language_columns(links.text, self._config)
        for value in columns[3].value_counts().to_pylist():
            books.classes[value["values"]] += value["counts"]
        self._candidates.add(_rows(links, batch.pages, columns), block)

    def finish(self, config: str, source: str) -> Ledger:
        """Write what is left of the candidates; the WAT's ledger."""
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

    def _first_of_each(self, links: Links) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
        """The rows whose URL and text come for the first time in the WAT, and their blocks.

        Told by a hash of 128 bits: two never hash alike in practice, and the strings need not be
        kept.
        """
        rows: list[int] = []
        blocks: list[int] = []
        count, seen = self._config.dataset.blocks, self._seen
        strings = zip(*map(_as_bytes, (links.url, links.text)), strict=True)
        for row, (url, text) in enumerate(strings):
            pair = xxhash.xxh3_128_digest(url + b"\n" + text)
            if pair not in seen:
                seen.add(pair)
                rows.append(row)
                blocks.append(xxhash.xxh3_64_intdigest(url) % count)
        return np.array(rows, np.int64), np.array(blocks, np.int32)

    def _note(self, damage: Damage) -> None:
        if len(self._books.damage) < LISTED_DAMAGE:
            extent = f", {damage.size} bytes" if damage.size else ""
            self._books.damage.append(f"{self._wat}@{damage.offset}{extent}: {damage.reason}")


def _as_bytes(strings: pa.StringArray) -> list[bytes]:
    found: list[bytes] = strings.view(pa.binary()).to_pylist()
    return found


def _taken(links: Links, rows: npt.NDArray[np.int64]) -> Links:
    """Some of the links."""
    which = pa.array(rows)
    return links._replace(
        page=links.page[rows],
        position=links.position[rows],
        url=links.url.take(which),
        host=links.host.take(which),
        text=links.text.take(which),
        title=links.title.take(which),
    )


def _rows(
    links: Links, pages: list[PageColumns], languages: tuple[pa.Array, ...]
) -> pa.RecordBatch:
    page = pa.array(links.page)

    def of_page(values: list[str]) -> pa.Array:
        return pa.array(values, pa.string()).take(page)

    offsets = np.array([one.record_offset for one in pages], np.int64)
    columns = {
        "url": links.url,
        "host": links.host,
        "text": links.text,
        **dict(zip(_LANGUAGE, languages, strict=True)),
        "license": of_page([one.license for one in pages]),
        "page_url": of_page([one.url for one in pages]),
        "page_language": of_page([one.language for one in pages]),
        "title": links.title,
        "record_offset": pa.array(offsets[links.page]),
        "link_position": pa.array(links.position),
    }
    return pa.RecordBatch.from_arrays([columns[name] for name in RUN.names], schema=RUN)


_LANGUAGE = ("language", "language_probability", "language_reliable", "language_class")
