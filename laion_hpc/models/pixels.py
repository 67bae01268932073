"""Turns an image into the pixels for a model, with Pillow alone.

open_clip does the same with torchvision, which imports torch: this costs half a second and some
hundred megabytes in each process that only decodes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Mode = Literal["shorter", "shortest", "longest", "squash"]


@dataclass(frozen=True)
class Geometry:
    """How a model wants its images resized and cropped; it can be sent to another process."""

    height: int
    width: int
    mode: Mode
    """shorter: the shorter side becomes `height`, as torchvision rounds. shortest: the image covers
    height x width. longest: it fits into it, and the rest is filled. squash: it is stretched."""
    resample: int
    """Pillow's number of the filter."""
    fill: int = 0

    def __call__(self, image: Image.Image) -> Image.Image:
        """An RGB image -> one of width x height.

        ValueError from Pillow if a side is rounded to 0 pixels.
        """
        size = self._resized(*image.size)
        if image.size != size:
            image = image.resize(size, Image.Resampling(self.resample))
        right, below = max(self.width - image.width, 0), max(self.height - image.height, 0)
        if right or below:
            filled = Image.new("RGB", (size[0] + right, size[1] + below), (self.fill,) * 3)
            filled.paste(image, (right // 2, below // 2))
            image = filled
        window = self._window(*image.size)
        return image if window == (0, 0, *image.size) else image.crop(window)

    def put(self, image: Image.Image, frame: NDArray[np.uint8]) -> None:
        """Write the result of a call into `frame` (height, width, 3), in less time."""
        # For processes that decode: other importers have no use for compiled loops.
        from laion_hpc.models.resampling import resize

        size = self._resized(*image.size)
        fits = size[0] >= self.width and size[1] >= self.height
        if fits and resize.knows(image.size, size, self.resample):
            resize.resize_window(image, size, self._window(*size), self.resample, frame)
        else:
            frame[:] = np.asarray(self(image))

    def _resized(self, width: int, height: int) -> tuple[int, int]:
        if self.mode == "squash":
            return self.width, self.height
        if self.mode == "shorter":
            longer = int(self.height * max(width, height) / min(width, height))
            return (self.height, longer) if width <= height else (longer, self.height)
        across, down = width / self.width, height / self.height
        # The sum and its zeros are open_clip's: the same rounding.
        longest = float(self.mode == "longest")
        ratio = max(down, across) * longest + min(down, across) * (1.0 - longest)
        return round(width / ratio), round(height / ratio)

    def _window(self, width: int, height: int) -> tuple[int, int, int, int]:
        """The middle of an image at least as large as this geometry: left, top, right, bottom."""
        left, top = round((width - self.width) / 2), round((height - self.height) / 2)
        return left, top, left + self.width, top + self.height


def geometry_of(
    preprocess: Any, reference: Callable[[Image.Image], Image.Image]
) -> Geometry | None:
    """The geometry of an open_clip PreprocessCfg; None if this module does not know it.

    `reference` is open_clip's own function. Both are compared on a few pictures: another version of
    open_clip may do it otherwise.
    """
    size = preprocess.size
    height, width = (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
    modes: dict[str | None, Mode] = {"longest": "longest", "squash": "squash"}
    modes["shortest"] = modes[None] = "shorter" if height == width else "shortest"
    mode = modes.get(preprocess.resize_mode)
    if mode is None or not isinstance(preprocess.fill_color, int):
        return None
    # open_clip does not use the filter when it covers a shape that is not square.
    bilinear = preprocess.interpolation == "bilinear" and mode != "shortest"
    resample = Image.Resampling.BILINEAR if bilinear else Image.Resampling.BICUBIC
    found = Geometry(height, width, mode, int(resample), preprocess.fill_color)
    return found if _agree(found, reference) else None


PROBES: Sequence[tuple[int, int]] = ((97, 61), (61, 97), (300, 211), (501, 640))
"""Sizes of the pictures on which two geometries are compared, pixels."""


def _agree(mine: Geometry, reference: Callable[[Image.Image], Image.Image]) -> bool:
    rng = np.random.default_rng(0)
    for width, height in PROBES:
        image = Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8))
        expected = reference(image)
        found = mine(image)
        if found.size != expected.size or found.tobytes() != expected.tobytes():
            return False
    return True
