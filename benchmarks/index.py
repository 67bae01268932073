"""Building an index: ours and autofaiss, same vectors, same key, in one run.

    python -m venv /tmp/peer
    /tmp/peer/bin/pip install autofaiss==2.18.0 faiss-cpu==1.13.2 'numpy<2' 'pyarrow<26'
    python benchmarks/index.py --autofaiss /tmp/peer/bin/python
    python benchmarks/index.py --autofaiss /tmp/peer/bin/python --rows 200000 --key IVF256,PQ32x8

The vectors are unit vectors in fp16, in clusters, in ten blocks with the layout of `embed`: once in
random order and once ordered by cluster, like a crawl that is ordered by host. Ours runs as single
commands (train, add for each block, merge), one process each: twelve starts of Python and
faiss, where autofaiss has one. autofaiss tunes and times its index before it writes it. Its row
leaves that out and prints it separately; our row leaves out `laion-hpc index evaluate`. The same
code measures the recall of both indices, against exact search, at equal nprobe.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np

BLOCKS = 10
QUERIES = 2_000
NPROBES = (1, 8, 32)
DEPTH = 10
PEER = """
import json, sys, time
from autofaiss import build_index
from autofaiss.external import optimize
spent = [0.0, 0.0]
def counted(work):
    def wrapper(*arguments, **options):
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            return work(*arguments, **options)
        finally:
            spent[0] += time.perf_counter() - wall
            spent[1] += time.process_time() - cpu
    return wrapper
for name in ("get_optimal_hyperparameters", "compute_fast_metrics"):
    setattr(optimize, name, counted(getattr(optimize, name)))
build_index(
    embeddings=sys.argv[1], index_path=sys.argv[2], index_infos_path=sys.argv[2] + ".json",
    index_key=sys.argv[3], nb_cores=int(sys.argv[4]), max_index_memory_usage="8G",
    current_memory_available="16G", metric_type="ip", save_on_disk=True, verbose=30,
)
print(json.dumps(spent))
"""
OUR_START = (
    "import faiss, laion_hpc.config, laion_hpc.stages.index.train, laion_hpc.stages.index.add"
)


@dataclass(frozen=True)
class Built:
    """An index and what it cost."""

    index: faiss.Index
    wall: float
    cpu: float
    steps: dict[str, tuple[float, float]]
    """Wall and CPU seconds of each step, in all."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--autofaiss", metavar="PYTHON", help="an interpreter that has autofaiss")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--clusters", type=int, default=2_000)
    parser.add_argument("--key", default="OPQ64_256,IVF1024_HNSW32,PQ64x8")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--order", choices=("random", "clusters"), help="only this order")
    options = parser.parse_args()
    print(f"{options.rows:,} x {options.width}, {options.clusters:,} clusters, {options.key}")
    vectors, queries = clusters(options.rows, options.width, options.clusters)
    orders = {
        "random order": np.random.default_rng(1).permutation(options.rows),
        "clusters in order": np.arange(options.rows),
    }
    truth = exact(vectors, queries)
    for name, order in orders.items():
        if options.order and options.order not in name:
            continue
        with tempfile.TemporaryDirectory(prefix="index-") as scratch:
            folder = Path(scratch)
            write_blocks(vectors, order, folder)
            builds = {"laion-hpc": ours(folder, options.key, options.threads)}
            if options.autofaiss:
                builds["autofaiss"] = theirs(folder, options)
            place = np.empty(len(order), np.int64)
            place[order] = np.arange(len(order))
            report(name, builds, queries, place[truth], blocked=len(vectors) // BLOCKS)


def clusters(rows: int, width: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors (rows, width) fp16, ordered by cluster, and queries near them, fp32."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((count, width), np.float32)

    def near(members: np.ndarray) -> np.ndarray:
        found = centres[members] + 0.9 * rng.standard_normal((len(members), width), np.float32)
        return found / np.linalg.norm(found, axis=1, keepdims=True)

    vectors = np.empty((rows, width), np.float16)
    members = np.sort(rng.integers(0, count, rows))
    for start in range(0, rows, 100_000):
        vectors[start : start + 100_000] = near(members[start : start + 100_000])
    return vectors, near(rng.integers(0, count, QUERIES))


def exact(vectors: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Positions of the nearest vectors, (queries, DEPTH), by a full scan."""
    heap = faiss.ResultHeap(len(queries), DEPTH, keep_max=True)
    for start in range(0, len(vectors), 100_000):
        chunk = vectors[start : start + 100_000].astype(np.float32)
        similarities, found = faiss.knn(queries, chunk, DEPTH, metric=faiss.METRIC_INNER_PRODUCT)
        heap.add_result(D=similarities, I=found + start)
    heap.finalize()
    return heap.I


def write_blocks(vectors: np.ndarray, order: np.ndarray, folder: Path) -> None:
    """`embed/0000/img_emb/img_emb_00000.npy` … and the same shards in one folder for the peer."""
    (folder / "all").mkdir()
    for block, rows in enumerate(np.array_split(order, BLOCKS)):
        shards = folder / "embed" / f"{block:04d}" / "img_emb"
        shards.mkdir(parents=True)
        np.save(shards / "img_emb_00000.npy", vectors[rows])
        os.link(shards / "img_emb_00000.npy", folder / "all" / f"img_emb_{block:04d}.npy")


def timed(command: list[str]) -> tuple[float, float, str]:
    """Wall and CPU seconds of a process and its children, and what it wrote."""
    before, began = os.times(), time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stdout[-2_000:] + done.stderr[-2_000:])
    after = os.times()
    cpu = (after.children_user - before.children_user) + (
        after.children_system - before.children_system
    )
    return time.perf_counter() - began, cpu, done.stdout


def added(costs: list[tuple[float, float, str]]) -> tuple[float, float]:
    return sum(wall for wall, _, _ in costs), sum(cpu for _, cpu, _ in costs)


def ours(folder: Path, key: str, threads: int) -> Built:
    config = folder / "config.yaml"
    config.write_text(json.dumps({"index": {"key": key}}))
    program = [sys.executable, "-m", "laion_hpc", "index"]
    options = ["--config", str(config), "--processes", str(threads)]
    blocks = sorted((folder / "embed").iterdir())
    index = folder / "index"
    trained = str(index / "trained.index")
    train = [timed([*program, "train", *map(str, blocks), *options, "--output", trained])]
    lists = [str(index / "blocks" / f"{block.name}.index") for block in blocks]
    add = [
        timed(
            [*program, "add", trained, str(block), "--block", block.name, *options, "--output", out]
        )
        for block, out in zip(blocks, lists, strict=True)
    ]
    merge = [timed([*program, "merge", trained, *lists, *options, "--output", str(index)])]
    opened = faiss.read_index(str(index / "image.index"), faiss.IO_FLAG_ONDISK_SAME_DIR)
    starts = added([timed([sys.executable, "-c", OUR_START])] * (2 + len(blocks)))
    steps = {"train": added(train), "add": added(add), "merge": added(merge)}
    steps[f"in these, {2 + len(blocks)} starts"] = starts
    return Built(opened, *added([*train, *add, *merge]), steps)


def theirs(folder: Path, options: argparse.Namespace) -> Built:
    output = folder / "peer.index"
    command = [options.autofaiss, "-c", PEER, str(folder / "all"), str(output)]
    # Its command line parses a key with commas as a list; the function does not.
    wall, cpu, said = timed([*command, options.key, str(options.threads)])
    own_wall, own_cpu = json.loads(said.splitlines()[-1])
    steps = {
        "in these, 1 start": added([timed([options.autofaiss, "-c", "import autofaiss"])]),
        "tuning and timing, not in these": (own_wall, own_cpu),
    }
    return Built(faiss.read_index(str(output)), wall - own_wall, cpu - own_cpu, steps)


def report(
    name: str, builds: dict[str, Built], queries: np.ndarray, truth: np.ndarray, blocked: int
) -> None:
    recalls = "  ".join(f"recall@{DEPTH}, nprobe {nprobe}" for nprobe in NPROBES)
    print(f"\n{name:20} {'wall s':>8} {'CPU s':>8}  {recalls}")
    for builder, built in builds.items():
        columns = []
        for nprobe in NPROBES:
            parameters = faiss.SearchParametersIVF(nprobe=nprobe)
            if isinstance(built.index, faiss.IndexPreTransform):
                parameters = faiss.SearchParametersPreTransform(index_params=parameters)
            _, found = built.index.search(queries, DEPTH, params=parameters)
            if builder == "laion-hpc":
                found = np.where(found < 0, -1, (found >> 32) * blocked + (found & 0xFFFFFFFF))
            hits = [len(set(a) & set(b)) for a, b in zip(found, truth, strict=True)]
            columns.append(f"{sum(hits) / truth.size:>20.4f}")
        print(f"{builder:20} {built.wall:8.1f} {built.cpu:8.1f}  {'  '.join(columns)}")
        for step, (wall, cpu) in built.steps.items():
            print(f"  {step}: {wall:.1f} s, {cpu:.1f} s CPU")
    if len(builds) == 2:
        mine, peer = builds["laion-hpc"], builds["autofaiss"]
        print(
            f"autofaiss / laion-hpc: wall {peer.wall / mine.wall:.2f}, "
            f"CPU {peer.cpu / mine.cpu:.2f}"
        )


if __name__ == "__main__":
    main()
