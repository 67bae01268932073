"""Embeds a shard's images and texts in batches; on a GPU several are under way at once."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from laion_hpc.models import Tower, feeding, tokens
from laion_hpc.models.pipeline import Queue
from laion_hpc.models.shard_images import Images, decode, images_of

if TYPE_CHECKING:
    from laion_hpc.models.feeder import FedTower

BATCHES_AHEAD = 3
"""Batches being decoded while others are on the GPU."""

Pixels = NDArray[np.uint8]
Vectors = NDArray[np.float32]
View = TypeVar("View")
Result = TypeVar("Result")


def embed_images(
    tar: Path,
    keys: Sequence[str],
    tower: Tower,
    size: int,
    *,
    scaled: bool = False,
    view: Callable[[Image.Image], View] | None = None,
) -> Images[View]:
    """Embed the images of a shard in batches of `size`.

    `keys` are the keys of all samples in order: InputError if the tar holds others. `scaled`
    decodes large JPEGs small. `view` sees each decoded image as well. The images and `size`
    alone decide which images share a batch, and so the bits of the results.

    On a GPU other processes decode (`models/feeding.py`).
    """
    feeder = feeding.feeder(tower, size)
    if feeder:
        fed = cast("FedTower", tower)
        return feeder.embed_images(tar, keys, fed, size, scaled=scaled, view=view)
    rows: list[int] = []
    views: list[View] = []
    waiting: list[Pixels] = []
    vectors = Queue(tower.width)
    least = tower.side if scaled else None

    def prepare(data: bytes) -> tuple[Pixels, View | None] | None:
        image = decode(data, least)
        if image is None:
            return None
        return tower.preprocess(image), view(image) if view else None

    ahead = size * BATCHES_AHEAD if tower.device != "cpu" else 0
    for row, prepared in enumerate(_prepared(images_of(tar, keys), prepare, ahead)):
        if prepared is None:
            continue
        pixels, seen = prepared
        rows.append(row)
        waiting.append(pixels)
        if seen is not None:
            views.append(seen)
        if len(waiting) == size:
            vectors.add(tower.begin_pixels(np.stack(waiting)))
            waiting = []
    if waiting:
        vectors.add(tower.begin_pixels(np.stack(waiting)))
    return Images(np.array(rows, np.int64), vectors.all(), views)


def embed_texts(texts: Sequence[str], tower: Tower, size: int) -> Vectors:
    """Texts in batches of `size` -> (n, width) in their order.

    Texts of about the same length share a batch: so few are padded.
    """
    order = np.array(sorted(range(len(texts)), key=lambda row: (len(texts[row]), row)), np.int64)
    parts = Queue(tower.width)
    starts = range(0, len(texts), size)
    batches = [[texts[row] for row in order[at : at + size]] for at in starts]
    for batch in tokens.begin_batches(tower, batches):
        parts.add(batch)
    vectors = np.empty((len(texts), tower.width), np.float32)
    vectors[order] = parts.all()
    return vectors


def _prepared(
    images: Iterable[bytes], prepare: Callable[[bytes], Result], ahead: int
) -> Iterator[Result]:
    """`prepare` of each image, in order; of up to `ahead` of them at a time, on all cores."""
    if not ahead:
        # Threads only take turns with the model: on a CPU, processes share the shards.
        yield from map(prepare, images)
        return
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        waiting: deque[Future[Result]] = deque()
        for data in images:
            waiting.append(pool.submit(prepare, data))
            if len(waiting) >= ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
