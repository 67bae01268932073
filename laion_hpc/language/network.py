"""CLD3's network on a text's features: one hidden layer with ReLU, a softmax over the languages.

Sums are taken in float32 in a fixed order, whatever texts go together.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from laion_hpc.language.model import LANES
from laion_hpc.runtime.compiled import part

HIDDEN = 208
LANGUAGES = 109
TOGETHER = 4
"""Texts that go through the network together."""

_TERMS = 14
"""Of the series for exp: its error is below 1e-11 of the value, for arguments from -32 to 0."""
_ZERO = np.float32(0)

Array = Any


@part
def _exp(x: float) -> float:
    """e^x for x up to 0, and next to nothing below -32."""
    small = max(x, -32.0) / 32
    power = 1.0
    for n in range(_TERMS, 0, -1):
        power = 1 + power * small * (1 / n)
    for _ in range(5):
        power *= power
    return power


@part
def _plus_products(sums: Any, weights: Array, tile: int, row: int, value: Any) -> Any:
    """LANES sums and what is added to them; a tuple stays in registers."""
    return (
        sums[0] + weights[tile, row, 0] * value,
        sums[1] + weights[tile, row, 1] * value,
        sums[2] + weights[tile, row, 2] * value,
        sums[3] + weights[tile, row, 3] * value,
        sums[4] + weights[tile, row, 4] * value,
        sums[5] + weights[tile, row, 5] * value,
        sums[6] + weights[tile, row, 6] * value,
        sums[7] + weights[tile, row, 7] * value,
        sums[8] + weights[tile, row, 8] * value,
        sums[9] + weights[tile, row, 9] * value,
        sums[10] + weights[tile, row, 10] * value,
        sums[11] + weights[tile, row, 11] * value,
        sums[12] + weights[tile, row, 12] * value,
        sums[13] + weights[tile, row, 13] * value,
        sums[14] + weights[tile, row, 14] * value,
        sums[15] + weights[tile, row, 15] * value,
    )


@part
def _biases(bias: Array, at: int) -> Any:
    return (
        bias[at + 0],
        bias[at + 1],
        bias[at + 2],
        bias[at + 3],
        bias[at + 4],
        bias[at + 5],
        bias[at + 6],
        bias[at + 7],
        bias[at + 8],
        bias[at + 9],
        bias[at + 10],
        bias[at + 11],
        bias[at + 12],
        bias[at + 13],
        bias[at + 14],
        bias[at + 15],
    )


@part
def _layer(inputs: Array, weights: Array, bias: Array, sums: Array) -> None:
    """Write `bias` plus the rows of `weights` times `inputs`, in their order, for TOGETHER texts.

    Of each group of LANES columns the sums stay in registers, and each weight is read once.
    """
    for tile in range(weights.shape[0]):
        at = LANES * tile
        one = two = three = four = _biases(bias, at)
        for row in range(weights.shape[1]):
            one = _plus_products(one, weights, tile, row, inputs[0, row])
            two = _plus_products(two, weights, tile, row, inputs[1, row])
            three = _plus_products(three, weights, tile, row, inputs[2, row])
            four = _plus_products(four, weights, tile, row, inputs[3, row])
        for k in range(LANES):
            sums[0, at + k] = one[k]
            sums[1, at + k] = two[k]
            sums[2, at + k] = three[k]
            sums[3, at + k] = four[k]


@part
def infer(inputs: Array, model: Any, hidden: Array, scores: Array) -> None:
    """Write the scores of all languages for TOGETHER texts."""
    _layer(inputs, model.hidden, model.hidden_bias, hidden)
    for text in range(TOGETHER):
        for n in range(HIDDEN):
            hidden[text, n] = max(hidden[text, n], _ZERO)
    _layer(hidden, model.output, model.output_bias, scores)


@part
def most_likely(scores: Array, text: int) -> Any:
    """The language with the highest score of one of the texts, and its probability."""
    best = 0
    most = scores[text, 0]
    for n in range(1, LANGUAGES):
        if scores[text, n] > most:
            best, most = n, scores[text, n]
    for n in range(scores.shape[1]):
        scores[text, n] = _exp(scores[text, n] - most)
    rest = np.float32(0)
    for n in range(LANGUAGES):
        rest += scores[text, n]
    log_sum = np.float32(most + np.float32(math.log(rest)))
    return best, np.float32(_exp(most - log_sum))
