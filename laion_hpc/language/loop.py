"""The loop over texts, compiled whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from laion_hpc.language import model
from laion_hpc.language.features import INPUTS, RELEVANT_SCRIPTS, features
from laion_hpc.language.letters import PREDICTIONS, ROOM, letters, read, snippets, squeeze
from laion_hpc.language.network import HIDDEN, LANGUAGES, TOGETHER, infer, most_likely
from laion_hpc.runtime.compiled import compiled

RELIABLE = 0.7
RELIABLE_HR_BS = 0.5
"""Croatian and Bosnian are too alike for more (kReliabilityHrBsThreshold)."""

_HR, _BS = model.codes().index("hr"), model.codes().index("bs")

Array = Any


def identify(
    data: Array,
    offsets: Array,
    min_bytes: int,
    max_bytes: int,
    weights: Any,
    language: Array,
    probability: Array,
    reliable: Array,
) -> None:
    """Fill the last three, (n,), for n texts in UTF-8, `data[offsets[i]:offsets[i + 1]]`."""
    out = np.empty(ROOM, np.uint8)
    chosen = np.empty(ROOM, np.uint8)
    # Words are marked by three bytes for a space.
    marked = np.empty(3 * ROOM, np.uint8)
    codes = np.empty(3 * ROOM, np.int32)
    left = np.empty(3 * ROOM, np.uint8)
    words = np.empty(3 * ROOM, np.uint32)
    mixed = np.empty(3 * ROOM, np.uint32)
    rows = np.empty((4, 3 * ROOM), np.uint16)
    counts = np.empty(RELEVANT_SCRIPTS, np.int64)
    predictions = np.zeros(PREDICTIONS, np.uint32)
    inputs = np.zeros((TOGETHER, INPUTS), np.float32)
    hidden = np.empty((TOGETHER, HIDDEN), np.float32)
    scores = np.empty((TOGETHER, len(weights.output_bias)), np.float32)
    waiting = np.empty(TOGETHER, np.int64)
    many = 0
    for n in range(len(language)):
        language[n], probability[n], reliable[n] = LANGUAGES, 0, False
        stop, known = read(data, offsets[n], offsets[n + 1], weights.characters, codes)
        size = letters(codes, stop, known, weights.characters, out)
        if size >= min_bytes:
            size = squeeze(out, size, predictions, codes)
        if size >= min_bytes:
            text = out
            if size > max_bytes:
                size = snippets(out, size, max_bytes, chosen)
                text = chosen
            features(
                text, size, weights, inputs, many, marked, codes, left, words, mixed, rows, counts
            )
            waiting[many] = n
            many += 1
        if many < TOGETHER and n < len(language) - 1:
            continue
        infer(inputs, weights, hidden, scores)
        for k in range(many):
            best, likely = most_likely(scores, k)
            language[waiting[k]], probability[waiting[k]] = best, likely
            least = np.float32(RELIABLE_HR_BS if best in (_HR, _BS) else RELIABLE)
            reliable[waiting[k]] = likely >= least
        many = 0


def ready() -> Callable[..., Any]:
    """`identify` in machine code."""
    return compiled(
        identify,
        np.empty(0, np.uint8),
        np.zeros(1, np.int64),
        0,
        1,
        model.load(),
        np.empty(0, np.uint8),
        np.empty(0, np.float32),
        np.empty(0, np.bool_),
    )
