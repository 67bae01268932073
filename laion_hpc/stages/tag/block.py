"""One embedded block -> one table of tags."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from laion_hpc.config import Config, digest
from laion_hpc.errors import UsageError
from laion_hpc.files import ledger
from laion_hpc.files.atomic import atomic
from laion_hpc.files.ledger import Ledger
from laion_hpc.files.schemas import TAGS
from laion_hpc.files.tables import open_embeddings
from laion_hpc.heads.head import DESCRIPTION, WEIGHTS, Description, describe, load_head
from laion_hpc.heads.spaces import check_space, space_of_embeddings
from laion_hpc.models.folders import resolve_folder
from laion_hpc.runtime.work import Team
from laion_hpc.stages.tag.shard import EMBED_AGAIN, TagJob, schema_of, tag_shard


def tag_block(
    source: Path, output: Path, config: Config, team: Team, *, images: Path | None = None
) -> Ledger:
    """Tag the embeddings in `source`; writes `output` (parquet) and, last, its ledger.

    `images` is the filtered block that was embedded; only heads that read images need it.
    UsageError at the start if a head is missing, damaged, or for other embeddings.
    """
    embedded = ledger.read(source / ledger.MANIFEST)
    names = sorted(entry.name for entry in embedded.files if entry.name.startswith("img_emb/"))
    shards = [Path(name).stem.removeprefix("img_emb_") for name in names]
    heads = [describe(name) for name in config.tag.heads]
    width = _check(heads, source, names, config, images)
    tars = [images / f"{shard}.tar" for shard in shards] if _look(heads) and images else []
    fingerprint = ledger.fingerprint(
        *(source / name for name in names),
        *(source / f"metadata/metadata_{shard}.parquet" for shard in shards),
        *tars,
        *(resolve_folder(head) / part for head in config.tag.heads for part in _PARTS),
    )
    path = ledger.path_of(output)
    done = ledger.finished(path, config=digest(config, "tag"), source=fingerprint)
    if done:
        return done
    path.unlink(missing_ok=True)
    tables = team.map(
        partial(tag_shard, job=TagJob(source, config.tag, width, images)),
        shards,
        label=f"tag {output.stem}",
        unit="shards",
    )
    with (
        atomic(output) as aside,
        pq.ParquetWriter(aside, schema_of(heads), compression="zstd") as writer,
    ):
        for table in tables:
            writer.write_table(table, row_group_size=max(1, table.num_rows))
    rows = sum(table.num_rows for table in tables)
    done = Ledger(
        stage="tag",
        unit="samples",
        inputs=embedded.kept,
        kept=rows,
        config=digest(config, "tag"),
        source=fingerprint,
        counts={"over_threshold": _over_threshold(tables, heads)} | _unscored(tables, heads),
        files=(ledger.describe(output, rows=rows),),
    )
    done.write(path)
    return done


_PARTS = (DESCRIPTION, WEIGHTS)


def _look(heads: list[Description]) -> list[str]:
    """The names of the heads that read images."""
    return [head.name for head in heads if head.image]


def _check(
    heads: list[Description], source: Path, arrays: list[str], config: Config, images: Path | None
) -> int:
    """Check the heads before any work; UsageError if one is wrong.

    Returns the width of the embeddings, 0 if there are none.
    """
    taken = {*TAGS.names, "nsfw"}
    for head in heads:
        if head.column in taken:
            raise UsageError(f"tag.heads: {head.name}: its column {head.column} is there already")
        taken.add(head.column)
    for name in config.tag.heads:
        load_head(name)
    if _look(heads) and images is None:
        raise UsageError(
            f"tag.heads: {', '.join(_look(heads))} reads images: give --images, the block folder "
            "of `filter` that was embedded"
        )
    if not arrays:
        return 0
    first = source / arrays[0]
    width = int(open_embeddings(first, EMBED_AGAIN).shape[1])
    space = space_of_embeddings(source, config)
    for head in heads:
        check_space(head, space=space, width=width, whose=f"those in {first}")
    return width


def _over_threshold(tables: list[pa.Table], heads: list[Description]) -> dict[str, int]:
    """The number of rows that reach each head's threshold."""
    return {
        head.column: sum(
            int((table[head.column].to_numpy() >= head.threshold).sum()) for table in tables
        )
        for head in heads
        if head.threshold is not None
    }


def _unscored(tables: list[pa.Table], heads: list[Description]) -> dict[str, dict[str, int]]:
    """Rows without a score of a head, as their embedding is not finite; {} if none."""
    counts = {head.column: sum(t[head.column].null_count for t in tables) for head in heads}
    found = {column: count for column, count in counts.items() if count}
    return {"not_finite": found} if found else {}
