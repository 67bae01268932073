"""Take-downs in a block that was filtered: they leave empty places and shorter scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from laion_hpc.config import Config
from laion_hpc.files import ledger, takedown_list, tombstones
from laion_hpc.files.atomic import atomic
from laion_hpc.files.ledger import Ledger
from laion_hpc.files.schemas import SCORED_SAMPLE
from laion_hpc.files.tables import open_array, read_parquet
from laion_hpc.stages.filter import images, scores, signatures
from laion_hpc.stages.filter.scores import ScoreJob

AGAIN = "run `filter` again"


def places(
    source: Path, shards: Sequence[str], downloaded: Ledger, config: Config
) -> dict[str, tuple[str, ...]]:
    """Keys by shard of samples that were kept, then taken down: no other takes their place.

    So only the shards that held them change. Results for the other shards stay.
    """
    if not downloaded.dropped.get(tombstones.REASON):
        return {}
    made = takedown_list.numbering(config)
    kept = {
        one.key for one in takedown_list.of(config).samples if one.kept and one.numbering == made
    }
    found = {}
    for shard in shards:
        table = read_parquet(
            source / f"{shard}.parquet", "run `download` again", columns=["key", "error_message"]
        )
        gone = table["key"].filter(pc.equal(table["error_message"], tombstones.REASON))
        found[shard] = tuple(key for key in gone.to_pylist() if tombstones.sha256(key) in kept)
    return found


def shrink_scores(shards: Sequence[str], job: ScoreJob, downloaded: Ledger) -> None:
    """Take samples out of stored scores whose images were removed (keep.candidate_images).

    If the images are there, the shard has a new tar without these samples, and it is scored.
    """
    if not downloaded.dropped.get(tombstones.REASON):
        return
    for shard in images.removed(job.source, list(shards)):
        book = scores.stored(shard, job)
        left = scores.successes(job.source / f"{shard}.parquet")["key"].combine_chunks()
        if book is None or book.inputs == len(left):
            continue
        table = read_parquet(scores.table_path(shard, job), AGAIN, schema=SCORED_SAMPLE)
        mask = pc.is_in(table["key"], left).combine_chunks()
        _shrink(shard, job, book, table.filter(mask), mask)


def _shrink(shard: str, job: ScoreJob, book: Ledger, table: pa.Table, mask: pa.Array) -> None:
    path = scores.ledger_path(shard, job)
    # Without images these scores cannot be made again. After a kill they must still count as
    # stored, and the same call goes on. So the ledger lists the files only when all are written.
    replace(book, files=()).write(path)
    kinds = [k for k in signatures.KINDS if signatures.path_of(job.scores, shard, k).exists()]
    for kind in kinds:
        values = open_array(signatures.path_of(job.scores, shard, kind), AGAIN, mapped=False)
        if len(values) != table.num_rows:
            signatures.write(job.scores, shard, {kind: values[mask.to_numpy(False)]})
    with atomic(scores.table_path(shard, job)) as aside:
        pq.write_table(table, aside, compression="zstd")
    # The next cut sets outcomes and counts: no config has this digest.
    replace(
        book,
        inputs=table.num_rows,
        kept=table.num_rows,
        dropped={},
        counts={},
        config="",
        files=(
            ledger.describe(scores.table_path(shard, job), rows=table.num_rows),
            *signatures.describe(job.scores, shard, kinds),
        ),
    ).write(path)
