"""Turns LAION's published heads into head folders: the same scores, no TensorFlow, no pickle."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laion_hpc.errors import InputError, UsageError
from laion_hpc.heads.head import Description, ImageInput, assemble, write_head
from laion_hpc.heads.saved_model import read_autokeras

Tensors = dict[str, NDArray[Any]]

_SPACES = {512: "ViT-B-32/openai", 768: "ViT-L-14/openai", 1024: "ViT-H-14/laion2b_s32b_b79k"}
"""The model whose embeddings a published head reads, by their width; one is told by its name."""
_B16, _B16_SPACE = "vit_b_16", "ViT-B-16/openai"

_DETECTOR = "https://github.com/LAION-AI/CLIP-based-NSFW-Detector"
_AESTHETIC = "https://github.com/LAION-AI/aesthetic-predictor"
_IMPROVED = "https://github.com/christophschuhmann/improved-aesthetic-predictor"


def import_head(kind: str, source: Path, output: Path) -> Description:
    """Write the head in a published file as a folder; returns its description.

    `kind` is one of KINDS. InputError if the file is not of that kind.
    """
    if kind not in KINDS:
        raise UsageError(f"there is no kind {kind!r} of heads; the kinds are {', '.join(KINDS)}")
    if not source.is_file():
        raise InputError(f"{source}: no such file")
    description, tensors = KINDS[kind](source)
    assemble(description, tensors, origin=str(source))
    write_head(description, tensors, output)
    return description


def _autokeras(source: Path) -> tuple[Description, Tensors]:
    """LAION's NSFW detectors for ViT-L/14 and ViT-B/32: zips of a TensorFlow SavedModel."""
    head = read_autokeras(source)
    # Keras divides by the root of the variance, or by its epsilon if that is larger.
    std = np.maximum(np.sqrt(head.variance), np.float32(1e-7))
    tensors: Tensors = {"mean": head.mean, "std": std}
    for layer, (weight, bias) in enumerate(head.layers):
        tensors |= {f"layers.{layer}.weight": weight.T, f"layers.{layer}.bias": bias}
    for dimension, words in head.vocabularies.items():
        tensors[f"lookup.{dimension}"] = np.frombuffer("\n".join(words).encode(), np.uint8)
    return _describe(
        "punsafe", len(head.mean), "relu", "sigmoid", 0.5, licence="MIT", source=_DETECTOR
    ), tensors


def _nsfw_h14(source: Path) -> tuple[Description, Tensors]:
    """LAION's NSFW detector for ViT-H/14: no activation after the last layer but one."""
    layers = _linear_layers(_state_dict(source), source, 7)
    # Two layers without an activation between are one.
    (inner, inner_bias), (outer, outer_bias) = (
        (weight.astype(np.float64), bias.astype(np.float64)) for weight, bias in layers[-2:]
    )
    joined = (outer @ inner).astype(np.float32), (outer @ inner_bias + outer_bias)
    layers = [*layers[:-2], (joined[0], joined[1].astype(np.float32))]
    width = layers[0][0].shape[1]
    return _describe(
        "punsafe", width, "relu", "none", 0.5, licence="MIT", source=_DETECTOR
    ), _tensors(layers)


def _aesthetic(source: Path) -> tuple[Description, Tensors]:
    """The aesthetic predictors v1 (one layer) and v2 (five layers, no activation)."""
    layers = _linear_layers(_state_dict(source), source)
    if len(layers) not in (1, 5):
        raise InputError(f"{source}: has {len(layers)} layers; aesthetic heads have 1 or 5")
    improved = len(layers) == 5
    return _describe(
        "aesthetic", layers[0][0].shape[1], "none", "none", None,
        space=_B16_SPACE if _B16 in source.name else None,
        licence="Apache-2.0" if improved else "MIT",
        source=_IMPROVED if improved else _AESTHETIC,
    ), _tensors(layers)  # fmt: skip


def _violence(source: Path) -> tuple[Description, Tensors]:
    """LAION's violence vectors (2, width): the nearer one decides, the second means violent."""
    try:
        with source.open("rb") as stream:
            vectors = np.lib.format.read_array(stream, allow_pickle=False).astype(np.float32)
    except (ValueError, EOFError) as error:
        raise InputError(f"{source}: not a .npy file ({error})") from None
    if vectors.ndim != 2 or len(vectors) != 2:
        raise InputError(f"{source}: expected two vectors, found {vectors.shape}")
    layers = [(vectors[::-1].copy(), np.zeros(2, np.float32))]
    return _describe(
        "pviolence", vectors.shape[1], "none", "softmax0", 0.5, licence="MIT", source=_DETECTOR
    ), _tensors(layers)


def _watermark(source: Path) -> tuple[Description, Tensors]:
    """LAION's watermark detector: EfficientNet-B3 and three layers; it reads the image."""
    state = _state_dict(source)
    layers = _linear_layers({n: t for n, t in state.items() if n.startswith("classifier.")}, source)
    tensors = _tensors(layers)
    for name, tensor in state.items():
        if not name.startswith("classifier."):
            tensors[f"backbone.{name}"] = tensor
    description = _describe(
        "pwatermark", layers[0][0].shape[1], "relu", "softmax0", 0.8, licence="Apache-2.0",
        source="https://github.com/LAION-AI/LAION-5B-WatermarkDetection",
    )  # fmt: skip
    image = ImageInput(
        architecture="efficientnet_b3", size=256, mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
    )  # fmt: skip
    named = {"space": "images", "name": "pwatermark from images", "image": image}
    return description.model_copy(update=named), tensors


KINDS: dict[str, Callable[[Path], tuple[Description, Tensors]]] = {
    "nsfw-autokeras": _autokeras,
    "nsfw-h14": _nsfw_h14,
    "aesthetic": _aesthetic,
    "violence": _violence,
    "watermark": _watermark,
}
"""The published heads that can be imported."""


def _describe(
    column: str,
    width: int,
    activation: str,
    output: str,
    threshold: float | None,
    *,
    licence: str,
    source: str,
    space: str | None = None,
) -> Description:
    space = space or _SPACES.get(width, "unknown")
    return Description.model_validate(
        {
            "format": 1,
            "name": f"{column} for {space}",
            "column": column,
            "space": space,
            "width": width,
            "activation": activation,
            "output": output,
            "threshold": threshold,
            "licence": licence,
            "source": source,
        }
    )


def _tensors(layers: list[tuple[NDArray[np.float32], NDArray[np.float32]]]) -> Tensors:
    tensors: Tensors = {}
    for number, (weight, bias) in enumerate(layers):
        tensors |= {f"layers.{number}.weight": weight, f"layers.{number}.bias": bias}
    return tensors


def _linear_layers(
    state: Tensors, source: Path, count: int | None = None
) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """The linear layers of a state dict, in the order of the numbers in their names."""
    names = sorted(
        (name for name in state if name.endswith("weight") and state[name].ndim == 2),
        key=lambda name: [int(number) for number in re.findall(r"\d+", name)],
    )
    if not names or (count and len(names) != count):
        raise InputError(f"{source}: has {len(names)} linear layers, expected {count or 'some'}")
    try:
        biases = [state[name.removesuffix("weight") + "bias"] for name in names]
    except KeyError as error:
        raise InputError(f"{source}: has no {error.args[0]}") from None
    return [(state[name], bias) for name, bias in zip(names, biases, strict=True)]


def _state_dict(source: Path) -> Tensors:
    """The tensors of a PyTorch state dict, floats as float32; no code in it is run."""
    import torch

    try:
        state = torch.load(source, map_location="cpu", weights_only=True)
        return {
            name: (tensor.float() if tensor.is_floating_point() else tensor).numpy()
            for name, tensor in state.items()
        }
    except Exception as error:  # damaged pickles raise everything
        raise InputError(f"{source}: not a PyTorch state dict ({str(error)[:200]})") from None
