"""Finds the images of a shard in its tar, and decodes them."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from laion_hpc.errors import InputError
from laion_hpc.files.shards import read_shard

IMAGE_EXTENSIONS = ("jpg", "jpeg", "png", "webp")
"""Members of a sample that are its image."""

View = TypeVar("View")


@dataclass(frozen=True)
class Images(Generic[View]):
    """The images of a shard that can be decoded."""

    rows: NDArray[np.int64]
    """Their positions in the shard (n,)."""
    vectors: NDArray[np.float32]
    """Their embeddings (n, width)."""
    views: list[View]
    """What `view` returned for each; empty without it."""


def images_of(tar: Path, keys: Sequence[str]) -> Iterator[bytes]:
    """The encoded images of a shard in order, empty if a sample has none.

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
    """The image in RGB, or None if it cannot be decoded completely.

    With `least`, a JPEG whose shorter side stays at or above it, in pixels, is decoded at 1/2, 1/4
    or 1/8 of its size: libjpeg does this in the DCT, in a fraction of the time.
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
