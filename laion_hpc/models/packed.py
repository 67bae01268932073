"""Computes a transformer's matrix products on a CPU with oneDNN; weights are packed once.

In fp32 torch multiplies with MKL, which is slow on CPUs that are not Intel's: 100 against 235
GFLOP/s on a Zen 5 core. In bf16 its own attention takes a slow path for some lengths. The results
agree to the last bits. A model in bf16 does not change if oneDNN cannot pack it: torch then
multiplies by itself, slower and as exactly.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from laion_hpc.models import runtime


def pack(model: nn.Module) -> None:
    """Replace the linear layers and attentions of a model's transformer blocks by packed ones.

    It changes only blocks that are known to call their layers and never to read their weights. It
    does nothing if torch is built without oneDNN, or for bf16 if the processor cannot.
    """
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return
    types = {torch.float32} | ({torch.bfloat16} if runtime.packs_bf16() else set())
    for block in list(model.modules()):
        if type(block).__name__ == "ResidualAttentionBlock":  # of open_clip
            parents = [block, *block.get_submodule("mlp").modules()]
        elif type(block).__module__.startswith("transformers.models."):
            parents = [block]
        else:
            continue
        for parent in parents:
            for name, child in list(parent.named_children()):
                if type(child) is nn.Linear and child.weight.dtype in types:
                    setattr(parent, name, PackedLinear(child.weight, child.bias))
                elif type(child) is nn.MultiheadAttention and PackedAttention.fits(child, types):
                    setattr(parent, name, PackedAttention(child))


class PackedLinear(nn.Module):
    """x @ weight.T + bias."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        super().__init__()
        self.weight = weight.new_empty(0)  # open_clip reads its dtype; the numbers are packed
        self._packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous())
        self._bias = None if bias is None else bias.detach()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(…, in) -> (…, out)."""
        found: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
            x.contiguous(), self._packed, self._bias, "none", [], ""
        )
        return found


class PackedAttention(nn.Module):
    """nn.MultiheadAttention of one sequence with itself, batch first."""

    @staticmethod
    def fits(attention: nn.MultiheadAttention, types: set[torch.dtype]) -> bool:
        """Whether this one is of that kind, its weights of one of these types."""
        weight = attention.in_proj_weight
        return (
            attention.batch_first
            and weight is not None
            and weight.dtype in types
            and attention.bias_k is None
            and not attention.add_zero_attn
        )

    def __init__(self, attention: nn.MultiheadAttention) -> None:
        super().__init__()
        self._heads = attention.num_heads
        self._inward = PackedLinear(attention.in_proj_weight, attention.in_proj_bias)
        self._outward = PackedLinear(attention.out_proj.weight, attention.out_proj.bias)
        self.batch_first = True

    def forward(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        need_weights: bool = False,  # noqa: ARG002
        attn_mask: torch.Tensor | None = None,
        **_: Any,
    ) -> tuple[torch.Tensor, None]:
        """(n, length, width) -> the same shape; no weights are given."""
        assert key is query and value is query
        n, length, width = query.shape
        parts = self._inward(query).view(n, length, 3, self._heads, -1).permute(2, 0, 3, 1, 4)
        q, k, v = parts.unbind(0)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=attn_mask)
        return self._outward(mixed.transpose(1, 2).reshape(n, length, width)), None
