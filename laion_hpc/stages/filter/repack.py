"""The kept samples of a block -> full shards, in order, images unchanged."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from laion_hpc.errors import InputError
from laion_hpc.files import ledger
from laion_hpc.files.atomic import atomic
from laion_hpc.files.ledger import Ledger
from laion_hpc.files.schemas import SCORED_SAMPLE
from laion_hpc.files.shards import Sample, ShardWriter, read_shard
from laion_hpc.files.tables import read_parquet
from laion_hpc.stages.filter.scores import FOLDER, kept_rows


@dataclass(frozen=True)
class Span:
    """The places `start` … `stop - 1` among the kept samples of an input shard."""

    shard: str
    start: int
    stop: int


@dataclass(frozen=True)
class OutputShard:
    """A new shard and where its samples come from."""

    name: str
    spans: tuple[Span, ...]

    @property
    def samples(self) -> int:
        """The number of samples it holds if none was taken down."""
        return sum(span.stop - span.start for span in self.spans)


@dataclass(frozen=True)
class RepackJob:
    """What all new shards of a block have in common."""

    source: Path
    output: Path
    config: str
    """Digest of the config keys of the stage."""
    images: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)
    """Tars that hold the images of a downloaded shard whose own tar was removed."""
    places: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By downloaded shard: keys of kept samples that were taken down. Their places stay empty."""


def plan(kept: Sequence[tuple[str, int]], size: int) -> list[OutputShard]:
    """Cut the kept samples of the input shards, (name, number) in order, in shards of `size`.

    All but the last are full. Without a kept sample there is no shard.
    """
    planned: list[OutputShard] = []
    spans: list[Span] = []
    room = size
    for shard, count in kept:
        start = 0
        while start < count:
            stop = min(count, start + room)
            spans.append(Span(shard, start, stop))
            room -= stop - start
            start = stop
            if not room:
                planned.append(OutputShard(f"{len(planned):05d}", tuple(spans)))
                spans, room = [], size
    if spans:
        planned.append(OutputShard(f"{len(planned):05d}", tuple(spans)))
    return planned


def make_shard(shard: OutputShard, *, job: RepackJob) -> Ledger:
    """Write one new shard: tar, parquet, ledger."""
    done = finished(shard, job)
    if done:
        return done
    path = job.output / f"{shard.name}.ledger.json"
    path.unlink(missing_ok=True)
    tables = [_rows(span, job) for span in shard.spans]
    rows = sum(table.num_rows for table in tables)
    tar = job.output / f"{shard.name}.tar"
    with atomic(tar) as aside, ShardWriter(aside) as writer:
        for span, table in zip(shard.spans, tables, strict=True):
            tars = job.images.get(span.shard, (job.source / f"{span.shard}.tar",))
            for sample in _samples(tars, table):
                writer.add(sample)
    parquet = job.output / f"{shard.name}.parquet"
    with atomic(parquet) as aside:
        pq.write_table(pa.concat_tables(tables), aside, compression="zstd")
    done = Ledger(
        stage="filter",
        unit="samples",
        inputs=rows,
        kept=rows,
        config=job.config,
        source=_source(shard, job),
        files=tuple(ledger.describe(file, rows=rows) for file in (tar, parquet)),
    )
    done.write(path)
    return done


def finished(shard: OutputShard, job: RepackJob) -> Ledger | None:
    """The ledger of a new shard that was made from these scores and this config, or None."""
    path = job.output / f"{shard.name}.ledger.json"
    return ledger.finished(path, config=job.config, source=_source(shard, job))


def _source(shard: OutputShard, job: RepackJob) -> str:
    inputs: list[str | Path] = []
    for span in shard.spans:
        scores = job.output / FOLDER / f"{span.shard}.parquet"
        inputs += [job.source / f"{span.shard}.tar", scores, f"{span.start}-{span.stop}"]
    return ledger.fingerprint(*inputs)


def keys(span: Span, job: RepackJob) -> pa.ChunkedArray:
    """The keys of a span."""
    return _rows(span, job)["key"]


def _rows(span: Span, job: RepackJob) -> pa.Table:
    path = job.output / FOLDER / f"{span.shard}.parquet"
    table = kept_rows(read_parquet(path, "run `filter` again", schema=SCORED_SAMPLE))
    if places := job.places.get(span.shard):
        # Keys sort in the order of the shard.
        keys = sorted([*table["key"].to_pylist(), *places])[span.start : span.stop]
        return table.filter(pc.is_in(table["key"], pa.array(keys))).combine_chunks()
    return table.slice(span.start, span.stop - span.start).combine_chunks()


def _samples(tars: Sequence[Path], table: pa.Table) -> Iterator[Sample]:
    """The samples of tars that a table lists, with their scores in the metadata."""
    wanted = {
        key: (similarity, nsfw)
        for key, similarity, nsfw in zip(
            table["key"].to_pylist(),
            table["similarity"].to_numpy(),
            table["nsfw"].to_pylist(),
            strict=True,
        )
    }
    for tar in tars:
        for sample in read_shard(tar):
            if sample.key in wanted:
                similarity, nsfw = wanted.pop(sample.key)
                yield with_scores(sample, similarity, nsfw)
                if not wanted:
                    return
    if wanted:
        raise InputError(f"{tars[-1]}: has no sample {next(iter(wanted))}; make this shard again")


def with_scores(sample: Sample, similarity: np.float32, nsfw: str) -> Sample:
    """The sample with similarity and nsfw in its JSON; every other member is unchanged."""
    members = dict(sample.members)
    data = json.loads(members.get("json", b"{}"))
    # str of a float32 is the shortest decimal that is this float32.
    data |= {"similarity": float(str(similarity)), "nsfw": nsfw}
    members["json"] = json.dumps(data, ensure_ascii=False).encode()
    return Sample(sample.key, members)
