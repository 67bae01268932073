"""tag: embeddings a minute on one core, head by head and for the whole command.

  python benchmarks/tag.py [--heads $LAION_HPC_TESTDATA/heads] [--rows 200000] [--rounds 3]

--heads: a folder with LAION's published files (nsfw/*.zip, violence *.npy, aesthetic *.pth);
without it, heads of the same layers with random weights. The embeddings are random unit vectors,
fp16, ViT-L/14's 768 numbers (512 and 1024 for heads that read those). The NSFW zips look three or
five of the numbers up as strings; the values do not change the cost. `whole command` reads the
embeddings and the metadata of a block, hashes URL and text, scores with the L/14 heads, and writes
the table and its ledger. Times are CPU seconds of one thread; the best of the rounds counts.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

for library in ("OPENBLAS", "MKL", "OMP"):
    os.environ[f"{library}_NUM_THREADS"] = "1"

import numpy as np  # noqa: E402
import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from laion_hpc.files.ledger import MANIFEST, Ledger, describe  # noqa: E402
from laion_hpc.files.schemas import EMBEDDED_SAMPLE  # noqa: E402
from laion_hpc.heads.head import Description, Head, load_head, write_head  # noqa: E402
from laion_hpc.heads.import_published import import_head  # noqa: E402

GOAL = 1_000_000
"""Embeddings a minute a core."""

PUBLISHED = {
    "NSFW, L/14": ("nsfw-autokeras", "nsfw/clip_autokeras_binary_nsfw.zip"),
    "NSFW, B/32": ("nsfw-autokeras", "nsfw/clip_autokeras_nsfw_b32.zip"),
    "violence, L/14": ("violence", "nsfw/violence_detection_vit_l_14.npy"),
    "aesthetic v1, L/14": ("aesthetic", "aesthetic/sa_0_4_vit_l_14_linear.pth"),
    "aesthetic v2, L/14": ("aesthetic", "aesthetic/sac+logos+ava1-l14-linearMSE.pth"),
}
LAYERS = {
    "NSFW, L/14": (768, 64, 512, 256, 1),
    "NSFW, B/32": (512, 32, 32, 1),
    "NSFW, H/14": (1024, 1024, 2048, 1024, 256, 128, 1),
    "violence, L/14": (768, 1),
    "aesthetic v1, L/14": (768, 1),
    "aesthetic v2, L/14": (768, 1024, 128, 64, 16, 1),
}


def random_head(name: str) -> tuple[Description, dict[str, NDArray[np.float32]]]:
    """A head of the same layers as LAION's."""
    sizes, rng = LAYERS[name], np.random.default_rng(0)
    tensors = {}
    for layer, (before, after) in enumerate(pairwise(sizes)):
        weight = rng.normal(0, before**-0.5, size=(after, before))
        tensors[f"layers.{layer}.weight"] = weight.astype(np.float32)
        tensors[f"layers.{layer}.bias"] = np.zeros(after, np.float32)
    activation = "none" if "aesthetic" in name else "relu"
    column = name.split(",")[0].lower().replace(" ", "_")
    return Description(
        format=1, name=name, column=column, space="ViT-L-14/openai", width=sizes[0],
        activation=activation, output="none", licence="none", source="random",
    ), tensors  # fmt: skip


def heads_in(files: Path | None, scratch: Path) -> dict[str, Path]:
    """Folders of all heads that there are."""
    found = {}
    for name in LAYERS:
        folder = scratch / name.replace("/", "").replace(", ", "-").replace(" ", "-")
        if files is not None and name in PUBLISHED:
            kind, file = PUBLISHED[name]
            import_head(kind, files / file, folder)
        else:
            write_head(*random_head(name), folder)
        found[name] = folder
    return found


def unit_vectors(rows: int, width: int) -> NDArray[np.float16]:
    vectors = np.random.default_rng(0).standard_normal((rows, width), np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float16)


def scoring(head: Head, vectors: NDArray[np.float16], rounds: int) -> float:
    """CPU seconds to score all vectors, in parts of a shard's size."""
    best = float("inf")
    for _ in range(rounds):
        start = time.process_time()
        for at in range(0, len(vectors), 10_000):
            head.scores(vectors[at : at + 10_000])
        best = min(best, time.process_time() - start)
    return best


def block(folder: Path, vectors: NDArray[np.float16]) -> None:
    """A block as `embed` leaves it, of shards of 10,000."""
    files = []
    for name in ("img_emb", "metadata"):
        (folder / name).mkdir(parents=True)
    for shard, at in enumerate(range(0, len(vectors), 10_000)):
        part = vectors[at : at + 10_000]
        keys = [f"BENCH-0000-{shard:05d}-{row:05d}" for row in range(len(part))]
        columns = []
        for field in EMBEDDED_SAMPLE:
            if field.name in ("image_path", "key"):
                column = pa.array(keys)
            elif field.name == "url":
                column = pa.array([f"https://host.example/pictures/{key}.jpg" for key in keys])
            elif field.name == "caption":
                column = pa.array([f"A picture of something, number {key}" for key in keys])
            elif pa.types.is_string(field.type):
                column = pa.array([""] * len(part))
            else:
                column = pa.array(np.zeros(len(part), np.int64)).cast(field.type)
            columns.append(column.cast(field.type))
        array, table = folder / f"img_emb/img_emb_{shard:05d}.npy", folder / "metadata"
        np.save(array, part)
        table /= f"metadata_{shard:05d}.parquet"
        pq.write_table(pa.table(columns, schema=EMBEDDED_SAMPLE), table, compression="zstd")
        files += [describe(path, rows=len(part), root=folder) for path in (array, table)]
    ledger = Ledger("embed", "samples", len(vectors), len(vectors), files=tuple(files))
    ledger.write(folder / MANIFEST)


def whole(scratch: Path, heads: list[Path], rounds: int) -> tuple[float, float]:
    """CPU seconds of `laion-hpc tag` on a block, and of the same command on an empty one."""
    import resource

    config = scratch / "config.yaml"
    config.write_text("tag:\n  heads:\n" + "".join(f'    - "{head}"\n' for head in heads))
    times = []
    for name in ("block", "empty"):
        best = float("inf")
        for round_ in range(rounds):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            output = str(scratch / f"{name}-{round_}.parquet")
            command = [sys.executable, "-m", "laion_hpc", "tag", str(scratch / name)]
            command += ["--output", output, "--config", str(config)]
            subprocess.run(command, check=True, capture_output=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            spent = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
            best = min(best, spent)
        times.append(best)
    return times[0], times[1]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--heads", type=Path, metavar="FOLDER")
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    weights = "LAION's weights" if options.heads else "random weights"
    print(f"{options.rows:,} embeddings, one thread, {weights} (H/14: random)")
    print(f"{'head':<22}{'width':>6}{'per minute':>14}{'× goal':>9}")

    def tell(name: str, width: int, rows: int, seconds: float) -> None:
        rate = rows / seconds * 60
        print(f"{name:<22}{width:>6}{rate:>14,.0f}{rate / GOAL:>9.1f}", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        heads = heads_in(options.heads, scratch / "heads")
        for name, path in heads.items():
            head = load_head(str(path))
            # The large one takes its time.
            rows = options.rows // 10 if name == "NSFW, H/14" else options.rows
            vectors = unit_vectors(rows, head.description.width)
            tell(name, head.description.width, rows, scoring(head, vectors, options.rounds))
        used = ["NSFW, L/14", "violence, L/14", "aesthetic v2, L/14"]
        block(scratch / "block", unit_vectors(options.rows, 768))
        block(scratch / "empty", unit_vectors(0, 768))
        seconds, start = whole(scratch, [heads[name] for name in used], 1)
        tell("whole command, 3 heads", 768, options.rows, seconds)
        print(f"  {seconds:.1f} s of CPU, {start:.1f} of them to start and stop")


if __name__ == "__main__":
    main()
