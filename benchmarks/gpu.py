"""filter and embed on one GPU: end to end beside the bare model on tensors that are ready.

  python benchmarks/gpu.py [--stages filter embed] [--processes 16] [--threads 1 8] [--compile]
      [--clip-retrieval PYTHON] [--images TAR] [--shards 16] [--samples 2048]
  python benchmarks/gpu.py --device cpu --stages filter --samples 16 --batch 8 --shards 2 \
      --processes 2                                     no GPU: does the script work?

`filter` scores with ViT-B/32, `embed` uses ViT-L/14. Random weights; shards of real JPEGs (of a tar
of photographs, or made up). End to end: the stage reads tars, decodes, embeds images and texts, and
writes; after a warm-up. Bare: images and texts of the same shapes, already on the device. MFU: the
floating-point operations of the model (counted by torch) per second, over the chip's dense bf16
rate (--peak, in TFLOP/s, for a chip that is not in the table). Two more lines say what torch's
deterministic mode costs if it fills every new tensor with NaN, and what torch.compile saves.
--processes N: one process talks to the GPU, N - 1 decode for it. --threads N: N processes that all
talk to it and decode in threads. PYTHON: an interpreter that has clip-retrieval. LAION's
figures: clip-retrieval on an A100.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from clip_inputs import block, captions, jpegs, random_model

MODELS = {"filter": "ViT-B-32-quickgelu", "embed": "ViT-L-14-quickgelu"}

LAION = {"filter": 1800, "embed": 312}
"""Samples a second and A100, as LAION and clip-retrieval give them."""

PEAK = {"A100": 312.0, "H100 PCIe": 756.0, "H100 NVL": 835.0, "H100": 989.0, "H200": 989.0}
"""Dense bf16 TFLOP/s by (part of) the chip's name; NVIDIA's data sheets."""

PEER = """
import atexit, multiprocessing.util, sys, time, torch
# Its logger's process never ends; multiprocessing, which registered first, would wait for it.
atexit.register(lambda: [child.kill() for child in multiprocessing.active_children()])
if not torch.cuda.is_available():  # torchvision from PyPI does not load beside a CPU torch
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        library.define(name + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
from clip_retrieval.clip_inference.worker import worker
model, batch, workers, output, *tars = sys.argv[1:]
def run(tars, name):
    count = min(int(workers), len(tars))  # it fails where it has more workers than tars
    worker(tasks=[0], input_dataset=tars, output_folder=output + name, output_partition_count=1,
           input_format="webdataset", batch_size=int(batch), num_prepro_workers=count,
           enable_metadata=True, clip_model="open_clip:" + model, use_jit=False)
run(tars[:1], "/warm")
start = time.perf_counter()
run(tars[1:], "/timed")
print("seconds", time.perf_counter() - start)
"""
"""The peer keeps its model from the first call, which warms it up, for the second."""


WARM = 2
"""Shards to warm up one process with: all shapes of texts, and those that decode."""


class Busy:
    """Utilisation of the GPU, sampled by nvidia-smi five times a second."""

    def __enter__(self) -> Busy:
        self._process = None
        if shutil.which("nvidia-smi"):
            query = ["--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "-lms", "200"]
            self._process = subprocess.Popen(
                ["nvidia-smi", "--id=0", *query], stdout=subprocess.PIPE, text=True
            )
        return self

    def __exit__(self, *_: object) -> None:
        self.percent = None
        if self._process:
            self._process.terminate()
            samples = [int(line) for line in self._process.communicate()[0].split()]
            self.percent = statistics.mean(samples) if samples else None


@dataclass
class Bare:
    """Seconds and operations of one sample."""

    image: float
    text: float
    image_flop: float
    text_flop: float
    filled: float
    """Of an image, where every new tensor is filled with NaN."""

    @property
    def rate(self) -> float:
        """Samples a second, image and text."""
        return 1 / (self.image + self.text)


@dataclass
class Row:
    """One line of the table."""

    stage: str
    what: str
    samples: float
    """A second."""
    of_bare: float | None = None
    busy: float | None = None
    """Percent of the time."""
    tflops: float | None = None


def bare(tower: Any, pictures: list[bytes], texts: list[str]) -> Bare:
    """The model alone, images and texts ready on its device."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from laion_hpc.models.shard_images import decode

    images = [image for data in pictures if (image := decode(data))]
    pixels = np.stack([tower.preprocess(image) for image in images])
    batch = torch.from_numpy(pixels).to(tower.device)
    tokens = tower._texts.trim(tower._tokenize(texts)).to(tower.device)

    def seconds(call: Callable[[], Any], size: int) -> float:
        def once(times: int) -> float:
            start = time.perf_counter()
            for _ in range(times):
                call()
            if tower.device != "cpu":
                torch.cuda.synchronize()
            return time.perf_counter() - start

        with torch.inference_mode():
            once(3 if tower.device != "cpu" else 1)
            # About three seconds of it.
            times = max(1, min(200, int(3 / max(once(1), 1e-4))))
            return once(times) / times / size

    def flop(call: Callable[[], Any], size: int) -> float:
        torch.backends.mha.set_fastpath_enabled(False)  # its fused attention is not counted
        with torch.inference_mode(), FlopCounterMode(display=False) as counter:
            call()
        torch.backends.mha.set_fastpath_enabled(True)
        return float(counter.get_total_flops()) / size

    encode_images = partial(tower._encode_image, batch)
    encode_texts = partial(tower._texts.encode, tokens)
    torch.utils.deterministic.fill_uninitialized_memory = True
    filled = seconds(encode_images, len(images))
    torch.utils.deterministic.fill_uninitialized_memory = False
    return Bare(
        seconds(encode_images, len(images)),
        seconds(encode_texts, len(texts)),
        flop(partial(tower._normalise_and_encode, batch), len(images)),
        flop(encode_texts, len(texts)),
        filled,
    )


@contextmanager
def decoding_team(processes: int, device: str, *, threads: bool) -> Iterator[Any]:
    """A team for `feeding.map_shards`; what decodes and tokenises for it ends with it.

    `threads`: each of `processes` decodes for itself, in threads; else one talks to the GPU.
    """
    from laion_hpc.models import feeding, tokens

    os.environ[feeding.SWITCH] = "threads" if threads else "processes"
    with feeding.team(processes, device) as team:
        yield team
    feeding.stop()
    tokens.stop()


def end_to_end(
    stage: str, source: Path, config: Any, processes: int, *, threads: bool, warm: int
) -> tuple[float, float | None]:
    """Samples a second of a stage over the shards of `source` after the first `warm` ones.

    `threads`: as in `decoding_team`.
    """
    from laion_hpc.models import feeding
    from laion_hpc.stages.embed.shard import EmbedJob, embed_shard
    from laion_hpc.stages.filter.scores import ScoreJob
    from laion_hpc.stages.filter.thresholds import score_shard

    device = config.filter.device
    output = source.parent / "output"
    make: Callable[[str], Any]
    if stage == "filter":
        job = ScoreJob(source, output, config.filter, "benchmark")
        (output / "scores").mkdir(parents=True)
        make = partial(score_shard, job=job)
    else:
        make = partial(embed_shard, job=EmbedJob(source, output, config.embed, "b", "b"))
    shards = sorted(path.stem for path in source.glob("*.tar"))
    # Every process takes one of these and loads the model with it.
    first = shards[: processes if threads else WARM]
    rest = shards[warm:]
    run = partial(feeding.map_shards, device=device)
    with decoding_team(processes, device, threads=threads) as team:
        run(team, make, first, label="warm up")
        with Busy() as busy:
            start = time.perf_counter()
            books = run(team, make, rest, label=stage)
            seconds = time.perf_counter() - start
    shutil.rmtree(output)
    return sum(book.inputs for book in books) / seconds, busy.percent


def peer(options: argparse.Namespace, model: Path, name: str, tars: list[Path]) -> float:
    """Samples a second of clip-retrieval's inference on these shards after the first."""
    output = model.parent / "peer"
    command = [options.clip_retrieval, "-c", PEER, f"{name}/{model / 'weights.pt'}"]
    command += [str(options.batch), str(options.workers), str(output), *map(str, tars)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        print(f"clip-retrieval failed:\n{done.stderr[-2000:]}", file=sys.stderr)
        return float("nan")
    shutil.rmtree(output)
    seconds = float(done.stdout.splitlines()[-1].split()[1])
    return (len(tars) - 1) * options.samples / seconds


def measure(stage: str, options: argparse.Namespace, work: Path) -> list[Row]:
    """Every line of a stage."""
    from laion_hpc import config as settings
    from laion_hpc.models import load

    name = MODELS[stage]
    random_model(name, work / "model")
    pictures = jpegs(options.images, options.side)
    warm = max([WARM, *options.threads])
    source = block(
        work / "block", pictures, captions(), shards=warm + options.shards,
        samples=options.samples,
    )  # fmt: skip
    model: dict[str, Any] = {"name": name, "folder": str(work / "model")}
    common: dict[str, Any] = {"device": options.device, "precision": options.precision}
    common |= {"batch_size": options.batch, "decode": options.decode}
    keys = {
        "filter": {**common, "english": model, "multilingual": model},
        "embed": {**common, "model": model, "compile": options.compile},
    }
    config = settings.parse(yaml.safe_load(yaml.safe_dump(keys)))
    own = config.filter if stage == "filter" else config.embed
    few = list(islice(pictures, options.batch)), list(islice(captions(), options.batch))
    load_model = partial(load, config.embed.model, device=own.device, precision=own.precision)
    alone = bare(load_model(), *few)
    flop = alone.image_flop + alone.text_flop
    rows = [Row(stage, "bare model", alone.rate, 1.0, None, alone.rate * flop / 1e12)]

    def images_alone(what: str, seconds: float) -> None:
        rate = 1 / seconds
        rows.append(Row(stage, what, rate, None, None, rate * alone.image_flop / 1e12))

    images_alone("bare, images", alone.image)
    images_alone("bare, images, new tensors filled with NaN", alone.filled)
    if options.compile:
        images_alone("bare, images, compiled", bare(load_model(compile=True), *few).image)
    print(*rows, sep="\n", flush=True)
    runs = [(count, False) for count in options.processes]
    runs += [(count, True) for count in options.threads]
    for processes, threads in runs:
        rate, busy = end_to_end(stage, source, config, processes, threads=threads, warm=warm)
        what = f"end to end, 1 + {processes - 1} processes that decode"
        if threads:
            what = f"end to end, processes: {processes}, decoding in threads"
        rows.append(Row(stage, what, rate, rate / alone.rate, busy, rate * flop / 1e12))
        print(rows[-1], flush=True)
    if options.clip_retrieval:
        tars = sorted(source.glob("*.tar"))[: options.peer_shards]
        rate = peer(options, work / "model", name, tars)
        rows.append(Row(stage, "clip-retrieval 2.45", rate, rate / alone.rate))
        print(rows[-1], flush=True)
    shutil.rmtree(work)
    return rows


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--stages", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--processes", type=int, nargs="*", default=[16])
    parser.add_argument("--threads", type=int, nargs="*", default=[], metavar="PROCESSES")
    parser.add_argument("--shards", type=int, default=16)
    parser.add_argument("--samples", type=int, default=2048, help="samples per shard")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--side", type=int, default=341, help="longer side of the JPEGs, pixels")
    parser.add_argument("--images", type=Path, metavar="TAR")
    parser.add_argument("--decode", default="full", choices=["full", "scaled"])
    parser.add_argument("--compile", action="store_true", help="measure the compiled model, too")
    parser.add_argument("--clip-retrieval", metavar="PYTHON")
    parser.add_argument(
        "--workers", type=int, default=4, help="clip-retrieval's processes that decode"
    )
    parser.add_argument(
        "--peer-shards",
        type=int,
        default=9,
        help="shards for clip-retrieval; one of them to warm up",
    )
    parser.add_argument("--peak", type=float, help="the chip's dense bf16 rate, TFLOP/s")
    parser.add_argument("--json", type=Path, metavar="FILE", help="the rows as JSON, too")
    options = parser.parse_args()
    import torch

    chip, peak = "CPU", options.peak
    if options.device == "cuda":
        if not torch.cuda.is_available():
            sys.exit("torch sees no GPU here; --device cpu tries the script")
        chip = torch.cuda.get_device_name()
        peak = peak or next((rate for name, rate in PEAK.items() if name in chip), None)
    rows: list[Row] = []
    for stage in options.stages:
        with tempfile.TemporaryDirectory() as folder:
            rows += measure(stage, options, Path(folder) / "work")
        if options.json:
            options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))
    print(f"\n{chip}, torch {torch.__version__}, batches of {options.batch}, decode: ", end="")
    print(f"{options.decode}, compile: {options.compile}, peak: {peak} TFLOP/s\n")
    report(rows, peak)


def report(rows: list[Row], peak: float | None) -> None:
    """The table, and LAION's rates for the chip of its time and, by peak, for this one."""
    print("| stage | what | samples/s | of bare | GPU busy % | TFLOP/s | MFU % |")
    print("|---|---|---:|---:|---:|---:|---:|")
    for row in rows:
        share = f"{row.of_bare:.0%}" if row.of_bare else ""
        busy = f"{row.busy:.0f}" if row.busy is not None else ""
        tflops = f"{row.tflops:.1f}" if row.tflops else ""
        mfu = f"{100 * row.tflops / peak:.1f}" if row.tflops and peak else ""
        print(f"| {row.stage} | {row.what} | {row.samples:,.0f} | {share} | {busy} | ", end="")
        print(f"{tflops} | {mfu} |")
    for stage in {row.stage: None for row in rows}:
        scaled = f", {LAION[stage] * peak / PEAK['A100']:,.0f} by peak on this chip" if peak else ""
        print(f"LAION, {stage}: {LAION[stage]:,} samples/s on an A100{scaled}")


if __name__ == "__main__":
    main()
