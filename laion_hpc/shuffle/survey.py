"""First reading of a block: a few numbers for each row, from which every decision follows.

The rows themselves stay on disk. 48 bytes a row are kept, so that a block of 50 million rows
is decided on in less than 4 GB.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
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

BATCH_ROWS = 1 << 16
"""Rows read at a time: some 30 MB."""

_KEY_COLUMNS = {
    "url": ("url",),
    "url+text": ("url", "text"),
    "url+language": ("url", "language"),
}
_COLUMNS = ["url", "text", "language", "crawl", "segment", "wat", "record_offset", "link_position"]

Bits = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Survey:
    """One entry per row, in the order of reading."""

    low: Bits
    high: Bits
    """The two halves of a 128-bit hash of what makes a row the same as another."""
    host: Bits
    """Hash of the URL's host."""
    length: npt.NDArray[np.int32]
    """Characters of the text."""
    wat: npt.NDArray[np.int32]
    """Rank of the row's (segment, wat) in sorted order."""
    offset: npt.NDArray[np.int64]
    link: npt.NDArray[np.int32]
    """Where in the WAT it comes from: `record_offset` and `link_position`."""
    blocked_host: npt.NDArray[np.bool_]
    blocked_url: npt.NDArray[np.bool_]
    crawls: frozenset[str]
    """Values of the crawl column."""

    def __len__(self) -> int:
        return len(self.low)


def batches(
    parts: Sequence[Path], block: int, columns: Sequence[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """The rows of a block from all parts, in order.

    Raises InputError, naming the file, if a part is missing, damaged or has no such row group.
    """
    for path in parts:
        try:
            with pq.ParquetFile(str(path), pre_buffer=False, buffer_size=1 << 20) as file:
                if block >= file.num_row_groups:
                    raise InputError(
                        f"{path}: has {file.num_row_groups} blocks, none with number {block}; "
                        "was it extracted with another dataset.blocks?"
                    )
                yield from file.iter_batches(
                    BATCH_ROWS, row_groups=[block], columns=list(columns) if columns else None
                )
        except FileNotFoundError:
            raise InputError(f"{path}: no such file; has extract run?") from None
        except pa.ArrowException as error:
            raise InputError(f"{path}: damaged ({error}); extract it again") from None


def survey(
    parts: Sequence[Path],
    block: int,
    *,
    deduplicate_by: str,
    blocked_hosts: Iterable[str] = (),
    blocked_urls: frozenset[bytes] = frozenset(),
) -> Survey:
    """Read the block once. `blocked_urls` holds SHA-256 digests of URLs."""
    hosts = _Hosts(blocked_hosts)
    wats: dict[tuple[str, str], int] = {}
    crawls: set[str] = set()
    pieces: list[dict[str, npt.NDArray[Any]]] = []
    for batch in batches(parts, block, _COLUMNS):
        crawls.update(pc.unique(batch.column("crawl")).to_pylist())
        host, blocked = hosts(batch.column("url"))
        low, high = _key_hashes(batch, _KEY_COLUMNS[deduplicate_by])
        pieces.append(
            {
                "low": low,
                "high": high,
                "host": host,
                "length": pc.utf8_length(batch.column("text")).to_numpy(zero_copy_only=False),
                "wat": _wat_numbers(batch, wats),
                "offset": batch.column("record_offset").to_numpy(zero_copy_only=False),
                "link": batch.column("link_position").to_numpy(zero_copy_only=False),
                "blocked_host": blocked,
                "blocked_url": _among(batch.column("url"), blocked_urls),
            }
        )
    dtypes = {
        "low": np.uint64, "high": np.uint64, "host": np.uint64, "length": np.int32,
        "wat": np.int32, "offset": np.int64, "link": np.int32,
        "blocked_host": np.bool_, "blocked_url": np.bool_,
    }  # fmt: skip
    columns: dict[str, Any] = {
        name: _joined([piece.pop(name) for piece in pieces], dtype)
        for name, dtype in dtypes.items()
    }
    ranks = np.empty(len(wats), np.int32)
    ranks[[wats[name] for name in sorted(wats)]] = np.arange(len(wats), dtype=np.int32)
    columns["wat"] = ranks[columns["wat"]]
    return Survey(**columns, crawls=frozenset(crawls))


def _joined(arrays: list[npt.NDArray[Any]], dtype: Any) -> npt.NDArray[Any]:
    return np.concatenate(arrays).astype(dtype, copy=False) if arrays else np.empty(0, dtype)


def _key_hashes(batch: pa.RecordBatch, columns: Sequence[str]) -> tuple[Bits, Bits]:
    values = [batch.column(name).to_pylist() for name in columns]
    # Neither URLs nor cleaned texts hold a line feed: joining with it is unambiguous.
    keys = values[0] if len(values) == 1 else map("\n".join, zip(*values, strict=True))
    digest = xxhash.xxh3_128_digest
    raw = b"".join([digest(key.encode("utf-8", "surrogatepass")) for key in keys])
    halves = np.frombuffer(raw, ">u8").astype(np.uint64).reshape(-1, 2)
    return halves[:, 1].copy(), halves[:, 0].copy()


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


def hosts_of(urls: pa.Array) -> pa.Array:
    """`hosts.host_of` of many URLs at once, for URLs as extract writes them."""
    authority = pc.list_element(pc.split_pattern(urls, "/", max_splits=3), 2)
    return pc.replace_substring_regex(authority, r":[0-9]*$", "")


class _Hosts:
    """Hashes of hosts, and whether they or a domain above them are blocked."""

    def __init__(self, blocked: Iterable[str]) -> None:
        self._blocked = frozenset(host.lower().strip(".") for host in blocked)

    def __call__(self, urls: pa.Array) -> tuple[Bits, npt.NDArray[np.bool_]]:
        try:
            encoded = hosts_of(urls).dictionary_encode()
        except pa.ArrowInvalid:
            raise InputError("a URL without a host: was this file made by extract?") from None
        names = encoded.dictionary.to_pylist()
        which = encoded.indices.to_numpy()
        hashes = np.array([xxhash.xxh3_64_intdigest(name.encode()) for name in names], np.uint64)
        blocked = np.array([is_blocked(name, self._blocked) for name in names], np.bool_)
        return hashes[which], blocked[which]


def is_blocked(host: str, blocked: frozenset[str]) -> bool:
    """Whether a host or a domain that it belongs to is in the list."""
    while blocked:
        if host in blocked:
            return True
        _, dot, host = host.partition(".")
        if not dot:
            break
    return False
