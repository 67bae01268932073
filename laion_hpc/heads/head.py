"""Heads: small networks that read a score from an embedding, in numpy alone.

A head is a folder. `head.json` describes it; `weights.safetensors` holds `layers.N.weight`
(out, in) and `layers.N.bias` (out,) and, if the inputs are scaled, `mean` and `std` (width,).
`lookup.D` makes dimension D a category, as AutoKeras did with some of LAION's: it holds the
bytes of a vocabulary, one word per line. The value, printed with six decimals, becomes the number
of its line, from 1, or 0 if no line has it.

A head with an `image` in head.json reads the stored image instead: the network `image` describes
(tensors `backbone.…`, see `image_heads`) turns it into the `width` numbers of the first layer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from laion_hpc.errors import UsageError
from laion_hpc.files.atomic import atomic, write_bytes
from laion_hpc.models.folders import resolve_folder

DESCRIPTION = "head.json"
WEIGHTS = "weights.safetensors"

Array = NDArray[np.float32]


class ImageInput(BaseModel):
    """The input of a head that reads images."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    architecture: str = Field(description="timm's name of the network before the first layer.")
    size: int = Field(ge=1, description="Height and width; images are squashed to it.")
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


class Description(BaseModel):
    """The content of head.json."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1]
    name: str
    column: str = Field(pattern=r"^[a-z][a-z0-9_]*$", description="Column of the tags.")
    space: str = Field(description="Whose embeddings it reads: see `spaces.space_of`.")
    width: int = Field(ge=1, description="Length of such an embedding.")
    activation: Literal["relu", "none"] = Field(description="After every layer but the last.")
    output: Literal["sigmoid", "none", "softmax0"] = Field(
        description="After the last layer; softmax0: the probability of the first of its outputs."
    )
    threshold: float | None = Field(None, description="Score from which the answer is yes.")
    licence: str
    source: str
    image: ImageInput | None = None


@dataclass(frozen=True)
class Head:
    """A head, ready to score."""

    description: Description
    weights: tuple[Array, ...]
    """(in, out) of each layer."""
    biases: tuple[Array, ...]
    mean: Array
    std: Array
    lookups: Mapping[int, Mapping[str, int]] = field(default_factory=dict)

    def scores(self, embeddings: NDArray[np.floating[Any]]) -> Array:
        """Scores (n,) of embeddings (n, width), as stored: fp16 or float32, rows of norm 1."""
        x = embeddings.astype(np.float32)
        for dimension, vocabulary in self.lookups.items():
            x[:, dimension] = _categories(embeddings[:, dimension], vocabulary)
        x -= self.mean
        x /= self.std
        last = len(self.weights) - 1
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = x @ weight
            x += bias
            if layer < last and self.description.activation == "relu":
                np.maximum(x, 0, out=x)
        return finish(x, self.description.output)


def finish(x: Array, output: str) -> Array:
    """The last step of a head: the last layer's outputs (n, k) -> scores (n,)."""
    if output == "sigmoid":
        # exp of -|x| cannot overflow.
        small = np.exp(-np.abs(x[:, 0]))
        return np.where(x[:, 0] >= 0, 1 / (1 + small), small / (1 + small)).astype(np.float32)
    if output == "softmax0":
        shifted = np.exp(x - x.max(axis=1, keepdims=True))
        return np.asarray(shifted[:, 0] / shifted.sum(axis=1), np.float32)
    return np.ascontiguousarray(x[:, 0])


def _categories(values: NDArray[np.floating[Any]], vocabulary: Mapping[str, int]) -> Array:
    # fp16 has few distinct values: each is looked up once.
    distinct, where = np.unique(values.astype(np.float32), return_inverse=True)
    found = [vocabulary.get(f"{value:f}", 0) for value in distinct.tolist()]
    numbers = np.array(found, np.float32)[where]
    if 0 in distinct:
        # -0.0 and 0.0 are equal but are printed differently.
        negative = (values == 0) & np.signbit(values)
        numbers[negative] = vocabulary.get("-0.000000", 0)
        numbers[(values == 0) & ~negative] = vocabulary.get("0.000000", 0)
    return numbers


def describe(name: str) -> Description:
    """head.json of a head that a config names; UsageError names its fault."""
    path = resolve_folder(name) / DESCRIPTION
    try:
        return Description.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise UsageError(
            f"tag.heads: {path}: no such file; run `laion-hpc models fetch` where there is "
            "internet, make it with `laion-hpc heads import`, or leave it out of tag.heads"
        ) from None
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc'])) or 'it'}: {fault['msg']}"
            for fault in error.errors()
        )
        raise UsageError(
            f"tag.heads: {path}: the description of the head is invalid: {faults}"
        ) from None


def write_head(description: Description, tensors: Mapping[str, NDArray[Any]], output: Path) -> None:
    """Write a head's folder; check its parts with `assemble` before."""
    from safetensors.numpy import save

    output.mkdir(parents=True, exist_ok=True)
    with atomic(output / WEIGHTS) as aside:
        aside.write_bytes(save({name: np.ascontiguousarray(t) for name, t in tensors.items()}))
    text = json.dumps(description.model_dump(exclude_none=True), indent=2, ensure_ascii=False)
    write_bytes(output / DESCRIPTION, f"{text}\n".encode())


def load_head(name: str) -> Head:
    """The head in a folder that a config names; UsageError if its parts do not fit together."""
    return assemble(describe(name), read_weights(name), origin=str(resolve_folder(name) / WEIGHTS))


def read_weights(name: str) -> dict[str, NDArray[Any]]:
    """All tensors of a head that a config names; UsageError if the file is missing or damaged."""
    from safetensors.numpy import load_file

    path = resolve_folder(name) / WEIGHTS
    try:
        tensors: dict[str, NDArray[Any]] = load_file(path)
    except FileNotFoundError:
        raise UsageError(f"tag.heads: {path}: no such file; make this head again") from None
    except Exception as error:  # safetensors' own error type is not a subclass of ValueError
        raise UsageError(f"tag.heads: {path}: not a safetensors file ({error})") from None
    return tensors


def assemble(description: Description, tensors: Mapping[str, NDArray[Any]], *, origin: str) -> Head:
    """Put a head together and check that every layer fits the one before; UsageError if not."""
    width = description.width
    layers = sum(1 for name in tensors if name.startswith("layers.") and name.endswith(".weight"))
    shape, faults = width, []
    weights, biases = [], []
    for layer in range(layers):
        weight, bias = (tensors.get(f"layers.{layer}.{part}") for part in ("weight", "bias"))
        if weight is None or bias is None:
            faults.append(f"layers.{layer} is missing its weight or bias")
            break
        if weight.ndim != 2 or weight.shape[1] != shape or bias.shape != weight.shape[:1]:
            faults.append(
                f"layers.{layer} is {weight.shape} with a bias of {bias.shape} for {shape} inputs"
            )
            break
        shape = weight.shape[0]
        weights.append(np.ascontiguousarray(weight.T, np.float32))
        biases.append(bias.astype(np.float32))
    outputs = shape >= 2 if description.output == "softmax0" else shape == 1
    if not faults and not (layers and outputs):
        faults.append(f"{layers} layers end in {shape} outputs")
    mean = tensors.get("mean", np.zeros(width)).astype(np.float32)
    std = tensors.get("std", np.ones(width)).astype(np.float32)
    if mean.shape != (width,) or std.shape != (width,) or not (std > 0).all():
        faults.append(f"mean and std must be {width} numbers, std above 0")
    if not all(np.isfinite(array).all() for array in (*weights, *biases, mean, std)):
        faults.append("it holds values that are not finite")
    lookups = {
        int(name.removeprefix("lookup.")): _vocabulary(words)
        for name, words in tensors.items()
        if name.startswith("lookup.")
    }
    if any(not 0 <= dimension < width for dimension in lookups):
        faults.append("a lookup is for a dimension that the embeddings do not have")
    if faults:
        raise UsageError(f"tag.heads: {origin}: {faults[0]}; make this head again")
    if description.activation == "none":
        weights, biases = _joined(weights, biases)
    return Head(description, tuple(weights), tuple(biases), mean, std, lookups)


def _joined(weights: list[Array], biases: list[Array]) -> tuple[list[Array], list[Array]]:
    """Join layers without an activation between: the aesthetic head v2 becomes a dot product."""
    weight, bias = weights[0].astype(np.float64), biases[0].astype(np.float64)
    for next_weight, next_bias in zip(weights[1:], biases[1:], strict=True):
        weight, bias = weight @ next_weight, bias @ next_weight + next_bias
    return [weight.astype(np.float32)], [bias.astype(np.float32)]


def _vocabulary(words: NDArray[Any]) -> dict[str, int]:
    return {word: line for line, word in enumerate(bytes(words).decode().split("\n"), start=1)}
