"""CLIP towers: one interface over open_clip and sentence-transformers.

A third library needs one class with the members of `Tower` and one line in `load`
(docs/models.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from laion_hpc.config.sections import ModelConfig
from laion_hpc.models.folders import resolve_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

__all__ = ["Tower", "load", "resolve_folder"]


class Tower(Protocol):
    """A model that puts images and texts into one space of unit vectors.

    Every method takes one batch and returns float32 with rows of norm 1. A tower for texts alone
    raises UsageError for images. A vector that is not finite raises LaionHpcError.
    """

    name: str
    """Library, architecture and weights, for messages."""
    width: int
    """Length of an embedding."""
    device: str
    """Where it runs: cpu or cuda:N."""
    side: int
    """Shorter side of the images that its network sees, pixels; 0 if it takes none."""

    def preprocess(self, image: Image.Image) -> NDArray[np.uint8]:
        """Resize and crop as the model was trained: RGB, (3, height, width). Thread-safe."""

    def embed_pixels(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Preprocessed images (n, 3, height, width) -> (n, width)."""

    def begin_pixels(self, pixels: NDArray[np.uint8]) -> Callable[[], NDArray[np.float32]]:
        """Begin `embed_pixels`; the function returned waits for its result. A GPU works on."""

    def embed_images(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        """Images of any size -> (n, width)."""

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Texts -> (n, width)."""

    def begin_texts(self, texts: Sequence[str]) -> Callable[[], NDArray[np.float32]]:
        """Begin `embed_texts`; the function returned waits for its result. A GPU works on."""


def load(
    config: ModelConfig, *, device: str = "auto", precision: str = "auto", compile: bool = False
) -> Tower:
    """The model that a config names, from local files only: nothing is downloaded here.

    `device`: auto (a GPU if there is one), cpu or cuda. `precision`: auto (fp16 on a GPU, fp32 on
    a CPU), fp32, bf16 or fp16. `compile`: fuse the image tower's kernels, on a GPU. On a CPU torch
    uses one thread per process: the number of processes or cores changes no bit of the results.

    Raises InputError that names the command to run if files are missing or are not this model's;
    UsageError for a device or precision that this machine does not have.
    """
    from laion_hpc.models.runtime import prepare
    from laion_hpc.models.store import folder_of

    folder = folder_of(config)
    runtime = prepare(device, precision, compile=compile)
    adapter: Any
    if config.library == "open_clip":
        from laion_hpc.models.open_clip_tower import OpenClipTower as adapter  # noqa: N813
    else:
        from laion_hpc.models.sentence_tower import SentenceTower as adapter  # noqa: N813
    tower: Tower = adapter(config, folder, runtime)
    return tower
