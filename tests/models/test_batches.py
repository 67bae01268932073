"""Decoding and the queue of batches, with a device that takes its time."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from laion_hpc.errors import InputError
from laion_hpc.files.shards import Sample, ShardWriter
from laion_hpc.models.batches import embed_images
from laion_hpc.models.pipeline import BATCHES_UNDER_WAY
from laion_hpc.models.shard_images import decode


def photograph(side: int) -> bytes:
    coarse = np.random.default_rng(3).integers(0, 256, (9, 12, 3), np.uint8)
    stream = io.BytesIO()
    size = (side * 4 // 3, side)
    Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(stream, "JPEG", quality=92)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("side", "least", "expected"),
    [(480, 224, 240), (440, 224, 440), (900, 224, 225), (480, None, 480), (100, 224, 100)],
)
def test_jpegs_are_decoded_at_the_smallest_size_that_suffices(
    side: int, least: int | None, expected: int
) -> None:
    image = decode(photograph(side), least)
    assert image is not None
    assert (min(image.size), image.mode) == (expected, "RGB")


def test_scaled_decoding_is_close() -> None:
    data = photograph(900)
    whole, scaled = (decode(data, least) for least in (None, 224))
    assert whole is not None and scaled is not None
    pixels = [np.asarray(i.resize((224, 224), Image.Resampling.BICUBIC)) for i in (whole, scaled)]
    assert np.abs(pixels[0].astype(int) - pixels[1].astype(int)).mean() < 2


class SlowDevice:
    """A tower on a device that finishes a batch only when it is asked for."""

    device = "cuda:0"
    width = 3
    side = 8

    def __init__(self) -> None:
        self.under_way = self.most = 0

    def preprocess(self, image: Image.Image) -> NDArray[np.uint8]:
        return np.asarray(image.resize((8, 8))).transpose(2, 0, 1)

    def begin_pixels(self, pixels: NDArray[np.uint8]) -> Callable[[], NDArray[np.float32]]:
        self.under_way += 1
        self.most = max(self.most, self.under_way)

        def wait() -> NDArray[np.float32]:
            self.under_way -= 1
            return pixels.mean(axis=(2, 3), dtype=np.float32)

        return wait


def test_batches_under_way_come_back_in_order(tmp_path: Path) -> None:
    colours = [(i * 5 % 251, i, 255 - i) for i in range(50)]
    keys = [f"k{i:03d}" for i in range(len(colours))]
    with ShardWriter(tmp_path / "s.tar") as writer:
        for key, colour in zip(keys, colours, strict=True):
            stream = io.BytesIO()
            Image.new("RGB", (20, 16), colour).save(stream, "PNG")
            damaged = key in ("k007", "k049")
            members = {"png": stream.getvalue()[: 60 if damaged else None]}
            writer.add(Sample(key, {"txt": b""} if key == "k020" else members))
    device: Any = SlowDevice()
    found = embed_images(tmp_path / "s.tar", keys, device, 6, view=lambda i: i.getpixel((0, 0)))
    assert found.rows.tolist() == [i for i in range(50) if i not in (7, 20, 49)]
    assert found.views == [colours[row] for row in found.rows]
    np.testing.assert_allclose(found.vectors, [colours[row] for row in found.rows])
    assert (device.most, device.under_way) == (BATCHES_UNDER_WAY, 0)
    with pytest.raises(InputError, match=r"s\.tar: its sample k000"):
        embed_images(tmp_path / "s.tar", ["other", *keys[1:]], device, 6)
