"""Finds the links and samples of a crawl that are taken down."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from laion_hpc.files import tombstones
from laion_hpc.files.tables import open_parquet, read_parquet
from laion_hpc.files.takedown_list import Sample, Takedowns
from laion_hpc.run import results
from laion_hpc.runtime.work import Team
from laion_hpc.web.url import block_of, host_of


class Link(NamedTuple):
    """A link of a block that is to be taken down; hashes in hex."""

    block: int
    key: str
    """The sample key; empty for a link without one."""
    url: str
    """SHA-256 of the URL."""


@dataclass(frozen=True)
class Table:
    """A table that holds links to take down."""

    path: Path
    groups: tuple[int, ...]
    """The row groups with such links."""
    links: tuple[Link, ...]


def urls_of_samples(
    crawl: Path, team: Team, takedowns: Takedowns, keys: Collection[str]
) -> tuple[set[str], set[str]]:
    """URLs of samples that the links alone do not identify, and the keys that were found.

    Such samples are taken down by their key, by the hash of their image, or because their URL
    redirects to one that is taken down. The tables of `download` and, for keys, of `shuffle` tell.
    """
    urls: set[str] = set()
    found: set[str] = set()
    tables = results.shard_tables(crawl, "download")
    for one in team.map(
        partial(_in_downloads, takedowns=takedowns), tables, label="images", unit="tables"
    ):
        urls |= one
    wanted = [key for key in keys if key.startswith(f"{crawl.resolve().name}-")]
    for block in sorted({key.split("-")[-3] for key in wanted}):
        path = crawl / "shuffle" / f"{block}.parquet"
        if path.exists():
            table = read_parquet(path, columns=["key", "url"])
            rows = table.filter(pc.is_in(table["key"], pa.array(wanted, pa.string())))
            found.update(rows["key"].to_pylist())
            urls.update(rows["url"].to_pylist())
    return {url for url in urls if not url.startswith(tombstones.PREFIX)}, found


def _in_downloads(path: Path, *, takedowns: Takedowns) -> set[str]:
    table = read_parquet(path, columns=["url", "final_url", "sha256", "md5"])
    images = pa.array(sorted(takedowns.images), pa.string())
    hit = pc.or_(pc.is_in(table["sha256"], images), pc.is_in(table["md5"], images))
    final = table["final_url"].to_pylist()
    moved = tombstones.covered(final, map(host_of, final), takedowns)
    mask = np.array(hit.to_numpy(), np.bool_) | moved
    return set(table["url"].filter(pa.array(mask)).to_pylist())


def links(
    crawl: Path, team: Team, takedowns: Takedowns, urls: Collection[str], blocks: int
) -> list[Table]:
    """The tables of `extract` and `shuffle` that hold links to take down.

    If all URLs are known (`urls`), only their blocks are read. Hosts and hashes of URLs can be
    in any block.
    """
    known = {tombstones.sha256(url) for url in urls}
    where: set[int] | None = None
    if not takedowns.hosts and takedowns.urls <= known:
        where = {block_of(url, blocks) for url in urls}
    extracts = sorted((crawl / "extract").glob("*.parquet"))
    shuffles = [
        path
        for path in results.block_tables(crawl, "shuffle")
        if where is None or int(path.stem) in where
    ]
    function = partial(_in_links, takedowns=takedowns, blocks=where)
    found = team.map(function, [*extracts, *shuffles], label="links", unit="tables")
    return [table for table in found if table.groups]


def _in_links(path: Path, *, takedowns: Takedowns, blocks: set[int] | None) -> Table:
    """The links of one table. Row group b of `extract` is block b; a file of `shuffle` is one."""
    keyed = path.parent.name == "shuffle"
    groups, found = [], []
    with open_parquet(path) as file:
        for group in range(file.num_row_groups):
            if not keyed and blocks is not None and group not in blocks:
                continue
            table = file.read_row_group(group, ["url", "host", *(["key"] if keyed else [])])
            urls, hosts = table["url"].to_pylist(), table["host"].to_pylist()
            mask = tombstones.covered(urls, hosts, takedowns)
            if not mask.any():
                continue
            groups.append(group)
            rows = table.filter(pa.array(mask)).to_pylist()
            block = int(path.stem) if keyed else group
            found += [Link(block, r.get("key", ""), tombstones.sha256(r["url"])) for r in rows]
    return Table(path, tuple(groups), tuple(found))


def samples(crawl: Path, tables: Sequence[Table], numbering: str) -> set[Sample]:
    """The entries of the list for links that have keys."""
    found = set()
    for table in tables:
        keyed = [link for link in table.links if link.key]
        if not keyed:
            continue
        kept = _kept(crawl, keyed)
        found |= {
            Sample(
                crawl.resolve().name,
                link.block,
                tombstones.sha256(link.key),
                link.url,
                link.key in kept,
                numbering,
            )
            for link in keyed
        }
    return found


def _kept(crawl: Path, keyed: Sequence[Link]) -> set[str]:
    """The keys of one block whose image `filter` kept."""
    wanted = {link.key for link in keyed}
    folder = crawl / "filter" / f"{keyed[0].block:04d}" / "scores"
    kept: set[str] = set()
    for shard in sorted({key.split("-")[-2] for key in wanted}):
        path = folder / f"{shard}.parquet"
        if path.exists():
            table = read_parquet(path, columns=["key", "fate"])
            kept |= wanted & set(table["key"].filter(pc.equal(table["fate"], "kept")).to_pylist())
    return kept
