"""A block: survey, decide, write."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from laion_hpc import config as settings
from laion_hpc.config import Config
from laion_hpc.errors import UsageError
from laion_hpc.files import ledger, takedown_list, tombstones
from laion_hpc.files.atomic import atomic
from laion_hpc.files.blocklist import read_digests
from laion_hpc.files.ledger import Ledger
from laion_hpc.stages.shuffle import decisions, seen
from laion_hpc.stages.shuffle.survey import survey
from laion_hpc.stages.shuffle.write import remove_spills, write_block


@dataclass(frozen=True)
class BlockJob:
    """One block to shuffle."""

    parts: Sequence[Path]
    """Outputs of extract."""
    block: int
    output: Path
    crawl: str
    """Of the sample keys; empty: the crawl column of the rows, if they agree."""
    seen_before: Sequence[Path]
    seen_after: Path | None
    config: Config


def run(job: BlockJob) -> Ledger:
    """Shuffle a block; its ledger. What is finished from the same parts and config is kept."""
    keys = job.config.shuffle
    digest = settings.digest(job.config, "shuffle")
    listed_urls = read_digests(
        keys.blocked_url_hashes, "shuffle.blocked_url_hashes", {64: "SHA-256"}
    )
    blocked_urls = frozenset(map(bytes.fromhex, listed_urls))
    source = ledger.fingerprint(
        str(job.block),
        job.crawl,
        *job.parts,
        "seen before",
        *job.seen_before,
        "blocked",
        *sorted(map(bytes.hex, blocked_urls)),
    )
    where = ledger.path_of(job.output)
    done = ledger.finished(where, config=digest, source=source)
    if done is not None and (job.seen_after is None or job.seen_after.exists()):
        return done
    rows = survey(
        job.parts,
        job.block,
        deduplicate_by=keys.deduplicate_by,
        blocked_hosts=keys.blocked_hosts,
        blocked_urls=blocked_urls,
        held=_held(job),
    )
    # The first reason that applies counts; only what passes one is asked the next.
    blocked_host = rows.blocked_host
    blocked_url = rows.blocked_url & ~blocked_host
    left = ~(rows.taken_down | blocked_host | blocked_url)
    seen_earlier = seen.seen_in(job.seen_before, rows) & left
    left &= ~seen_earlier
    unique = decisions.without_duplicates(rows, left)
    dropped = {
        tombstones.REASON: int(rows.taken_down.sum()),
        "blocked_host": int(blocked_host.sum()),
        "blocked_url": int(blocked_url.sum()),
        "seen_earlier": int(seen_earlier.sum()),
        "duplicate": int(left.sum()) - len(unique),
    }
    inputs, crawls = len(rows), rows.crawls
    kept = rows.narrowed(unique)
    # What is decided is decided: the rest needs the room.
    del rows, blocked_host, blocked_url, left, seen_earlier
    if job.seen_after is not None:
        seen.write(job.seen_after, kept, keys.seen_false_positive_rate)
    hosts = pc.count_distinct(pa.array(kept.host)).as_py()
    order = unique[decisions.mixed(kept, job.config.dataset.seed)]
    del kept, unique

    remove_spills(job.output.parent, job.output.name)
    with atomic(job.output) as aside:
        classes = write_block(
            job.parts,
            job.block,
            order,
            inputs,
            aside,
            crawl=job.crawl or _only_crawl(crawls),
            samples_per_shard=job.config.dataset.samples_per_shard,
            scratch=job.output.parent,
        )
    files = [ledger.describe(job.output, rows=len(order))]
    if job.seen_after is not None:
        name = os.path.relpath(job.seen_after, job.output.parent)
        files.append(replace(ledger.describe(job.seen_after, rows=len(order)), name=name))
    result = Ledger(
        stage="shuffle",
        unit="links",
        inputs=inputs,
        kept=len(order),
        dropped=dropped,
        config=digest,
        source=source,
        counts={
            "shards": -(-len(order) // job.config.dataset.samples_per_shard),
            "hosts": hosts,
            "kept_by_class": dict(classes),
        },
        files=tuple(files),
    )
    result.write(where)
    return result


def _held(job: BlockJob) -> frozenset[str]:
    """SHA-256 of the URLs that were taken down when they had their place in this block."""
    takedowns = takedown_list.of(job.config)
    if not takedowns:
        return frozenset()
    samples = takedowns.of_block(job.crawl, job.block, takedown_list.numbering(job.config))
    return frozenset(sample.url for sample in samples)


def _only_crawl(crawls: frozenset[str]) -> str:
    if len(crawls) > 1:
        raise UsageError(f"the rows are of {len(crawls)} crawls; name the samples' with --crawl")
    name = next(iter(crawls), "")
    if not name or any(c in "./\\ " for c in name):
        # Without rows there are no keys: no name is needed.
        if crawls:
            raise UsageError(f"crawl {name!r} cannot be part of sample keys; give --crawl NAME")
        return ""
    return name
