"""What the precision changes: fp32 on the CPU beside fp32, fp16 and bf16 on a GPU, on real shards.

  python benchmarks/precision.py SHARD.tar [SHARD.tar ...] [--config config/demo.yaml]
      [--photographs TAR] [--device cuda] [--json FILE]

Each shard is one that `download` made (SHARD.parquet lies beside it). The demo's models score it as
`filter` does. The table gives the change of the cosine from fp32 on the CPU, and the samples that
a threshold keeps on one device and drops on the other. `--photographs` adds ViT-B/32 and ViT-L/14
with random weights over the pictures of a tar: the angle between an image's two embeddings.

benchmarks/gpu_sums.py tells whether the same precision gives the same bytes again.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from clip_inputs import captions, jpegs, random_model

PHOTOGRAPHS = 512


def scores(shards: list[Path], config: Any, device: str, precision: str) -> tuple[Any, list[str]]:
    """Cosine of every sample with an image, and its language class."""
    from laion_hpc.stages.filter import scores as scoring

    own = config.filter.model_copy(update={"device": device, "precision": precision})
    similarity, classes = [], []
    for shard in shards:
        table, _ = scoring._score(shard, own, ())
        similarity.append(table["similarity"].to_numpy())
        classes += table["language_class"].to_pylist()
    scoring._towers.cache_clear()
    return np.concatenate(similarity), classes


def angles(name: str, photographs: Path, settings: list[tuple[str, str]]) -> list[dict[str, Any]]:
    """How far an image's embedding moves from fp32 on the CPU, of a model with random weights."""
    from laion_hpc.config.sections import ModelConfig
    from laion_hpc.models import load
    from laion_hpc.models.shard_images import decode

    with tempfile.TemporaryDirectory() as folder:
        random_model(name, Path(folder) / "model")
        model = ModelConfig(name=name, folder=f"{folder}/model")
        data = list(islice(jpegs(photographs, 341), PHOTOGRAPHS))
        images = [image for one in data if (image := decode(one))]
        texts = list(islice(captions(), len(images)))
        found = {}
        for device, precision in settings:
            tower = load(model, device=device, precision=precision)
            # The first, on a CPU, is the slow one: a few pictures say it.
            count = 64 if name.startswith("ViT-B") else 16
            found[device, precision] = (
                np.concatenate(
                    [tower.embed_images(images[at : at + 16]) for at in range(0, count, 16)]
                ),
                tower.embed_texts(texts[:count]),
            )
    reference = found.pop(settings[0])
    rows = []
    for (device, precision), vectors in found.items():
        for what, mine, theirs in zip(("images", "texts"), vectors, reference, strict=True):
            cosine = np.einsum("nd,nd->n", mine.astype(np.float64), theirs.astype(np.float64))
            rows.append(
                {
                    "model": name, "device": device, "precision": precision, "of": what,
                    "n": len(cosine), "least cosine": float(cosine.min()),
                    "largest change of a number": float(np.abs(mine - theirs).max()),
                }
            )  # fmt: skip
    return rows


def shift(
    before: Any, after: Any, classes: list[str], thresholds: dict[str, float]
) -> dict[str, Any]:
    """How cosines changed, and what that does to the threshold's decisions."""
    seen = ~np.isnan(before)
    change = np.abs(after[seen] - before[seen])
    bar = np.array([thresholds[name] for name in classes])[seen]
    flips = (before[seen] >= bar) != (after[seen] >= bar)
    return {
        "samples": int(seen.sum()),
        "mean change": float(change.mean()),
        "99.9%": float(np.quantile(change, 0.999)),
        "largest": float(change.max()),
        "decisions that change": int(flips.sum()),
    }


def table(rows: list[dict[str, Any]]) -> None:
    """Rows of equal keys as Markdown."""
    print("\n| " + " | ".join(rows[0]) + " |\n|" + "---|" * len(rows[0]))
    for row in rows:
        cells = (f"{v:.3g}" if isinstance(v, float) and v < 0.5 else f"{v}" for v in row.values())
        print("| " + " | ".join(cells) + " |", flush=True)


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("shards", nargs="+", type=Path)
    parser.add_argument("--config", type=Path, default=Path("config/demo.yaml"))
    parser.add_argument("--photographs", type=Path, metavar="TAR")
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--models", nargs="*", default=["ViT-B-32-quickgelu", "ViT-L-14-quickgelu"])
    parser.add_argument("--json", type=Path, metavar="FILE", help="the tables as JSON, too")
    options = parser.parse_args()
    import torch

    from laion_hpc import config as settings

    others = [("cuda", "fp32"), ("cuda", "fp16"), ("cuda", "bf16")]
    if options.device == "cpu":
        others = [("cpu", "fp32")]
    elif not torch.cuda.is_available():
        sys.exit("torch sees no GPU here; --device cpu tries the script")
    config = settings.load(options.config)
    thresholds = config.filter.thresholds.model_dump()
    before, classes = scores(options.shards, config, "cpu", "fp32")
    cosines = []
    for device, precision in others:
        after, _ = scores(options.shards, config, device, precision)
        cosines.append(
            {"device": device, "precision": precision} | shift(before, after, classes, thresholds)
        )
    chip = torch.cuda.get_device_name() if options.device == "cuda" else "CPU"
    print(f"\n{chip}, torch {torch.__version__}: change from fp32 on the CPU, the demo's models")
    table(cosines)
    moved: list[dict[str, Any]] = []
    for name in options.models if options.photographs else ():
        moved += angles(name, options.photographs, [("cpu", "fp32"), *others])
    if moved:
        table(moved)
    if options.json:
        whole = {"chip": chip, "cosines": cosines, "moved": moved}
        options.json.write_text(json.dumps(whole, indent=1))


if __name__ == "__main__":
    main()
