"""A shard's images and texts through a tower, in batches; decoded ahead where a GPU waits."""

from __future__ import annotations

import io
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from laion_hpc.errors import InputError
from laion_hpc.models import Tower
from laion_hpc.shards import read_shard

IMAGE_EXTENSIONS = ("jpg", "jpeg", "png", "webp")
"""Members of a sample that are its image."""

BATCHES_AHEAD = 3
"""Batches being decoded while one is on the GPU."""

Pixels = NDArray[np.uint8]


def embed_images(
    tar: Path, keys: Sequence[str], tower: Tower, size: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The images of a shard: positions (n,) of those that can be decoded, embeddings (n, width).

    `keys` are the keys of all samples in order: InputError if the tar holds others. Which images
    share a batch depends on nothing but the images and `size`: so do the bits of the results.
    """
    rows: list[int] = []
    waiting: list[Pixels] = []
    vectors = [np.empty((0, tower.width), np.float32)]
    ahead = size * BATCHES_AHEAD
    for row, pixels in enumerate(_preprocessed(images_of(tar, keys), tower, ahead)):
        if pixels is None:
            continue
        rows.append(row)
        waiting.append(pixels)
        if len(waiting) == size:
            vectors.append(tower.embed_pixels(np.stack(waiting)))
            waiting = []
    if waiting:
        vectors.append(tower.embed_pixels(np.stack(waiting)))
    return np.array(rows, np.int64), np.concatenate(vectors)


def embed_texts(texts: Sequence[str], tower: Tower, size: int) -> NDArray[np.float32]:
    """Texts in batches of `size`, in order -> (n, width)."""
    parts = [tower.embed_texts(texts[at : at + size]) for at in range(0, len(texts), size)]
    return np.concatenate([np.empty((0, tower.width), np.float32), *parts])


def images_of(tar: Path, keys: Sequence[str]) -> Iterator[bytes]:
    """The encoded images of a shard in order, empty where a sample has none.

    InputError if the tar does not hold these keys in this order.
    """
    count = 0
    for count, sample in enumerate(read_shard(tar), start=1):
        if count > len(keys) or sample.key != keys[count - 1]:
            raise InputError(
                f"{tar}: its sample {sample.key} is not the one that the parquet beside it lists; "
                "make this shard again"
            )
        yield next((sample.members[e] for e in IMAGE_EXTENSIONS if e in sample.members), b"")
    if count != len(keys):
        raise InputError(
            f"{tar}: holds {count} samples, the parquet beside it lists {len(keys)}; "
            "make this shard again"
        )


def decode(data: bytes) -> Image.Image | None:
    """The image in RGB, or None if it cannot be decoded whole."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            return image.convert("RGB")
    except MemoryError:
        raise
    except Exception:  # Pillow's plugins raise all kinds of errors for damaged files
        return None


def _preprocessed(images: Iterable[bytes], tower: Tower, ahead: int) -> Iterator[Pixels | None]:
    def prepare(data: bytes) -> Pixels | None:
        image = decode(data)
        return None if image is None else tower.preprocess(image)

    if tower.device == "cpu":
        # Threads would only take turns with the model: on a CPU, processes share the shards.
        yield from map(prepare, images)
        return
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        waiting: deque[Future[Pixels | None]] = deque()
        for data in images:
            waiting.append(pool.submit(prepare, data))
            if len(waiting) >= ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
