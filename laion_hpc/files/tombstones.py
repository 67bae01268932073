"""What stays of a sample that was taken down: its place, and hashes instead of its URL.

The hashes are those by which `shuffle` puts a block in order. So the others keep their places and
keys, whether the sample was taken down before or after the block was made.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from laion_hpc.files.takedown_list import Takedowns

PREFIX = "taken-down:"
REASON = "taken_down"
"""In ledgers and as `error_message`."""
STAND_IN = "http://taken-down.invalid/"
"""A URL for code that wants one."""
_KEPT_OF_LINKS = frozenset({"url", "crawl", "segment"})
_KEPT_OF_SAMPLES = frozenset({"key", "url", "status", "error_message", "crawl"})
"""Columns that do not lead back to a sample. `url` is a tombstone's own."""

Mask = npt.NDArray[np.bool_]


class Graves(NamedTuple):
    """The tombstones among some rows."""

    rows: npt.NDArray[np.int64]
    urls: list[str]
    """SHA-256 of the URLs, hex."""
    hosts: npt.NDArray[np.uint64]
    """As `shuffle` hashes hosts: XXH3, 64 bit."""
    low: npt.NDArray[np.uint64]
    high: npt.NDArray[np.uint64]
    """As it hashes what makes two links the same: XXH3, 128 bit, in two halves."""


_IDENTITIES = ("url", "url+text", "url+language")
"""Values of shuffle.deduplicate_by, in the order of their hashes in a tombstone."""


def sha256(text: str) -> str:
    """SHA-256 of a text in UTF-8, hex."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def hosts_above(host: str) -> Iterator[str]:
    """A host and the domains that it belongs to: a.b.c, b.c, c."""
    while host:
        yield host
        host = host.partition(".")[2]


def covered(urls: Iterable[str], hosts: Iterable[str], takedowns: Takedowns) -> Mask:
    """Which URLs (n) are taken down, by themselves or with their hosts (n). Tombstones are not."""
    known: dict[str, bool] = {}

    def host_is(host: str) -> bool:
        if host not in known:
            known[host] = any(sha256(name) in takedowns.hosts for name in hosts_above(host))
        return known[host]

    return np.array(
        [
            not url.startswith(PREFIX)
            and (
                (bool(takedowns.urls) and sha256(url) in takedowns.urls)
                or (bool(takedowns.hosts) and host_is(host))
            )
            for url, host in zip(urls, hosts, strict=True)
        ],
        np.bool_,
    )


def tombstone(url: str, host: str, text: str, language: str) -> str:
    """What stands in the column `url` of a link from then on."""
    digest = xxhash.xxh3_64_intdigest(host.encode())
    keys = (url, f"{url}\n{text}", f"{url}\n{language}")
    same = (xxhash.xxh3_128_hexdigest(key.encode("utf-8", "surrogatepass")) for key in keys)
    return PREFIX + ":".join((sha256(url), f"{digest:016x}", *same))


def are_tombstones(urls: Any) -> Any:
    """For each value of a column of URLs, whether it is a tombstone."""
    return pc.starts_with(urls, PREFIX)


def graves(urls: Any, identity: str = "url") -> Graves | None:
    """The tombstones in a column of URLs, or None if there are none."""
    mask = are_tombstones(urls)
    if not pc.any(mask, min_count=0).as_py():
        return None
    which = 2 + _IDENTITIES.index(identity)
    parts = [text.removeprefix(PREFIX).split(":") for text in urls.filter(mask).to_pylist()]
    keys = [int(part[which], 16) for part in parts]
    return Graves(
        np.flatnonzero(mask.to_numpy(zero_copy_only=False)),
        [part[0] for part in parts],
        np.array([int(part[1], 16) for part in parts], np.uint64),
        np.array([key & (1 << 64) - 1 for key in keys], np.uint64),
        np.array([key >> 64 for key in keys], np.uint64),
    )


def without_tombstones(urls: Any) -> Any:
    """The column with a harmless URL instead of each tombstone."""
    return pc.if_else(are_tombstones(urls), STAND_IN, urls)


def bury_links(table: pa.Table, mask: Mask) -> pa.Table:
    """The table of links with its rows under `mask` turned into tombstones.

    They keep what `shuffle` decides by, as hashes. All other columns are zero or empty.
    """
    urls, hosts = table["url"].to_pylist(), table["host"].to_pylist()
    texts, languages = table["text"].to_pylist(), table["language"].to_pylist()
    for row in np.flatnonzero(mask).tolist():
        if not urls[row].startswith(PREFIX):
            urls[row] = tombstone(urls[row], hosts[row], texts[row], languages[row])
    return _emptied(table, mask, _KEPT_OF_LINKS, urls)


def bury_samples(table: pa.Table, mask: Mask) -> pa.Table:
    """The table of samples with its rows under `mask` turned into tombstones.

    They keep key and place, and nothing that depends on which of several equal links they came
    from. All other columns are zero or empty.
    """
    urls = table["url"].to_pylist()
    for row in np.flatnonzero(mask).tolist():
        urls[row] = PREFIX + _sha256_of(urls[row])
    return _emptied(table, mask, _KEPT_OF_SAMPLES, urls)


def _emptied(table: pa.Table, mask: Mask, keeps: frozenset[str], urls: list[str]) -> pa.Table:
    gone = pa.array(mask)
    columns = {}
    for field in table.schema:
        column = table[field.name].combine_chunks()
        if field.name not in keeps:
            column = pc.if_else(gone, pa.scalar(_nothing(field.type), field.type), column)
        columns[field.name] = column
    columns["url"] = pa.array(urls, pa.string())
    return pa.table(columns, schema=table.schema)


def bury_tombstones(samples: pa.Table) -> pa.Table:
    """Samples, those that came as tombstones of links reduced to what a sample's keeps."""
    mask = are_tombstones(samples["url"].combine_chunks()).to_numpy(zero_copy_only=False)
    return bury_samples(samples, mask) if mask.any() else samples


def _sha256_of(url: str) -> str:
    if url.startswith(PREFIX):
        return url.removeprefix(PREFIX).partition(":")[0]
    return sha256(url)


def _nothing(kind: pa.DataType) -> Any:
    if pa.types.is_string(kind):
        return ""
    return False if pa.types.is_boolean(kind) else 0
