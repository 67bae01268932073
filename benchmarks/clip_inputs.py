"""Models with random weights and blocks of JPEG shards, for benchmarks/filter.py and gpu.py."""

from __future__ import annotations

import io
import json
import random
import tarfile
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from laion_hpc.files import ledger
from laion_hpc.files.ledger import MANIFEST, Ledger, describe
from laion_hpc.files.schemas import SCORED_SAMPLE
from laion_hpc.files.shards import Sample, ShardWriter

# Alt texts of LAION-5B have about a dozen words.
WORDS = (  # noqa: SIM905
    "a the of and in on with for red blue old new small large dog cat house street garden kitchen "
    "wedding dress shoes leather vintage poster print portrait photo stock image vector logo map "
    "beach mountain sunset winter summer black white wooden table chair lamp recipe chocolate cake "
    "John Smith London Paris 2019 1080p HD wallpaper collection designer women men kids cotton"
).split()


def random_model(name: str, folder: Path) -> None:
    """An open_clip folder with random weights; `weights.pt` in it holds the same."""
    import torch
    from safetensors.torch import save_file

    from laion_hpc.models.torchvision_shim import ensure_torchvision

    ensure_torchvision()
    import open_clip

    torch.manual_seed(0)
    model = open_clip.create_model(name, pretrained=None)
    weights = {key: value.contiguous() for key, value in model.state_dict().items()}
    folder.mkdir(parents=True)
    save_file(weights, folder / "open_clip_model.safetensors", {"format": "pt"})
    torch.save(weights, folder / "weights.pt")
    description = {
        "model_cfg": open_clip.get_model_config(name),
        "preprocess_cfg": {
            "mean": open_clip.OPENAI_DATASET_MEAN,
            "std": open_clip.OPENAI_DATASET_STD,
        },
    }
    (folder / "open_clip_config.json").write_text(json.dumps(description))


def jpegs(images: Path | None, side: int) -> Iterator[bytes]:
    """JPEGs with `side` pixels on the longer side, for ever: photographs of a tar, or clouds."""
    return cycle([_jpeg(image, side) for image in islice(_images(images), 256)])


def _images(images: Path | None) -> Iterator[Image.Image]:
    if images is None:
        rng = np.random.default_rng(0)
        for _ in range(64):
            octaves = [
                Image.fromarray(rng.integers(0, 256, (3 * s, 4 * s, 3), np.uint8)).resize(
                    (512, 384), Image.Resampling.BICUBIC
                )
                for s in (2, 8, 32, 96)
            ]
            while len(octaves) > 1:
                octaves = [Image.blend(octaves[0], octaves[1], 0.4), *octaves[2:]]
            yield octaves[0]
        return
    with tarfile.open(images) as tar:
        for member in tar:
            stream = tar.extractfile(member) if member.isfile() else None
            if stream is None:
                continue
            try:
                image = Image.open(io.BytesIO(stream.read())).convert("RGB")
            except Exception:  # whatever is not a picture
                continue
            if min(image.size) >= 256:
                yield image


def _jpeg(image: Image.Image, side: int) -> bytes:
    scale = side / max(image.size)
    size = tuple(max(1, round(length * scale)) for length in image.size)
    stream = io.BytesIO()
    image.resize(size, Image.Resampling.LANCZOS).save(stream, "JPEG", quality=95)  # type: ignore[arg-type]
    return stream.getvalue()


def captions() -> Iterator[str]:
    """English-looking alt texts of 3 to 20 words, for ever."""
    rng = random.Random(0)
    while True:
        yield " ".join(rng.choices(WORDS, k=rng.randint(3, 20)))


def block(
    folder: Path, pictures: Iterator[bytes], texts: Iterator[str], *, shards: int, samples: int
) -> Path:
    """A block that `filter` and `embed` take for one downloaded or filtered; returns its folder."""
    folder.mkdir(parents=True)
    files = []
    for number in range(shards):
        tar, parquet = (folder / f"{number:05d}.{kind}" for kind in ("tar", "parquet"))
        rows = [
            _row(f"BENCH-0000-{number:05d}-{i:05d}", text)
            for i, text in enumerate(islice(texts, samples))
        ]
        with ShardWriter(tar) as writer:
            for row, data in zip(rows, pictures, strict=False):
                members = {"jpg": data, "txt": row["caption"].encode()}
                writer.add(Sample(row["key"], members | {"json": json.dumps(row).encode()}))
        pq.write_table(pa.Table.from_pylist(rows, schema=SCORED_SAMPLE), parquet)
        files += [describe(tar, rows=samples), describe(parquet, rows=samples)]
    count = shards * samples
    Ledger("filter", "samples", count, count, files=tuple(files)).write(folder / ledger.MANIFEST)
    assert (folder / MANIFEST).exists()
    return folder


def _row(key: str, text: str) -> dict[str, Any]:
    row: dict[str, Any] = {
        field.name: ""
        if pa.types.is_string(field.type)
        else False
        if pa.types.is_boolean(field.type)
        else 0
        for field in SCORED_SAMPLE
    }
    found = {"status": "success", "language_class": "en", "fate": "kept", "similarity": 0.3}
    return row | found | {"key": key, "caption": text, "url": f"http://bench.example/{key}.jpg"}
