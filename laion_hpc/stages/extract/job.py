"""A segment: its WATs over the work queue, then one file whose row group b is block b."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

from laion_hpc import config as settings
from laion_hpc.config import Config
from laion_hpc.errors import InputError, UsageError
from laion_hpc.files import ledger
from laion_hpc.files import takedown_list as takedown_list
from laion_hpc.files.atomic import atomic
from laion_hpc.files.ledger import Ledger
from laion_hpc.files.schemas import CANDIDATES
from laion_hpc.runtime import console, work
from laion_hpc.runtime.work import Team
from laion_hpc.stages.extract import external_sort, parquet_merge, wat
from laion_hpc.web import object_store

LISTED_FAILURES = 20
LISTED_DAMAGE = 1_000

_CUTS = 4
"""Pieces of the output per process: blocks differ in size."""


@dataclass(frozen=True)
class SegmentJob:
    """One segment to extract."""

    wats: Sequence[str]
    """Paths or URLs, in the order of the rows to come."""
    output: Path
    crawl: str
    segment: str
    config: Config

    @property
    def parts(self) -> Path:
        """Where finished WATs wait for the others; removed when all is done."""
        return self.output.with_name(f"{self.output.stem}.parts")


def run(job: SegmentJob, processes: int) -> Ledger | None:
    """Extract a segment; its ledger, or None on an MPI rank that only worked.

    A segment that is finished from these very WATs and config is left alone. Raises InputError
    if more WATs fail than the config tolerates; the finished ones are kept for the next attempt.
    """
    check_names(job.wats)
    digest = settings.digest(job.config, "extract")
    with work.team(processes) as team:
        if not team.leads:
            return None
        source = ledger.fingerprint(
            CANDIDATES, job.crawl, job.segment, *(wat.fingerprint(address) for address in job.wats)
        )
        done = ledger.finished(ledger.path_of(job.output), config=digest, source=source)
        if done is None:
            results = team.map(
                partial(wat.make_wat, config=job.config, parts=job.parts),
                job.wats,
                label=f"extract {job.segment}".rstrip(),
                unit="WATs",
            )
            done = _finish(job, team, results, digest, source)
        shutil.rmtree(job.parts, ignore_errors=True)
        return done


def check_names(wats: Sequence[str]) -> None:
    """UsageError unless the WATs' file names tell them apart: they are part of every row."""
    if not wats:
        raise UsageError("extract: no WAT files given")
    for address in wats:
        if address.startswith(object_store.SCHEME):
            object_store.check(address)
    name, times = Counter(map(wat.name_of, wats)).most_common(1)[0]
    if times > 1:
        raise UsageError(f"{name}: {times} WATs have this name; extract them as separate segments")


def _finish(
    job: SegmentJob, team: Team, results: Sequence[Ledger | wat.Failure], digest: str, source: str
) -> Ledger:
    failures = [result for result in results if isinstance(result, wat.Failure)]
    finished = [result for result in results if isinstance(result, Ledger)]
    tolerated = job.config.extract.max_failed_wats
    listed = [failure.reason for failure in failures]
    if failures:
        shown = [*listed[:LISTED_FAILURES], *(["…"] if len(listed) > LISTED_FAILURES else [])]
        message = f"{len(failures)} of {len(results)} WATs failed:\n  " + "\n  ".join(shown)
        if len(failures) > tolerated:
            raise InputError(
                f"{job.output}: {message}\nThe others are kept. Mend these and run the same "
                f"command again, or raise extract.max_failed_wats (now {tolerated})."
            )
        console.warn(f"extract: {message}")
    sources = [
        external_sort.Source(
            wat.name_of(address), [job.parts / entry.name for entry in result.files]
        )
        for address, result in zip(job.wats, results, strict=True)
        if isinstance(result, Ledger)
    ]
    rows = _merge(job, team, sources)
    total = ledger.total(
        finished,
        stage="extract",
        unit="links",
        config=digest,
        source=source,
        files=(ledger.describe(job.output, rows=rows),),
    )
    damage = [line for result in finished for line in result.counts["damage"]]
    if damage:
        lost, repaired = total.counts["records_damaged"], total.counts["records_repaired"]
        console.warn(f"extract: {lost} records damaged, {repaired} repaired, such as {damage[0]}")
    counts = {
        **total.counts,
        "damage": damage[:LISTED_DAMAGE],
        "wats_failed": len(failures),
        "failures": listed,
    }
    total = ledger.total([total], source=source, files=total.files, counts=counts)
    total.write(ledger.path_of(job.output))
    return total


def _merge(job: SegmentJob, team: Team, sources: Sequence[external_sort.Source]) -> int:
    """Write the segment's file; its rows. The processes share the row groups.

    The file does not depend on who wrote which.
    """
    blocks = range(job.config.dataset.blocks)
    cuts = 1 if team.size == 1 else min(_CUTS * team.size, len(blocks))
    bounds = [len(blocks) * n // cuts for n in range(cuts + 1)]
    write = partial(_write_blocks, job=job, sources=sources)
    if cuts == 1:
        return write((blocks, job.output))
    pieces = [
        (blocks[begin:end], job.parts / f"blocks-{begin:05}.parquet")
        for begin, end in pairwise(bounds)
    ]
    label = f"extract {job.segment}".rstrip() + ", row groups"
    rows = team.map(write, pieces, label=label, unit="pieces")
    with atomic(job.output) as aside:
        parquet_merge.join([path for _, path in pieces], aside)
    return sum(rows)


def _write_blocks(
    piece: tuple[Sequence[int], Path], *, job: SegmentJob, sources: Sequence[external_sort.Source]
) -> int:
    blocks, path = piece
    with atomic(path) as aside:
        return external_sort.merge(
            sources,
            aside,
            blocks=blocks,
            crawl=job.crawl,
            segment=job.segment,
            takedowns=takedown_list.of(job.config),
        )
