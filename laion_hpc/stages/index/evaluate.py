"""Measures a merged index against exact search, for image and for text queries."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from laion_hpc.charts import recall_plot
from laion_hpc.config.sections import IndexConfig
from laion_hpc.errors import InputError
from laion_hpc.files.atomic import write_bytes
from laion_hpc.files.index_folder import About, Modality, open_index, read_about, vector_id
from laion_hpc.runtime.progress import progress
from laion_hpc.stages.index import recall
from laion_hpc.stages.index.embeddings import Block, Vectors, gather, open_block, sample_rows
from laion_hpc.stages.index.recall import DEPTHS, Ids

TIMED = 100
"""Queries that are timed, each alone: batches, which measure recall, do not show its time."""
SCAN_ROWS = 16_384
"""Vectors that exact search compares at once: 130 MB of cosines for 1,000 queries of each kind."""


@dataclass(frozen=True)
class Queries:
    """Vectors to search with, (q, width), and for each the id to leave out, or -1."""

    vectors: Vectors
    own: Ids


def evaluate(
    folder: Path,
    embeddings: Sequence[Path],
    output: Path,
    *,
    config: IndexConfig,
    seed: int,
    threads: int = 1,
) -> dict[str, Any]:
    """Write `output` and its plot (same inputs, same bytes), and latencies to `*_stats.json`.

    Queries of the index's own modality are a seeded sample of its vectors, not the training
    sample. The results of a query leave out its own vector. Queries of the other modality are the
    texts (or images) of the same samples. Their distribution is not the one that the index was
    trained on: for an index of images they stand for what people type.
    """
    import faiss
    from threadpoolctl import threadpool_limits

    about = read_about(folder)
    blocks = _match(about, embeddings)
    index = open_index(folder)
    faiss.omp_set_num_threads(threads)
    queries = _queries(blocks, about, config.evaluate_queries, seed)
    with threadpool_limits(threads, user_api="blas"):
        truth = _truth(blocks, queries)
    cells = int(faiss.extract_index_ivf(index).nlist)
    table, latencies = [], []
    for nprobe in recall.nprobe_steps(cells):
        row: dict[str, Any] = {"nprobe": nprobe}
        for kind, sample in queries.items():
            found = _search(index, sample, nprobe)
            row[kind] = {str(depth): recall.recall(found, truth[kind], depth) for depth in DEPTHS}
        table.append(row)
        latencies.append({"nprobe": nprobe, **_time(index, queries[about.modality], nprobe)})
    measured = [(row["nprobe"], {kind: row[kind]["10"] for kind in queries}) for row in table]
    nprobe, reached = recall.choose_nprobe(measured, config.target_recall)
    ivf = faiss.extract_index_ivf(index)
    result = {
        "key": about.key,
        "modality": about.modality,
        "count": about.count,
        "bytes_per_vector": int(ivf.code_size) + 8,
        "queries": {kind: len(sample.vectors) for kind, sample in queries.items()},
        "target_recall": config.target_recall,
        "target_reached": reached,
        "nprobe": nprobe,
        "recall": table,
    }
    _write(output, result)
    write_bytes(output.with_suffix(".svg"), recall_plot.document(recall_plot.panels(result)))
    _write(stats_of(output), {"threads": threads, "latency": latencies})
    return result


def stats_of(output: Path) -> Path:
    """The path of the latencies: they differ from run to run, the evaluation does not."""
    return output.with_name(f"{output.stem}_stats.json")


def _match(about: About, folders: Sequence[Path]) -> list[tuple[int, Block]]:
    """Each block of the index with its embeddings, found by their fingerprint."""
    given: dict[str, list[Block]] = {}
    for folder in sorted(folders):
        block = open_block(folder, about.modality)
        given.setdefault(block.fingerprint, []).append(block)
    matched = []
    for entry in about.blocks:
        same = given.get(entry.embeddings, [])
        if not same and entry.vectors:
            raise InputError(
                f"block {entry.block} of the index is not among the embeddings given, or has "
                "changed since it was added"
            )
        if same and entry.vectors:
            matched.append((entry.block, same.pop()))
    left = [block for same in given.values() for block in same if block.rows]
    if left:
        raise InputError(f"{left[0].folder}: not in this index; run `index add` and `index merge`")
    return matched


def _queries(
    blocks: Sequence[tuple[int, Block]], about: About, count: int, seed: int
) -> dict[str, Queries]:
    rows = sample_rows(about.count, count, (seed, 1))
    # Positions over all blocks become ids; billions of ids at once would not fit in memory.
    starts = np.cumsum([0, *(block.rows for _, block in blocks)])
    which = np.searchsorted(starts, rows, side="right") - 1
    firsts = np.array([vector_id(number, 0) for number, _ in blocks], np.int64)
    ids = firsts[which] + rows - starts[which]
    nothing = np.full(len(rows), -1, np.int64)
    queries: dict[str, Queries] = {}
    kinds: tuple[Modality, ...] = ("image", "text")
    for kind in kinds:
        if not all(block.shards_of(kind) for _, block in blocks):
            continue
        shards = [p for _, b in blocks for p in zip(b.shards_of(kind), b.lengths, strict=True)]
        vectors = gather(shards, rows, about.dimension).astype(np.float32)
        queries[kind] = Queries(vectors, ids if kind == about.modality else nothing)
    return queries


def _truth(
    blocks: Sequence[tuple[int, Block]], queries: dict[str, Queries]
) -> dict[str, recall.Neighbours]:
    """Exact neighbours of all kinds of queries, from one reading of the embeddings."""
    samples = list(queries.values())
    whole = recall.exact(
        np.concatenate([sample.vectors for sample in samples]),
        np.concatenate([sample.own for sample in samples]),
        _scan(blocks),
    )
    truth, first = {}, 0
    for kind, sample in queries.items():
        part = slice(first, first + len(sample.vectors))
        truth[kind] = recall.Neighbours(whole.ids[part], whole.cosines[part])
        first = part.stop
    return truth


def _scan(blocks: Sequence[tuple[int, Block]]) -> Iterator[tuple[Ids, Vectors]]:
    with progress("exact search", sum(block.rows for _, block in blocks), "vectors") as shown:
        for number, block in blocks:
            for first, vectors in block.chunks(SCAN_ROWS):
                ids = vector_id(number, first) + np.arange(len(vectors), dtype=np.int64)
                yield ids, vectors
                shown.advance(len(vectors))


def _search(index: Any, queries: Queries, nprobe: int) -> Ids:
    _, found = index.search(
        queries.vectors, max(DEPTHS) + 1, params=search_parameters(index, nprobe)
    )
    return recall.without_own(found, queries.own, max(DEPTHS))


def search_parameters(index: Any, nprobe: int) -> Any:
    """Parameters of one search; the index does not change."""
    import faiss

    parameters = faiss.SearchParametersIVF(nprobe=nprobe)
    if isinstance(index, faiss.IndexPreTransform):
        return faiss.SearchParametersPreTransform(index_params=parameters)
    return parameters


def _time(index: Any, queries: Queries, nprobe: int) -> dict[str, float]:
    """Milliseconds of single queries, ten results each: median and 99th percentile."""
    parameters = search_parameters(index, nprobe)
    took = []
    for vector in queries.vectors[:TIMED]:
        start = time.perf_counter()
        index.search(vector[None], 10, params=parameters)
        took.append((time.perf_counter() - start) * 1000)
    if not took:
        return {}
    p50, p99 = np.percentile(took, [50, 99])
    return {"p50_ms": round(float(p50), 3), "p99_ms": round(float(p99), 3)}


def _write(path: Path, data: dict[str, Any]) -> None:
    write_bytes(path, (json.dumps(data, indent=1) + "\n").encode())
