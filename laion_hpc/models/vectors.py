"""The last step of every tower: float32 rows of norm 1."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from laion_hpc.errors import LaionHpcError


def normalise(vectors: torch.Tensor) -> torch.Tensor:
    """(n, width) of any float type -> float32 rows of norm 1; nothing is checked."""
    return torch.nn.functional.normalize(vectors.float(), dim=-1)


def checked(rows: NDArray[np.float32], name: str) -> NDArray[np.float32]:
    """The result of `normalise`; LaionHpcError if a row is not finite or was zero."""
    # NaN, too, is not above 0.5.
    if not bool((np.einsum("nd,nd->n", rows, rows) > 0.5).all()):
        raise LaionHpcError(
            f"{name}: an embedding is not finite or is zero: these weights overflow in this "
            "precision; set precision: fp32 or bf16"
        )
    return rows


def unit(vectors: torch.Tensor, name: str) -> NDArray[np.float32]:
    """Normalise (n, width) of any float type in float32; LaionHpcError if a row cannot be."""
    return checked(np.asarray(normalise(vectors).cpu().numpy(), np.float32), name)
