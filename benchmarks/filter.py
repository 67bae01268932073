"""filter beside clip-retrieval's inference and the bare model, on one core, in one run.

  python benchmarks/filter.py [--samples 96] [--rounds 2] [--images TAR] [--clip-retrieval PYTHON]

ViT-B/32 with random weights, the same for all; JPEG shards of 384 pixels (of a tar of photographs,
or made up) with alt texts of 3 to 20 words. PYTHON: an interpreter that has clip-retrieval
(`pip install torch==2.13.0 torchvision==0.28.0 clip-retrieval==2.45.0` in an environment of its
own); without it that row is left out. Times are CPU seconds. `filter` and clip-retrieval run on a
few samples and on `--samples` more. The difference is the cost of these samples, without loading
and warming up. The model of `filter` and a plain open_clip model (texts padded to 77) take turns
with them, on ready tensors.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from clip_inputs import block, captions, jpegs, random_model

NAME = "ViT-B-32-quickgelu"
FEW = 16
ROUNDS = 2
OURS = ("laion-hpc filter", "its model alone", "plain open_clip model alone")

PEER = """
import sys, torch
# torchvision from PyPI is a CUDA build: beside a CPU build of torch its operators are declared
library = torch.library.Library("torchvision", "FRAGMENT")
for name in ("nms", "qnms"):
    library.define(name + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
torch.set_num_threads(1)
from clip_retrieval.clip_inference.worker import worker
model, batch, shards, output = sys.argv[1:]
worker(tasks=[0], input_dataset=shards.split(), output_folder=output, output_partition_count=1,
       input_format="webdataset", batch_size=int(batch), num_prepro_workers=1, enable_metadata=True,
       clip_model="open_clip:" + model, use_jit=False)
"""


def on_one_core() -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def cpu_seconds(command: list[str]) -> float:
    """User and system time of a command and its children, on one core."""
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env=os.environ | one_thread | {"CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"},
        preexec_fn=on_one_core,
    )
    if done.returncode:
        sys.exit(f"{command[:4]} failed:\n{done.stderr[-2000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime - before.ru_utime) + (after.ru_stime - before.ru_stime)


def ours(config_file: Path, few: Path, many: Path, size: int) -> None:
    """CPU seconds a sample of `filter`, warmed up, and of its model and a plain one, in turns."""
    import time

    import numpy as np
    import pyarrow.parquet as pq
    import torch

    from laion_hpc import config as settings
    from laion_hpc.models.shard_images import decode, images_of
    from laion_hpc.runtime import work
    from laion_hpc.stages.filter.block import filter_block
    from laion_hpc.stages.filter.scores import _towers

    config = settings.load(config_file)

    def cost(call: Callable[[], object], samples: int) -> float:
        start = time.process_time()
        call()
        return (time.process_time() - start) / samples

    def whole(source: Path, number: int) -> None:
        with work.team(1) as team:
            filter_block(source, config_file.parent / f"out-{source.name}-{number}", config, team)

    whole(few, 0)
    tower: Any = _towers(config.filter).english
    import open_clip  # after the tower, which lets torchvision be imported beside a CPU build

    folder = config.filter.english.folder
    plain = open_clip.create_model(f"local-dir:{folder}", precision=config.filter.precision).eval()
    table = pq.read_table(many / "00000.parquet", columns=["key", "caption"])
    data = list(images_of(many / "00000.tar", table["key"].to_pylist()))[:size]
    images = [image for one in data if (image := decode(one))]
    pixels = torch.from_numpy(np.stack([tower.preprocess(image) for image in images]))
    ready = pixels.float().div(255).sub(tower._mean).div(tower._std).to(tower._dtype)
    every = sorted(table["caption"].to_pylist(), key=len)
    batches = [tower._tokenize(every[at : at + size]) for at in range(0, len(every), size)]
    trimmed = [tower._texts.trim(tokens) for tokens in batches]

    def alone(image: Any, text: Any, tokens: Any) -> float:
        with torch.inference_mode():
            texts = cost(lambda: [text(batch) for batch in tokens], len(every))
            return texts + cost(lambda: [image(ready) for _ in range(3)], 3 * len(images))

    found: dict[str, list[float]] = {"filter": [], "model": [], "plain": []}
    for number in range(1, ROUNDS + 1):
        # The model's files are hashed once a block: that is no cost of a sample.
        block_itself = cost(lambda number=number: whole(few, number), 1)  # type: ignore[misc]
        both = cost(lambda number=number: whole(many, number), 1)  # type: ignore[misc]
        found["filter"].append((both - block_itself) / (len(every) - FEW))
        found["model"].append(alone(tower._model.encode_image, tower._texts.encode, trimmed))
        found["plain"].append(alone(plain.encode_image, plain.encode_text, batches))
    print(json.dumps({name: min(values) for name, values in found.items()}))


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samples", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--side", type=int, default=384)
    parser.add_argument("--images", type=Path, metavar="TAR")
    parser.add_argument("--clip-retrieval", metavar="PYTHON")
    parser.add_argument("--ours", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ours:
        ours(*map(Path, options.ours), options.batch)
        return

    from laion_hpc.models.runtime import computes_bf16

    precisions = ["fp32", "bf16"] if computes_bf16() else ["fp32"]
    costs: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        random_model(NAME, work / "model")
        pictures = jpegs(options.images, options.side)
        blocks = [
            block(work / f"block-{n}", pictures, captions(), shards=1, samples=n)
            for n in (FEW, FEW + options.samples)
        ]
        for precision in precisions:
            model = {"name": NAME, "folder": str(work / "model")}
            keys = {"english": model, "multilingual": model, "batch_size": options.batch}
            keys |= {"precision": precision, "device": "cpu"}
            keys |= {"thresholds": dict.fromkeys(("en", "multi", "nolang"), 0.0)}
            for number in range(options.rounds):
                (work / str(number)).mkdir(exist_ok=True)
                path = work / str(number) / f"{precision}.yaml"
                path.write_text(yaml.safe_dump({"filter": keys}))

        for number in range(options.rounds):
            for precision in precisions:
                itself = [sys.executable, __file__, "--batch", str(options.batch), "--ours"]
                itself += [f"{work}/{number}/{precision}.yaml", *map(str, blocks)]
                done = subprocess.run(
                    itself, check=True, capture_output=True, text=True, preexec_fn=on_one_core
                )
                parts = json.loads(done.stdout.splitlines()[-1])
                for what, seconds in zip(OURS, parts.values(), strict=True):
                    costs.setdefault(f"{what}, {precision}", []).append(seconds)
            if options.clip_retrieval:
                peer = [options.clip_retrieval, "-c", PEER, f"{NAME}/{work}/model/weights.pt"]
                few, many = (
                    cpu_seconds(
                        [*peer, str(options.batch), f"{source}/00000.tar", f"{source}-{number}"]
                    )
                    for source in blocks
                )
                costs.setdefault("clip-retrieval inference (fp32)", []).append(
                    (many - few) / options.samples
                )
    report(costs)


def report(costs: dict[str, list[float]]) -> None:
    """The table: milliseconds a sample, and how often that goes into the others."""
    medians = {name: statistics.median(values) for name, values in costs.items()}
    peer = medians.get("clip-retrieval inference (fp32)")
    print("| what | CPU ms a sample | samples/s a core | times as fast as clip-retrieval |")
    print("|---|---:|---:|---:|")
    for name, seconds in medians.items():
        ratio = f"{peer / seconds:.2f}" if peer else ""
        print(f"| {name} | {seconds * 1e3:.1f} | {1 / seconds:.1f} | {ratio} |")
    for name, seconds in medians.items():
        if name.startswith("laion-hpc"):
            precision = name.split(", ")[1]
            for model in ("its model alone", "plain open_clip model alone"):
                forward = medians[f"{model}, {precision}"]
                print(f"{name}: {seconds / forward - 1:+.0%} over {model}")


if __name__ == "__main__":
    main()
