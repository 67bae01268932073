"""Fits the layers of a head to samples, in torch; the same samples give the same bytes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import nn

Tensors = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Shape:
    """The layers of a head."""

    layers: tuple[int, ...]
    """Widths between input and output."""
    activation: str
    """relu or none, after every layer but the last."""
    dropout: float


@dataclass(frozen=True)
class Schedule:
    """How to train: AdamW with a short warm-up, then a cosine down to 0."""

    epochs: int = 20
    least_steps: int = 1500
    """The fewest steps, with any number of samples."""
    batch: int = 512
    rate: float = 2e-3
    weight_decay: float = 1e-2

    def steps(self, samples: int) -> int:
        """The number of steps with this number of samples."""
        return max(self.least_steps, math.ceil(self.epochs * samples / self.batch))


def fit(
    embeddings: NDArray[np.floating[Any]],
    labels: NDArray[np.float64],
    shape: Shape,
    schedule: Schedule,
    *,
    classes: bool,
    balance: bool,
    standardise: bool,
    seed: int,
    device: str,
) -> Tensors:
    """The tensors of a head (as `head.assemble` takes them) fitted to embeddings (n, width).

    `classes`: labels (n,) are 0 and 1, and the output is a logit; else both are values.
    `balance`: both classes weigh the same. `standardise`: the head scales its inputs to mean 0 and
    deviation 1.
    """
    from laion_hpc.models.runtime import prepare

    where = prepare(device, "fp32").device  # one thread on a CPU: more would change bits
    import torch
    from torch.nn import functional

    inputs, tensors = embeddings.astype(np.float32), Tensors()
    if standardise:
        mean, std = statistics(embeddings)
        inputs = (inputs - mean) / std
        tensors |= {"mean": mean, "std": std}
    # Values are learnt on a scale of 1; the last layer is scaled back afterwards.
    shift, scale = (0.0, 1.0) if classes else (float(labels.mean()), float(labels.std()))
    x = torch.from_numpy(inputs).to(where)
    y = torch.from_numpy(((labels - shift) / scale).astype(np.float32)).to(where)
    share = float(labels.mean()) if classes and balance else 0.5
    weights = torch.where(y > 0.5, 0.5 / share, 0.5 / (1 - share))

    torch.manual_seed(seed)
    network = _network(inputs.shape[1], shape).to(where).train()
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=schedule.rate, weight_decay=schedule.weight_decay
    )
    order = torch.Generator().manual_seed(seed)
    steps, rows, at = schedule.steps(len(x)), torch.randperm(len(x), generator=order), 0
    for step in range(steps):
        if at >= len(rows):
            rows, at = torch.randperm(len(x), generator=order), 0
        batch = rows[at : at + schedule.batch].to(where)
        at += schedule.batch
        warm = min(1.0, (step + 1) / (0.05 * steps))
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate * warm * 0.5 * (1 + math.cos(math.pi * step / steps))
        told = network(x[batch])[:, 0]
        if classes:
            loss = functional.binary_cross_entropy_with_logits(told, y[batch], weights[batch])
        else:
            loss = functional.mse_loss(told, y[batch])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return tensors | _layers(network, shift, scale)


def _network(width: int, shape: Shape) -> nn.Sequential:
    from torch import nn

    parts: list[nn.Module] = []
    for layer in shape.layers:
        parts.append(nn.Linear(width, layer))
        if shape.activation == "relu":
            parts.append(nn.ReLU())
        if shape.dropout:
            parts.append(nn.Dropout(shape.dropout))
        width = layer
    return nn.Sequential(*parts, nn.Linear(width, 1))


def _layers(network: nn.Sequential, shift: float, scale: float) -> Tensors:
    """The linear layers; the last one gives `scale` times its output plus `shift`."""
    from torch import nn

    linear = [part for part in network if isinstance(part, nn.Linear)]
    tensors = Tensors()
    for number, layer in enumerate(linear):
        weight, bias = (
            part.detach().cpu().numpy().astype(np.float64) for part in (layer.weight, layer.bias)
        )
        if number == len(linear) - 1:
            weight, bias = weight * scale, bias * scale + shift
        tensors[f"layers.{number}.weight"] = weight.astype(np.float32)
        tensors[f"layers.{number}.bias"] = bias.astype(np.float32)
    return tensors


def statistics(
    embeddings: NDArray[np.floating[Any]],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and standard deviation (width,) of each number; 1 for a constant one."""
    total, squares = np.zeros(embeddings.shape[1]), np.zeros(embeddings.shape[1])
    for part in chunks(embeddings):
        total += part.sum(axis=0, dtype=np.float64)
    mean = total / len(embeddings)
    for part in chunks(embeddings):
        squares += ((part.astype(np.float64) - mean) ** 2).sum(axis=0)
    std = np.sqrt(squares / len(embeddings))
    std[std < 1e-6] = 1.0
    return mean.astype(np.float32), std.astype(np.float32)


def chunks(x: NDArray[np.floating[Any]]) -> list[NDArray[np.floating[Any]]]:
    """Views of some thousand rows each: they avoid a second copy of all."""
    return [x[start : start + 16_384] for start in range(0, len(x), 16_384)]
