"""Decides whether a pair is kept, and if not, why: on scores alone, without I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laion_hpc.config.sections import ThresholdsConfig
from laion_hpc.files.schemas import LANGUAGE_CLASSES

KEPT = "kept"
DISSIMILAR = "dissimilar"
UNSAFE_MINOR = "unsafe_minor"
UNDECODABLE = "undecodable"
DUPLICATE = {kind: f"duplicate_{kind}" for kind in ("exact", "perceptual", "semantic")}
"""By kind: the reason for the drop of a sample that duplicates a kept one of its block."""

STICKY = (UNDECODABLE, UNSAFE_MINOR)
"""Outcomes that no threshold changes."""


def fates(
    similarity: NDArray[np.float32],
    classes: Sequence[str],
    fixed: Sequence[str],
    thresholds: ThresholdsConfig,
) -> list[str]:
    """The outcome of each of n samples: `kept` or the reason for the drop.

    `similarity` (n,) is compared in float32, as it is stored, with the threshold of the sample's
    language class. An outcome of STICKY in `fixed` wins; other values do not count.
    """
    lowest = {name: np.float32(getattr(thresholds, name)) for name in LANGUAGE_CLASSES}
    return [
        fate if fate in STICKY else KEPT if score >= lowest[name] else DISSIMILAR
        for score, name, fate in zip(similarity, classes, fixed, strict=True)
    ]


def counts(outcome: Sequence[str], classes: Sequence[str], nsfw: Sequence[str]) -> dict[str, Any]:
    """Numbers for the ledger: inputs and kept per language class, kept per nsfw class."""
    kept = [fate == KEPT for fate in outcome]
    return {
        "inputs_by_class": dict(Counter(classes)),
        "kept_by_class": dict(Counter(c for c, k in zip(classes, kept, strict=True) if k)),
        "kept_by_nsfw": dict(Counter(c for c, k in zip(nsfw, kept, strict=True) if k)),
    }
