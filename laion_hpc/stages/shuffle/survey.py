"""First reading of a block: a few numbers for each row, from which every decision follows.

The rows themselves stay on disk. 48 bytes a row are kept, so that a block of 50 million rows
is decided on in less than 4 GB.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash

from laion_hpc.errors import InputError
from laion_hpc.files import tombstones
from laion_hpc.files.schemas import CANDIDATE
from laion_hpc.files.tables import damaged, open_parquet, require_columns
from laion_hpc.stages.shuffle.prefetch import ahead
from laion_hpc.web.url import blocked_set, is_blocked

BATCH_ROWS = 1 << 16
"""Rows read at a time: some 30 MB."""

_KEY_COLUMNS = {
    "url": ("url",),
    "url+text": ("url", "text"),
    "url+language": ("url", "language"),
}
REPEATED = [
    "host", "language", "language_class", "license", "page_language", "crawl", "segment", "wat",
]  # fmt: skip
"""Columns of few different strings: read as dictionaries, which are quicker to move."""

_COLUMNS = [
    "url", "host", "text", "language", "crawl", "segment", "wat", "record_offset", "link_position",
]  # fmt: skip

_DTYPES: dict[str, Any] = {
    "low": np.uint64, "high": np.uint64, "host": np.uint64, "length": np.int32,
    "wat": np.int32, "offset": np.int64, "link": np.int32,
    "blocked_host": np.bool_, "blocked_url": np.bool_, "taken_down": np.bool_,
}  # fmt: skip

Bits = npt.NDArray[np.uint64]


@dataclass
class Keys:
    """What the new order follows from: one entry per row."""

    low: Bits
    high: Bits
    """The two halves of a 128-bit hash of what makes a row the same as another."""
    host: Bits
    """Hash of the URL's host."""

    def __len__(self) -> int:
        return len(self.low)


@dataclass
class Survey(Keys):
    """What is known of each row, in the order of reading."""

    length: npt.NDArray[np.int32]
    """Characters of the text."""
    wat: npt.NDArray[np.int32]
    """Rank of the row's (segment, wat) in sorted order."""
    offset: npt.NDArray[np.int64]
    link: npt.NDArray[np.int32]
    """Where in the WAT it comes from: `record_offset` and `link_position`."""
    blocked_host: npt.NDArray[np.bool_]
    blocked_url: npt.NDArray[np.bool_]
    taken_down: npt.NDArray[np.bool_]
    """Tombstones that hold no place."""
    crawls: frozenset[str]
    """Values of the crawl column."""

    def narrowed(self, rows: npt.NDArray[np.int64]) -> Keys:
        """The keys of some rows. Uses the survey up, column by column: both would be too much."""
        del self.length, self.wat, self.offset, self.link
        return Keys(*(self.__dict__.pop(name)[rows] for name in ("low", "high", "host")))


def batches(
    parts: Sequence[Path], block: int, columns: Sequence[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """The rows of a block from all parts, in order; `REPEATED` columns as dictionaries.

    Raises InputError, naming the file, if a part is missing, damaged or has no such row group.
    """
    for path in parts:
        with _row_group(path, block) as file:
            yield from file.iter_batches(
                BATCH_ROWS, row_groups=[block], columns=list(columns) if columns else None
            )


def count_rows(parts: Sequence[Path], block: int) -> int:
    """How many rows `batches` gives; raises what it raises."""
    rows = 0
    for path in parts:
        with _row_group(path, block) as file:
            rows += file.metadata.row_group(block).num_rows
    return rows


AGAIN = "run `extract` again"


@contextmanager
def _row_group(path: Path, block: int) -> Iterator[pq.ParquetFile]:
    options: Any = {"pre_buffer": False, "buffer_size": 1 << 20, "read_dictionary": REPEATED}
    with open_parquet(path, AGAIN, **options) as file:
        require_columns(path, file.schema_arrow, CANDIDATE.names, AGAIN)
        if block >= file.num_row_groups:
            raise InputError(
                f"{path}: has {file.num_row_groups} blocks, not one with number {block}; was it "
                "extracted with another dataset.blocks?"
            )
        try:
            yield file
        except pa.ArrowException as error:
            raise damaged(path, error, AGAIN) from None


def survey(
    parts: Sequence[Path],
    block: int,
    *,
    deduplicate_by: str,
    blocked_hosts: Iterable[str] = (),
    blocked_urls: frozenset[bytes] = frozenset(),
    held: frozenset[str] = frozenset(),
) -> Survey:
    """Read the block once. `blocked_urls` holds SHA-256 digests of URLs.

    A tombstone whose URL has its SHA-256 (hex) in `held` counts as the link that it was.
    """
    hosts = _Hosts(blocked_hosts)
    wats: dict[tuple[str, str], int] = {}
    crawls: set[str] = set()
    # All at once: small arrays that are joined later leave holes as large as themselves.
    total = count_rows(parts, block)
    columns: dict[str, Any] = {name: np.empty(total, dtype) for name, dtype in _DTYPES.items()}
    position = 0
    for batch in ahead(batches(parts, block, _COLUMNS)):
        crawls.update(pc.unique(batch.column("crawl")).to_pylist())
        urls = tombstones.without_tombstones(batch.column("url"))
        host, blocked = hosts(batch.column("host"))
        low, high = _key_hashes(batch, _KEY_COLUMNS[deduplicate_by])
        taken_down = np.zeros(len(urls), np.bool_)
        if graves := tombstones.graves(batch.column("url"), deduplicate_by):
            host[graves.rows] = graves.hosts
            low[graves.rows], high[graves.rows] = graves.low, graves.high
            taken_down[graves.rows] = [url not in held for url in graves.urls]
        values = {
            "low": low,
            "high": high,
            "host": host,
            "length": pc.utf8_length(batch.column("text")).to_numpy(zero_copy_only=False),
            "wat": _wat_numbers(batch, wats),
            "offset": batch.column("record_offset").to_numpy(zero_copy_only=False),
            "link": batch.column("link_position").to_numpy(zero_copy_only=False),
            "blocked_host": blocked,
            "blocked_url": _among(urls, blocked_urls),
            "taken_down": taken_down,
        }
        for name, piece in values.items():
            columns[name][position : position + batch.num_rows] = piece
        position += batch.num_rows
    ranks = np.empty(len(wats), np.int32)
    ranks[[wats[name] for name in sorted(wats)]] = np.arange(len(wats), dtype=np.int32)
    columns["wat"] = ranks[columns["wat"]]
    return Survey(**columns, crawls=frozenset(crawls))


def _key_hashes(batch: pa.RecordBatch, columns: Sequence[str]) -> tuple[Bits, Bits]:
    values = [_as_bytes(batch.column(name)) for name in columns]
    # Neither URLs nor cleaned texts hold a line feed: joining with it is unambiguous.
    keys = values[0] if len(values) == 1 else map(b"\n".join, zip(*values, strict=True))
    raw = b"".join(map(xxhash.xxh3_128_digest, keys))
    halves = np.frombuffer(raw, ">u8").astype(np.uint64).reshape(-1, 2)
    return halves[:, 1].copy(), halves[:, 0].copy()


def _as_bytes(strings: pa.Array) -> list[bytes]:
    if pa.types.is_dictionary(strings.type):
        strings = strings.dictionary_decode()
    found: list[bytes] = strings.view(pa.binary()).to_pylist()
    return found


def _wat_numbers(batch: pa.RecordBatch, wats: dict[tuple[str, str], int]) -> npt.NDArray[np.int32]:
    """A number for the (segment, wat) of each row, in order of appearance."""
    segment = batch.column("segment").dictionary_encode()
    wat = batch.column("wat").dictionary_encode()
    code = segment.indices.to_numpy().astype(np.int64) * len(wat.dictionary)
    code += wat.indices.to_numpy()
    pairs, inverse = np.unique(code, return_inverse=True)
    segments, names = segment.dictionary.to_pylist(), wat.dictionary.to_pylist()
    numbers = [
        wats.setdefault((segments[pair // len(names)], names[pair % len(names)]), len(wats))
        for pair in pairs.tolist()
    ]
    return np.array(numbers, np.int32)[inverse]


def _among(urls: pa.Array, digests: frozenset[bytes]) -> npt.NDArray[np.bool_]:
    if not digests:
        return np.zeros(len(urls), np.bool_)
    found = [hashlib.sha256(url.encode()).digest() in digests for url in urls.to_pylist()]
    return np.array(found, np.bool_)


class _Hosts:
    """Hashes of hosts, and whether they or a domain above them are blocked."""

    def __init__(self, blocked: Iterable[str]) -> None:
        self._blocked = blocked_set(blocked)

    def __call__(self, hosts: pa.DictionaryArray) -> tuple[Bits, npt.NDArray[np.bool_]]:
        which = hosts.indices.to_numpy()
        names = _as_bytes(hosts.dictionary)
        raw = b"".join(map(xxhash.xxh3_64_digest, names))
        hashes = np.frombuffer(raw, ">u8").astype(np.uint64)
        if not self._blocked:
            return hashes[which], np.zeros(len(hosts), np.bool_)
        blocked = np.array([is_blocked(name.decode(), self._blocked) for name in names], np.bool_)
        return hashes[which], blocked[which]
