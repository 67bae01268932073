"""search beside `clip-retrieval back`: one index of 1 M vectors, one machine, one run.

  python benchmarks/search.py build FOLDER [--vectors 1000000] [--width 256] [--key KEY]
  python benchmarks/search.py serve FOLDER [--peer PYTHON] [--workers 2] [--seconds 8]
  python benchmarks/search.py filter FOLDER
  python benchmarks/search.py refine FOLDER [--code KEY]
  python benchmarks/search.py metadata FOLDER [--rows 1000000 10000000] [--peer PYTHON]

build     synthetic clusters, indexed by `laion-hpc index`; once, a minute or two
serve     p50, p99 and queries a second at 1, 8 and 32 clients of /knn-service with 40 results and
          their metadata, both sides on the same index file and nprobe, in turns; then the first
          page of /api/search (48 results, safe mode)
filter    a filter that keeps 1%: results, recall against exact search of the vectors that pass
refine    the same vectors under codes of a sixteenth of their size: recall and latency with and
          without ranking by the embeddings (`laion-hpc search --embeddings`)
metadata  2,000 rows at random places of a large table, as JSON; the process's own memory after
          opening the table and after 10,000 single rows, for tables of several sizes

PYTHON: an interpreter that has clip-retrieval (`pip install -r
tests/conformance/clip_retrieval/requirements.txt` in an environment of its own). Everything runs
on loopback; the clients are one process, so they take their share of the same cores on all sides.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pyarrow as pa
from search_index import NPROBE, SHARD, TRAIN, build, make_index, vectors

from laion_hpc.files.index_folder import BATCH_ROWS, About, BlockAbout, metadata_name

HERE = Path(__file__).resolve().parent
PEER = HERE.parent / "tests" / "conformance" / "clip_retrieval" / "peer.py"
QUERIES = 512
STARTED: dict[int, int] = {}
FLAGS = {"OMP_NUM_THREADS": "2", "HF_HUB_OFFLINE": "1"}


def start_service(stack: ExitStack, command: list[str], port: int, cwd: Path) -> None:
    log = stack.enter_context((cwd / f"{port}.log").open("w"))
    process = subprocess.Popen(command, stdout=log, stderr=log, cwd=cwd, env=os.environ | FLAGS)
    STARTED[port] = process.pid
    stack.callback(lambda: (process.terminate(), process.wait(30)))
    for _ in range(1_200):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/indices-list", timeout=5):
                return
        except OSError:
            if process.poll() is not None:
                raise SystemExit(f"{command} ended; see {cwd}/{port}.log") from None
            time.sleep(0.1)
    raise SystemExit(f"{command} does not answer")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def peer_folder(folder: Path, peer: str) -> Path:
    """Our index as theirs: the same lists, the same nprobe, our metadata as an Arrow file."""
    theirs = folder / "theirs"
    shutil.rmtree(theirs, ignore_errors=True)
    (theirs / "metadata").mkdir(parents=True)
    (theirs / "metadata" / "0000.arrow").symlink_to(folder / "index" / metadata_name(0))
    (theirs / "image.ivfdata").symlink_to(folder / "index" / "image.ivfdata")
    code = (
        "import faiss, sys; i = faiss.read_index(sys.argv[1], faiss.IO_FLAG_ONDISK_SAME_DIR);"
        "faiss.extract_index_ivf(i).nprobe = int(sys.argv[3]);"
        "lists = faiss.downcast_InvertedLists(faiss.extract_index_ivf(i).invlists);"
        "lists.filename = 'image.ivfdata';"
        "faiss.write_index(i, sys.argv[2])"
    )  # fmt: skip
    ours, copy = folder / "index" / "image.index", theirs / "image.index"
    subprocess.run([peer, "-c", code, ours, copy, str(NPROBE)], check=True, capture_output=True)
    return theirs


async def load(
    port: int, path: str, bodies: list[bytes], clients: int, seconds: float
) -> list[float]:
    """Latencies of all answers; every client asks again as soon as it is answered."""
    took: list[float] = []
    end = time.perf_counter() + seconds

    async def client(number: int) -> None:
        reader = writer = None
        turn = number * 37
        while time.perf_counter() < end:
            body = bodies[turn % len(bodies)]
            turn += 1
            start = time.perf_counter()
            if writer is None:
                reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**22)
            head = f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
            said = (await reader.readuntil(b"\r\n\r\n")).lower()
            assert said.split(b" ", 2)[1] == b"200", said
            length = int(said.split(b"content-length:")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            took.append(time.perf_counter() - start)
            if b"connection: close" in said or said.startswith(b"http/1.0"):
                writer.close()
                writer = None
        if writer is not None:
            writer.close()

    await asyncio.gather(*(client(number) for number in range(clients)))
    return took


def told(name: str, clients: int, took: list[float], seconds: float, cpu: float) -> float:
    p50, p99 = np.percentile(took, (50, 99)) * 1_000
    rate, each = len(took) / seconds, cpu / len(took) * 1_000
    print(f"| {name} | {clients} | {p50:.1f} | {p99:.1f} | {rate:.1f} | {each:.2f} |", flush=True)
    return rate


def cpu_seconds(port: int) -> float:
    """CPU time so far of the service on a port: of all its processes and threads."""
    import psutil

    process = psutil.Process(STARTED[port])
    times = [it.cpu_times() for it in (process, *process.children(recursive=True))]
    return float(sum(it.user + it.system for it in times))


def measured(
    name: str, port: int, path: str, bodies: list[bytes], clients: int, seconds: float
) -> float:
    asyncio.run(load(port, path, bodies, clients, min(2.0, seconds)))
    before = cpu_seconds(port)
    took = asyncio.run(load(port, path, bodies, clients, seconds))
    return told(name, clients, took, seconds, cpu_seconds(port) - before)


def serve(folder: Path, peer: str | None, workers: int, seconds: float) -> None:
    queries = vectors(
        QUERIES, json.loads((folder / "index/index.json").read_text())["dimension"], 10**6
    )
    knn, pages = [], []
    for query in np.round(queries, 6).tolist():
        asked = {"embedding_input": query, "modality": "image", "num_images": 40}
        knn.append(asked | {"num_result_ids": 40, "deduplicate": False, "use_safety_model": False})
        pages.append(json.dumps({"embedding": query, "num": 48}).encode())
    with ExitStack() as stack:
        sides: dict[str, tuple[int, list[bytes]]] = {}
        for count in sorted({1, workers}):
            port = free_port()
            command = [sys.executable, "-m", "laion_hpc", "search", str(folder / "index")]
            command += ["--port", str(port), "--config", str(folder / "config.json")]
            start_service(stack, [*command, "--workers", str(count)], port, folder)
            asked = [json.dumps(query | {"indice_name": ""}).encode() for query in knn]
            sides[f"ours, workers: {count}"] = (port, asked)
        if peer:
            theirs, port = peer_folder(folder, peer), free_port()
            start_service(stack, [peer, str(PEER), str(theirs), str(port)], port, theirs)
            asked = [json.dumps(query | {"indice_name": "demo"}).encode() for query in knn]
            sides["clip-retrieval back"] = (port, asked)
        same(sides)
        print("| service | clients | p50 ms | p99 ms | queries/s | CPU ms each |")
        print("|---|---|---|---|---|---|")
        for clients in (1, 8, 32):
            rates = {}
            for name, (port, bodies) in sides.items():
                rates[name] = measured(name, port, "/knn-service", bodies, clients, seconds)
            if peer:
                best = max(rate for name, rate in rates.items() if name.startswith("ours"))
                ratio = best / rates["clip-retrieval back"]
                print(f"| ratio of queries/s | {clients} | | | {ratio:.1f}× | |", flush=True)
        name = f"ours, workers: {workers}"
        for clients in (1, 8):
            said = f"first page, {name}"
            measured(said, sides[name][0], "/api/search", pages, clients, seconds)


def same(sides: dict[str, tuple[int, list[bytes]]]) -> None:
    """All sides give the same ids to the first queries, but for ties."""
    for number in range(5):
        found = []
        for port, bodies in sides.values():
            with urllib.request.urlopen(
                f"http://127.0.0.1:{port}/knn-service", bodies[number]
            ) as it:
                found.append({row["id"] for row in json.load(it)})
        assert all(len(found[0] & other) >= 39 for other in found), found


def filtered(folder: Path) -> None:
    from laion_hpc.stages.search.knn.collection import Collection
    from laion_hpc.stages.search.knn.filters import Filter

    block = folder / "embed" / "0000"
    stored = np.concatenate([np.load(path) for path in sorted(block.glob("img_emb/*.npy"))])
    queries = vectors(200, stored.shape[1], 10**6)
    print("| filter | vectors | k | results | recall of exact filtered search | p50 ms |")
    print("|---|---|---|---|---|---|")
    for name, embeddings in (("codes alone", ()), ("with embeddings", (block,))):
        collection = Collection(folder / "index", "bench", embeddings)
        start = time.perf_counter()
        selection = collection.selection(Filter(language=("ga",)), safe=False, unsafe_threshold=0.5)
        making = time.perf_counter() - start
        ids = selection.ids()
        passing = stored[ids].astype(np.float32)
        for k in (10, 100):
            shares, fewest, took = [], k, []
            for query in queries:
                start = time.perf_counter()
                hits = collection.nearest(query, k, selection=selection)
                took.append(time.perf_counter() - start)
                exact = ids[np.argsort(-(passing @ query))[:k]]
                shares.append(len(set(exact.tolist()) & set(hits.ids.tolist())) / k)
                fewest = min(fewest, len(hits.ids))
            print(
                f"| keeps {len(ids) / len(stored):.1%}, {name} | {len(stored):,} | {k} "
                f"| {fewest} | {np.mean(shares):.3f} | {np.median(took) * 1_000:.1f} |"
            )
    print(f"making the selection, once: {making * 1_000:.0f} ms")


def refined(folder: Path, key: str) -> None:
    """The same embeddings under a key of short codes, searched with and without them."""
    from laion_hpc.stages.search.knn.collection import REFINE_FACTOR, Collection

    block, index = folder / "embed" / "0000", folder / "coded"
    config = folder / "coded.json"
    config.write_text(json.dumps({"index": {"key": key, "train_vectors": TRAIN}}))
    make_index(block, index, config)
    (index / "metadata").mkdir(exist_ok=True)
    shutil.copy(folder / "index" / metadata_name(0), index / metadata_name(0))
    stored = np.concatenate([np.load(path) for path in sorted(block.glob("img_emb/*.npy"))])
    queries = vectors(200, stored.shape[1], 10**6)
    truth = exact(stored, queries, 10)
    print(f"{key}, {len(stored):,} vectors, {REFINE_FACTOR} candidates for each result")
    print("| ranked by | nprobe | recall@1 | recall@10 | p50 ms | p99 ms |")
    print("|---|---|---|---|---|---|")
    sides = {
        "codes": Collection(index, "bench"),
        "embeddings": Collection(index, "bench", (block,)),
    }
    for nprobe in (NPROBE, 4 * NPROBE):
        for name, collection in sides.items():
            shares, took = {1: [], 10: []}, []
            for query, best in zip(queries, truth, strict=True):
                start = time.perf_counter()
                found = collection.nearest(query, 10, nprobe=nprobe).ids.tolist()
                took.append((time.perf_counter() - start) * 1_000)
                for depth, values in shares.items():
                    values.append(len({*found[:depth]} & {*best[:depth].tolist()}) / depth)
            p50, p99 = np.percentile(took, (50, 99))
            print(
                f"| {name} | {nprobe} | {np.mean(shares[1]):.3f} | {np.mean(shares[10]):.3f} "
                f"| {p50:.1f} | {p99:.1f} |"
            )


def exact(stored: np.ndarray, queries: np.ndarray, depth: int) -> np.ndarray:
    """Positions of the nearest vectors, best first, (queries, depth), by a full scan."""
    import faiss

    heap = faiss.ResultHeap(len(queries), depth, keep_max=True)
    for start in range(0, len(stored), SHARD):
        chunk = stored[start : start + SHARD].astype(np.float32)
        cosines, found = faiss.knn(queries, chunk, depth, metric=faiss.METRIC_INNER_PRODUCT)
        heap.add_result(D=cosines, I=found + start)
    heap.finalize()
    return np.asarray(heap.I)


def own_memory() -> int:
    """Bytes of this process that are not of a mapped file: those the system can drop any time."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) * 1_024


def write_table(source: Path, path: Path, rows: int) -> None:
    """The batches of a table again and again, until it has so many rows."""
    reader = pa.ipc.open_file(pa.memory_map(str(source)))
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = reader.num_record_batches - 1
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, reader.schema) as writer:
        for number, first in enumerate(range(0, rows, BATCH_ROWS)):
            batch = reader.get_batch(number % whole)
            writer.write_batch(batch.slice(0, min(BATCH_ROWS, rows - first)))


def look_up(folder: Path, rows: int) -> tuple[float, float, int, int]:
    """Median and slowest ms of 2,000 rows as JSON, in a process of its own; bytes of its own
    memory by which opening the table makes it grow, and by which 10,000 rows do then."""
    import msgspec

    from laion_hpc.stages.search.knn.table import Table

    about = About("", 1, rows, "inner_product", {}, "", (BlockAbout(0, rows, ""),))
    before = own_memory()
    table = Table(folder, about)
    opened = own_memory()
    rng = np.random.default_rng(0)
    for number in rng.integers(0, rows, 10_000).tolist():
        msgspec.json.encode(table.rows([number]))
    used = own_memory()
    took = []
    for _ in range(30):
        ids = rng.integers(0, rows, 2_000).tolist()
        start = time.perf_counter()
        msgspec.json.encode(table.rows(ids))
        took.append((time.perf_counter() - start) * 1_000)
    return float(np.median(took)), max(took), opened - before, used - opened


def metadata(folder: Path, sizes: list[int], peer: str | None) -> None:
    large = folder / "large"
    path = large / metadata_name(0)
    print(
        "| | rows | bytes a row on disk | 2,000 rows, p50 ms | slowest ms "
        "| own memory, open | after 10,000 rows |"
    )
    print("|---|---|---|---|---|---|---|")
    for rows in sizes:
        write_table(folder / "index" / metadata_name(0), path, rows)
        with ProcessPoolExecutor(1, get_context("spawn")) as alone:
            p50, worst, opened, grown = alone.submit(look_up, large, rows).result()
        print(
            f"| ours | {rows:,} | {path.stat().st_size / rows:.0f} | {p50:.1f} | {worst:.1f} "
            f"| {opened / 1e6:.1f} MB, {opened / rows:.3f} bytes a row "
            f"| + {grown / 1e6:.1f} MB, {grown / rows:.3f} bytes a row |"
        )
        if peer:
            code = (
                "import sys, types, json, time, random; sys.path.insert(0, sys.argv[2]);"
                "import peer; from clip_retrieval.clip_back import ArrowMetadataProvider as P;"
                "p = P(sys.argv[1]);t = []\nfor i in range(5):\n a = time.perf_counter()\n"
                f" p.get([random.randrange({rows}) for _ in range(2000)], None)\n"
                " t.append((time.perf_counter() - a) * 1000)\nprint(sorted(t)[2], max(t))"
            )
            run = [peer, "-c", code, str(large / "metadata"), str(PEER.parent)]
            done = subprocess.run(run, check=True, capture_output=True, text=True)
            p50, worst = map(float, done.stdout.split()[-2:])
            print(f"| clip-retrieval's Arrow provider | {rows:,} | | {p50:.1f} | {worst:.1f} | | |")
    shutil.rmtree(large)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", choices=("build", "serve", "filter", "refine", "metadata"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--vectors", type=int, default=1_000_000)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--key", default="IVF4096_HNSW32,SQfp16")
    parser.add_argument("--peer", metavar="PYTHON")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--code", metavar="KEY", default="OPQ32_128,IVF4096_HNSW32,PQ32x8")
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 10_000_000])
    options = parser.parse_args()
    folder = options.folder.resolve()
    if options.action == "build":
        build(folder, options.vectors, options.width, options.key)
    elif options.action == "serve":
        serve(folder, options.peer, options.workers, options.seconds)
    elif options.action == "filter":
        filtered(folder)
    elif options.action == "refine":
        refined(folder, options.code)
    else:
        metadata(folder, options.rows, options.peer)


if __name__ == "__main__":
    main()
