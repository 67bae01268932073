"""The last step of every tower: float32 rows of norm 1."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from laion_hpc.errors import LaionHpcError


def unit(vectors: torch.Tensor, name: str) -> NDArray[np.float32]:
    """Normalise (n, width) of any float type in float32; LaionHpcError if a row cannot be."""
    vectors = vectors.float()
    norms = vectors.norm(dim=-1)
    if not bool((torch.isfinite(norms) & (norms > 0)).all()):
        raise LaionHpcError(
            f"{name}: an embedding is not finite or is zero: these weights overflow in this "
            "precision; set precision: fp32 or bf16"
        )
    return np.asarray(torch.nn.functional.normalize(vectors, dim=-1).cpu().numpy(), np.float32)
