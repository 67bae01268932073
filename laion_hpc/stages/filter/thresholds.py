"""Scores -> outcomes: thresholds for each sample, then duplicates in a block.

Scores and signatures are stored: this needs no model and no image.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from laion_hpc.files import ledger
from laion_hpc.files.atomic import atomic
from laion_hpc.files.ledger import Ledger
from laion_hpc.files.schemas import SCORED_SAMPLE
from laion_hpc.files.tables import read_parquet
from laion_hpc.runtime.work import Team
from laion_hpc.stages.filter import duplicates, outcomes, scores, signatures
from laion_hpc.stages.filter.scores import ScoreJob

AGAIN = "run `filter` again"

CUTTING = "cutting"
"""Digest in the ledger during a cut: the table may be the old one or the new one."""

Duplicates = tuple[tuple[int, str], ...]
"""Rows of a shard that are dropped as duplicates, ascending, with the reason of each."""


@dataclass(frozen=True)
class Cut:
    """A shard and its duplicates."""

    shard: str
    duplicates: Duplicates = ()


def score_shard(shard: str, *, job: ScoreJob) -> Ledger:
    """Score one shard and cut it at the thresholds, unless this is done; returns its ledger.

    If duplicates are to be found, a scored shard is cut later, with the whole block. InputError if
    it may not or cannot be scored (`scores.make_scores`).
    """
    before = scores.stored(shard, job)
    if before and job.kinds:
        return before
    return cut_shard(Cut(shard), job=job)


def cut_shard(cut: Cut, *, job: ScoreJob) -> Ledger:
    """Give every sample of a shard its outcome; returns the shard's ledger."""
    path = scores.ledger_path(cut.shard, job)
    table_path = scores.table_path(cut.shard, job)
    config = _digest(job, cut.duplicates)
    source = scores.source_of(cut.shard, job, job.kinds)
    before = scores.stored(cut.shard, job)
    if before and (before.config, before.source) == (config, source):
        return before
    if before:
        table = read_parquet(table_path, AGAIN, schema=SCORED_SAMPLE)
        # After a kill before the new ledger is there, the scores still count as good.
        unchanged = tuple(file for file in before.files if file.name != table_path.name)
        replace(before, config=CUTTING, files=unchanged).write(path)
    else:
        table, seen = scores.make_scores(cut.shard, job)
        signatures.write(job.scores, cut.shard, seen)
    classes = table["language_class"].to_pylist()
    outcome = _by_thresholds(table, job)
    for row, reason in cut.duplicates:
        outcome[row] = reason
    position = SCORED_SAMPLE.get_field_index("fate")
    table = table.set_column(position, SCORED_SAMPLE.field("fate"), pa.array(outcome, pa.string()))
    with atomic(table_path) as aside:
        pq.write_table(table, aside, compression="zstd")
    reasons = Counter(outcome)
    kept = reasons.pop(outcomes.KEPT, 0)
    done = Ledger(
        stage="filter",
        unit="samples",
        inputs=table.num_rows,
        kept=kept,
        dropped=dict(reasons),
        config=config,
        source=source,
        counts=outcomes.counts(outcome, classes, table["nsfw"].to_pylist()),
        files=(
            ledger.describe(table_path, rows=table.num_rows),
            *signatures.describe(job.scores, cut.shard, job.kinds),
        ),
    )
    done.write(path)
    signatures.keep_only(job.scores, cut.shard, job.kinds)
    return done


def find_duplicates(shards: Sequence[str], job: ScoreJob, team: Team) -> list[Cut]:
    """The duplicates among the samples of all shards that the thresholds keep."""
    shard_of, row_of, similarity = _kept(shards, job)
    order = duplicates.best_first(similarity)
    shard_of, row_of = shard_of[order], row_of[order]
    staying = np.arange(len(order))
    found: defaultdict[int, list[tuple[int, str]]] = defaultdict(list)
    for kind in job.kinds:
        mine = _signatures(kind, shards, shard_of[staying], row_of[staying], job)
        dropped = _decide(kind, mine, job, team)
        for at in staying[dropped]:
            found[int(shard_of[at])].append((int(row_of[at]), outcomes.DUPLICATE[kind]))
        staying = staying[~dropped]
    return [Cut(shard, tuple(sorted(found[number]))) for number, shard in enumerate(shards)]


def _decide(
    kind: str, values: NDArray[np.generic], job: ScoreJob, team: Team
) -> duplicates.Dropped:
    config = job.config.duplicates
    if kind == signatures.EXACT:
        return duplicates.exact(values.astype(np.uint64, copy=False))
    if kind == signatures.PERCEPTUAL:
        assert config.perceptual is not None
        return duplicates.perceptual(values.astype(np.uint64, copy=False), config.perceptual)
    assert config.semantic is not None
    embeddings = values.astype(np.float16, copy=False)
    parts = duplicates.clusters(embeddings)
    judged = team.map(
        partial(duplicates.semantic, cosine=config.semantic),
        [embeddings[rows] for rows in parts],
        label=f"filter {job.output.name}: duplicates",
        unit="clusters",
    )
    dropped = np.zeros(len(embeddings), bool)
    for rows, part in zip(parts, judged, strict=True):
        dropped[rows] = part
    return dropped


def _kept(
    shards: Sequence[str], job: ScoreJob
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Shard number, row in the shard and similarity of each sample that the thresholds keep."""
    numbers, rows, similarity = [], [], []
    for number, shard in enumerate(shards):
        columns = ["similarity", "language_class", "fate"]
        table = read_parquet(scores.table_path(shard, job), AGAIN, columns=columns)
        mine = np.flatnonzero(np.array(_by_thresholds(table, job), object) == outcomes.KEPT)
        numbers.append(np.full(len(mine), number))
        rows.append(mine)
        similarity.append(table["similarity"].to_numpy()[mine])
    return (
        np.concatenate([np.empty(0, np.int64), *numbers]),
        np.concatenate([np.empty(0, np.int64), *rows]),
        np.concatenate([np.empty(0, np.float32), *similarity]),
    )


def _signatures(
    kind: str,
    shards: Sequence[str],
    shard_of: NDArray[np.int64],
    row_of: NDArray[np.int64],
    job: ScoreJob,
) -> NDArray[np.generic]:
    """The signatures of samples of many shards, in the order given."""
    by_shard = np.argsort(shard_of, kind="stable")
    ends = np.searchsorted(shard_of[by_shard], np.arange(len(shards) + 1))
    parts = [
        signatures.load(job.scores, shard, kind, row_of[by_shard[start:stop]])
        for shard, start, stop in zip(shards, ends, ends[1:], strict=False)
    ]
    joined = np.concatenate(parts) if parts else np.empty((0, 2), np.uint64)
    values = np.empty_like(joined)
    values[by_shard] = joined
    return values


def _by_thresholds(table: pa.Table, job: ScoreJob) -> list[str]:
    return outcomes.fates(
        table["similarity"].to_numpy(),
        table["language_class"].to_pylist(),
        table["fate"].to_pylist(),
        job.config.thresholds,
    )


def _digest(job: ScoreJob, dropped: Duplicates) -> str:
    """Digest of all that decides the outcomes besides the scores."""
    parts = job.config.thresholds.model_dump_json() + (repr(dropped) if dropped else "")
    return hashlib.sha256(parts.encode()).hexdigest()[:16]
