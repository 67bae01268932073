"""CLD3's weights and its table of characters, as the compiled loops want them."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FILE = Path(__file__).with_name("cld3.npz")
"""Made from CLD3's source by scripts/make_language_model.py; see NOTICE.md."""

LOWER_BITS = 21
"""Bits of a code point."""

INVALID = 255
"""Stands for the script of code points that may not be interchanged."""

LANES = 16
"""Columns of weights are in groups of this number, the last filled up with zeros."""


class Model(NamedTuple):
    """All float32 but `characters`."""

    characters: NDArray[np.uint32]
    """(0x110000,) bits 0-20: the code point in lower case; above them: the number of its script."""
    unigrams: NDArray[np.float32]
    """(101, 16), the embedding of each hash of one character, and a row of zeros; and so on."""
    bigrams: NDArray[np.float32]
    """(1001, 16)"""
    trigrams: NDArray[np.float32]
    """(5001, 16)"""
    quadgrams: NDArray[np.float32]
    """(5001, 16)"""
    relevant_scripts: NDArray[np.float32]
    """(12, 8)"""
    scripts: NDArray[np.float32]
    """(103, 8)"""
    hidden: NDArray[np.float32]
    """(13, 80, 16): 208 columns in groups, of each its 80 rows."""
    hidden_bias: NDArray[np.float32]
    """(208,)"""
    output: NDArray[np.float32]
    """(7, 208, 16): of the 112 columns those after the 109th are padding."""
    output_bias: NDArray[np.float32]
    """(112,)"""


@lru_cache(maxsize=1)
def load() -> Model:
    """The model; some 7 MB, read once per process."""
    with np.load(FILE, allow_pickle=False) as arrays:

        def embedding(name: str) -> NDArray[np.float32]:
            centred = arrays[name].astype(np.float32) - np.float32(128)
            return np.ascontiguousarray(centred * arrays[f"{name}_scales"][:, None])

        def by_hash(name: str) -> NDArray[np.float32]:
            return np.pad(embedding(name), ((0, 1), (0, 0)))

        characters = np.arange(0x110000, dtype=np.uint32)
        lower = arrays["lower"]
        characters[lower[:, 0]] = lower[:, 1]
        characters |= arrays["script_of"].astype(np.uint32) << np.uint32(LOWER_BITS)

        def in_groups(weights: NDArray[np.float32]) -> NDArray[np.float32]:
            grouped = weights.reshape(len(weights), -1, LANES).transpose(1, 0, 2)
            return np.ascontiguousarray(grouped)

        missing = -len(arrays["output_bias"]) % LANES
        return Model(
            characters,
            by_hash("unigrams"),
            by_hash("bigrams"),
            by_hash("trigrams"),
            by_hash("quadgrams"),
            embedding("relevant_scripts"),
            embedding("scripts"),
            in_groups(arrays["hidden"]),
            arrays["hidden_bias"],
            in_groups(np.pad(arrays["output"], ((0, 0), (0, missing)))),
            np.pad(arrays["output_bias"], (0, missing)),
        )


@lru_cache(maxsize=1)
def codes() -> tuple[str, ...]:
    """The languages in the model's order."""
    with np.load(FILE, allow_pickle=False) as arrays:
        return tuple(map(str, arrays["codes"]))
