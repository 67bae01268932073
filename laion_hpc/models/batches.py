"""A shard's images and texts through a tower, in batches, several under way at once on a GPU."""

from __future__ import annotations

import io
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from laion_hpc.errors import InputError
from laion_hpc.files.shards import read_shard
from laion_hpc.models import Tower, feeding, tokens

if TYPE_CHECKING:
    from laion_hpc.models.feeder import FedTower

IMAGE_EXTENSIONS = ("jpg", "jpeg", "png", "webp")
"""Members of a sample that are its image."""

BATCHES_AHEAD = 3
"""Batches being decoded while others are on the GPU."""

BATCHES_UNDER_WAY = 3
"""Batches sent to the GPU before the first one's result is fetched."""

Pixels = NDArray[np.uint8]
Vectors = NDArray[np.float32]
View = TypeVar("View")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Images(Generic[View]):
    """The images of a shard that can be decoded."""

    rows: NDArray[np.int64]
    """Their positions in the shard (n,)."""
    vectors: Vectors
    """Their embeddings (n, width)."""
    views: list[View]
    """What `view` returned for each; empty without it."""


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
    decodes large JPEGs small. `view` sees each decoded image as well. Which images share a batch
    depends on nothing but the images and `size`: so do the bits of the results.

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

    Texts of about the same length share a batch, so that few are padded.
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


class Queue:
    """Batches under way, their results in order."""

    def __init__(self, width: int) -> None:
        self._under_way: deque[Callable[[], Vectors]] = deque()
        self._done = [np.empty((0, width), np.float32)]

    def add(self, batch: Callable[[], Vectors]) -> None:
        """Take what waits for a batch; wait for the oldest one if there are too many."""
        self._under_way.append(batch)
        if len(self._under_way) == BATCHES_UNDER_WAY:
            self._done.append(self._under_way.popleft()())

    def all(self) -> Vectors:
        """Wait for all of them: (n, width) in their order."""
        self._done.extend(wait() for wait in self._under_way)
        return np.concatenate(self._done)


def images_of(tar: Path, keys: Sequence[str]) -> Iterator[bytes]:
    """The encoded images of a shard in order, empty where a sample has none.

    InputError if the tar does not hold these keys in this order.
    """
    count = 0
    for count, sample in enumerate(read_shard(tar), start=1):
        if count > len(keys) or sample.key != keys[count - 1]:
            raise _others(tar, sample.key)
        yield next((sample.members[e] for e in IMAGE_EXTENSIONS if e in sample.members), b"")
    if count != len(keys):
        raise _fewer(tar, count, len(keys))


def refuse_others(tar: Path, found: Sequence[str], keys: Sequence[str]) -> None:
    """InputError if the keys `found` in a tar are not `keys`, as `images_of` raises it."""
    for at, key in enumerate(found):
        if at >= len(keys) or key != keys[at]:
            raise _others(tar, key)
    if len(found) != len(keys):
        raise _fewer(tar, len(found), len(keys))


def _others(tar: Path, key: str) -> InputError:
    return InputError(
        f"{tar}: its sample {key} is not the one that the parquet beside it lists; "
        "make this shard again"
    )


def _fewer(tar: Path, found: int, listed: int) -> InputError:
    return InputError(
        f"{tar}: holds {found} samples, the parquet beside it lists {listed}; make this shard again"
    )


def decode(data: bytes, least: int | None = None) -> Image.Image | None:
    """The image in RGB, or None if it cannot be decoded whole.

    With `least`, a JPEG whose shorter side stays at or above it, in pixels, is decoded at 1/2, 1/4
    or 1/8 of its size, which libjpeg does in the DCT, for a fraction of the time.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            if least:
                shorter = min(image.size)
                image.draft("RGB", tuple(side * least // shorter for side in image.size))  # type: ignore[arg-type]
            return image.convert("RGB")
    except MemoryError:
        raise
    except Exception:  # Pillow's plugins raise all kinds of errors for damaged files
        return None


def _prepared(
    images: Iterable[bytes], prepare: Callable[[bytes], Result], ahead: int
) -> Iterator[Result]:
    """`prepare` of each image, in order; of up to `ahead` of them at a time, on all cores."""
    if not ahead:
        # Threads would only take turns with the model: on a CPU, processes share the shards.
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
