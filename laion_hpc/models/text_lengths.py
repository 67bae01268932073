"""Embeds texts with an open_clip tower without the padding behind them.

open_clip pads every text to the context length (77), and alt texts are short: most of the work goes
into padding that cannot change the result. A causal tower never looks behind the end-of-text
token whose output it takes; a tower of transformers masks its padding.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch

STEP = 8
"""Lengths are rounded up to this multiple: a GPU then chooses kernels for few shapes."""


class TextEncoder:
    """An open_clip model's text tower, for batches of token ids (n, context length)."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._length = _length_rule(model)
        self._of_length: dict[int, Any] = {}

    def trim(self, tokens: torch.Tensor) -> torch.Tensor:
        """Leave out columns that cannot change the result: (n, context length) -> (n, length)."""
        length = self._length(tokens)
        return tokens[:, : -(-length // STEP) * STEP]

    def encode(self, tokens: torch.Tensor) -> torch.Tensor:
        """The result of `trim` -> (n, width), not normalised."""
        length = tokens.shape[1]
        if length not in self._of_length:
            self._of_length[length] = _shortened(self._model, length)
        found: torch.Tensor = self._of_length[length].encode_text(tokens)
        return found


def _length_rule(model: Any) -> Callable[[torch.Tensor], int]:
    """The number of columns of a batch of tokens that matter to this model."""
    from open_clip.model import CLIP

    if type(model) is CLIP:
        causal = model.attn_mask is not None and bool(torch.isinf(model.attn_mask[0, -1]))
        if causal and model.text_pool_type == "argmax":  # the end of text has the highest id
            return lambda tokens: int(tokens.argmax(dim=-1).max()) + 1
    padding = getattr(getattr(getattr(model, "text", None), "config", None), "pad_token_id", None)
    if padding is not None:  # a tower of transformers, which masks padding
        return lambda tokens: int((tokens != padding).any(dim=0).nonzero().max()) + 1
    return lambda tokens: tokens.shape[1]


def _shortened(model: Any, length: int) -> Any:
    """The same model, sharing all weights, with a context of `length`."""
    if not hasattr(model, "positional_embedding") or length >= len(model.positional_embedding):
        return model
    short = copy.copy(model)
    short._parameters = dict(model._parameters)
    short._buffers = dict(model._buffers)
    short.positional_embedding = torch.nn.Parameter(
        model.positional_embedding[:length], requires_grad=False
    )
    short.attn_mask = model.attn_mask[:length, :length]
    return short
