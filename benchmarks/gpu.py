"""embed on one GPU: end to end beside the bare model on tensors that are ready, for B/32 and L/14.

  python benchmarks/gpu.py [--processes 8] [--shards 16] [--samples 2048] [--images TAR] [--compile]
  python benchmarks/gpu.py --device cpu --models ViT-B-32-quickgelu --samples 16 --batch 8 \\
      --shards 2          no GPU: does the script work?

Random weights, real JPEG shards (of a tar of photographs, or made up). End to end: `embed` reads
tars, decodes, embeds images and texts, writes; after a warm-up. Bare: images and texts of the same
shapes, already on the device. MFU: floating-point operations of the model (counted by torch) a
second, over the chip's dense bf16 rate (--peak, in TFLOP/s, where the table does not know it).
LAION's figures: clip-retrieval on one A100.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from clip_inputs import block, captions, jpegs, random_model

LAION = {"ViT-B-32": 1800, "ViT-L-14": 312}
"""Samples a second and A100, as LAION and clip-retrieval give them."""

PEAK = {"A100": 312.0, "H100 PCIe": 756.0, "H100 NVL": 835.0, "H100": 989.0, "H200": 989.0}
"""Dense bf16 TFLOP/s by (part of) the chip's name; NVIDIA's data sheets."""


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


def bare(job: Any, pictures: list[bytes], texts: list[str], size: int) -> Bare:
    """The model alone, images and texts ready on its device."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from laion_hpc.embed.shard import _tower
    from laion_hpc.models.batches import decode

    tower: Any = _tower(job.config)
    images = [image for data in pictures[:size] if (image := decode(data))]
    pixels = np.stack([tower.preprocess(image) for image in images])
    batch = torch.from_numpy(pixels).to(tower.device)
    tokens = tower._texts.trim(tower._tokenize(texts[:size])).to(tower.device)

    def seconds(call: partial[Any]) -> float:
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

    def flop(call: partial[Any]) -> float:
        torch.backends.mha.set_fastpath_enabled(False)  # its fused attention is not counted
        with torch.inference_mode(), FlopCounterMode(display=False) as counter:
            call()
        torch.backends.mha.set_fastpath_enabled(True)
        return float(counter.get_total_flops()) / size

    plain = partial(tower._normalise_and_encode, batch)
    encode_texts = partial(tower._texts.encode, tokens)
    return Bare(
        seconds(partial(tower._encode_image, batch)),
        seconds(encode_texts),
        flop(plain),
        flop(encode_texts),
    )


def measure(name: str, options: argparse.Namespace, work: Path) -> dict[str, float | None]:
    """Samples a second, end to end and bare, of one model."""
    from laion_hpc import config as settings
    from laion_hpc import work as queue
    from laion_hpc.embed.shard import EmbedJob, embed_shard

    random_model(name, work / "model")
    pictures = jpegs(options.images, options.side)
    warm = options.processes
    source = block(
        work / "filtered", pictures, captions(), shards=warm + options.shards,
        samples=options.samples,
    )  # fmt: skip
    keys = {"model": {"name": name, "folder": str(work / "model")}, "device": options.device}
    keys |= {"precision": options.precision, "batch_size": options.batch}
    keys |= {"compile": options.compile, "decode": options.decode}
    config = settings.parse(yaml.safe_load(yaml.safe_dump({"embed": keys})))
    job = EmbedJob(source, work / "embedded", config.embed, "benchmark", "benchmark")
    shards = [f"{number:05d}" for number in range(warm + options.shards)]
    make = partial(embed_shard, job=job)
    with queue.team(options.processes) as team:
        # Every process takes one of these and loads the model with it.
        team.map(make, shards[:warm], label="warm up", unit="shards")
        with Busy() as busy:
            start = time.perf_counter()
            books = team.map(make, shards[warm:], label=name, unit="shards")
            seconds = time.perf_counter() - start
    samples = sum(book.kept for book in books)
    texts = [text for text, _ in zip(captions(), range(options.batch), strict=False)]
    alone = bare(job, [next(pictures) for _ in range(options.batch)], texts, options.batch)
    shutil.rmtree(work)
    flop = alone.image_flop + alone.text_flop
    return {
        "end to end, samples/s": samples / seconds,
        "bare model, samples/s": 1 / (alone.image + alone.text),
        "end to end / bare": samples / seconds * (alone.image + alone.text),
        "GPU busy, %": busy.percent,
        "GFLOP a sample": flop / 1e9,
        "TFLOP/s end to end": samples / seconds * flop / 1e12,
        "TFLOP/s bare, images": alone.image_flop / alone.image / 1e12,
    }


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", default=["ViT-B-32-quickgelu", "ViT-L-14-quickgelu"])
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--shards", type=int, default=16)
    parser.add_argument("--samples", type=int, default=2048, help="of a shard")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--side", type=int, default=384, help="longer side of the JPEGs, pixels")
    parser.add_argument("--images", type=Path, metavar="TAR")
    parser.add_argument("--decode", default="full", choices=["full", "scaled"])
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--peak", type=float, help="the chip's dense bf16 TFLOP/s")
    options = parser.parse_args()
    import torch

    chip, peak = "CPU", options.peak
    if options.device == "cuda":
        if not torch.cuda.is_available():
            sys.exit("torch sees no GPU here; --device cpu tries the script")
        chip = torch.cuda.get_device_name()
        peak = peak or next((rate for name, rate in PEAK.items() if name in chip), None)
    tables = {}
    for name in options.models:
        with tempfile.TemporaryDirectory() as folder:
            tables[name] = measure(name, options, Path(folder) / "work")
    if peak:
        for name, table in tables.items():
            for rate in ("end to end", "bare, images"):
                achieved = table[f"TFLOP/s {rate}"]
                assert achieved is not None
                table[f"MFU {rate}, %"] = 100 * achieved / peak
            claim = next((n for part, n in LAION.items() if name.startswith(part)), None)
            table["LAION on an A100, samples/s"] = claim
            table["that, times the ratio of the chips"] = claim and claim * peak / PEAK["A100"]
    print(f"\n{chip}, {options.processes} processes, batches of {options.batch}, decode: ", end="")
    print(f"{options.decode}, compile: {options.compile}, peak: {peak} TFLOP/s\n")
    print("| | " + " | ".join(tables) + " |\n|---|" + "---:|" * len(tables))
    for row in next(iter(tables.values())):
        values = (table[row] for table in tables.values())
        print(f"| {row} | " + " | ".join("" if v is None else f"{v:,.2f}" for v in values) + " |")


if __name__ == "__main__":
    main()
