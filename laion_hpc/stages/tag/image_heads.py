"""Heads that read the stored image: a network of timm, then a head's layers."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from laion_hpc.errors import InputError, UsageError
from laion_hpc.heads.head import ImageInput, describe, read_weights

PREFIX = "backbone."


def image_features(
    name: str, tar: Path, keys: list[str], device: str, size: int
) -> NDArray[np.float32]:
    """The outputs of a head's network for the images of a shard: (len(keys), width).

    `keys` are those of the embedded samples in order; the tar may hold others between them.
    InputError if one of them is missing or cannot be decoded.
    """
    backbone = _backbone(name, device)
    parts = []
    waiting: list[NDArray[np.uint8]] = []
    for pixels in _pixels(tar, keys, backbone.input.size):
        waiting.append(pixels)
        if len(waiting) == size:
            parts.append(backbone.features(np.stack(waiting)))
            waiting = []
    if waiting:
        parts.append(backbone.features(np.stack(waiting)))
    return np.concatenate(parts)


def _pixels(tar: Path, keys: list[str], side: int) -> Iterator[NDArray[np.uint8]]:
    """The images of these samples, squashed to a square as torchvision's Resize does."""
    from PIL.Image import Resampling

    from laion_hpc.files.shards import read_shard
    from laion_hpc.models.shard_images import IMAGE_EXTENSIONS, decode

    wanted = iter(keys)
    key = next(wanted, None)
    for sample in read_shard(tar):
        if sample.key != key:
            continue
        data = next((sample.members[e] for e in IMAGE_EXTENSIONS if e in sample.members), b"")
        image = decode(data)
        if image is None:
            raise InputError(f"{tar}: the image of {key} was embedded but cannot be decoded now")
        yield np.asarray(image.resize((side, side), Resampling.BILINEAR)).transpose(2, 0, 1)
        key = next(wanted, None)
    if key is not None:
        raise InputError(f"{tar}: does not hold {key}, which was embedded; is it another block?")


class _Backbone:
    def __init__(self, name: str, description: ImageInput, device: str) -> None:
        from laion_hpc.models.runtime import prepare
        from laion_hpc.models.torchvision_shim import ensure_torchvision

        runtime = prepare(device, "fp32")
        ensure_torchvision()
        import timm
        import torch

        self.input = description
        self._device = runtime.device
        tensors = {
            key.removeprefix(PREFIX): torch.from_numpy(value)
            for key, value in read_weights(name).items()
            if key.startswith(PREFIX)
        }
        try:
            model = timm.create_model(description.architecture, pretrained=False, num_classes=0)
            model.load_state_dict(tensors)
        except RuntimeError as error:  # an unknown architecture, or weights of another one
            raise UsageError(f"tag.heads: {name}: {str(error)[:300]}") from None
        self._model = model.eval().requires_grad_(False).to(runtime.device)
        self._mean, self._std = (
            torch.tensor(values, device=runtime.device).view(1, 3, 1, 1)
            for values in (description.mean, description.std)
        )

    def features(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        import torch

        with torch.inference_mode():
            batch = torch.from_numpy(pixels).to(self._device).float().div(255)
            found = self._model(batch.sub(self._mean).div(self._std))
            return np.asarray(found.float().cpu().numpy(), np.float32)


@lru_cache(maxsize=4)
def _backbone(name: str, device: str) -> _Backbone:
    """A network of this process: loaded for its first shard, kept for the others."""
    description = describe(name).image
    assert description is not None, "only called for heads that read images"
    return _Backbone(name, description, device)
