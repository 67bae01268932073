"""Trains the demo's two heads on its own pictures, as `laion-hpc heads train` does.

Usage: python -m scripts.train_demo.heads --models laion_hpc/demo/models

The embeddings and labels stay in a folder (build/heads), to train other heads on:
laion-hpc heads train build/heads/embeddings.npy build/heads/labels.parquet \\
    --label punsafe --split split --space laion-hpc-demo-multilingual --output build/heads/mine
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from laion_hpc.heads import job, measure
from laion_hpc.heads.examples import HELD_OUT, TRAIN, Columns
from laion_hpc.heads.train import Settings
from scripts.train_demo import data
from scripts.train_demo.files import Encoder, refresh_readme
from scripts.train_demo.towers import normalise

EXAMPLES = Path("build/heads")
MODEL = "multilingual"
SPACE = f"laion-hpc-demo-{MODEL}"
"""The name of the model in config/demo.yaml."""

HEADS = {"punsafe": "hazard", "pwatermark": "watermark"}
"""Column of the tags -> the fact of a sample that it tells."""

SEED = 20220341
TRAINED, MEASURED = 9_000, 3_000
LAYERS = (32, 32)  # of LAION's NSFW head for ViT-B/32, the smaller of its two


def balanced(count: int, seed: int, *, held: bool) -> list[data.Sample]:
    """Samples of which half have the watermark, half the sign, and a quarter both.

    `held`: of scenes that are held out from all training, else of the others.
    """
    drawn = data.draw_samples(count, seed, sizes=(256, 320), held=held)
    return [
        replace(sample, watermark=number % 2 == 1, hazard=number // 2 % 2 == 1)
        for number, sample in enumerate(drawn)
    ]


def write_examples(
    encoder: Encoder,
    folder: Path,
    samples: Sequence[data.Sample],
    split: Sequence[str],
    *,
    workers: int = 2,
) -> None:
    """Write embeddings.npy (fp16, as `embed` stores them) and labels.parquet of the pictures.

    `split` says of each whether it is trained on or held out.
    """
    pixels = data.render_all(samples, workers)
    with torch.no_grad():
        parts = [
            encoder.model.encode_image(normalise(chunk.float() / 255), normalize=True)
            for chunk in torch.split(pixels, 512)
        ]
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "embeddings.npy", torch.cat(parts).half().numpy())
    labels = {name: [int(getattr(s, fact)) for s in samples] for name, fact in HEADS.items()}
    pq.write_table(pa.table(labels | {"split": list(split)}), folder / "labels.parquet")


def train_heads(models: Path, folder: Path) -> None:
    """Train both heads for the models' image tower into models/heads; examples into `folder`."""
    samples = balanced(TRAINED, SEED, held=False) + balanced(MEASURED, SEED + 1, held=True)
    split = [TRAIN] * TRAINED + [HELD_OUT] * MEASURED
    write_examples(Encoder(models / MODEL), folder, samples, split)
    for name in HEADS:
        made, _ = job.train(
            folder / "embeddings.npy",
            folder / "labels.parquet",
            models / "heads" / name,
            Columns(label=name, split="split"),
            Settings(layers=LAYERS),
            column=name,
            space=SPACE,
            licence="Apache-2.0",
            source="scripts.train_demo.heads",
        )
        print(f"{name}\n{measure.show(made.report['held_out'])}", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train both heads and tell of them in the README of the models."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.train_demo.heads",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--models", type=Path, required=True, help="folder of the demo's models")
    parser.add_argument("--examples", type=Path, default=EXAMPLES, help=f"{EXAMPLES}")
    options = parser.parse_args(arguments)
    train_heads(options.models, options.examples)
    refresh_readme(options.models)


if __name__ == "__main__":
    main()
