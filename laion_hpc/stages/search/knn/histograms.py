"""Histograms of the best results, for the sliders of the filters."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Edges = tuple[float, ...]
EDGES: dict[str, Edges] = {
    "aesthetic": tuple(step / 2 for step in range(21)),
    "pwatermark": tuple(round(step / 20, 2) for step in range(21)),
    "punsafe": tuple(round(step / 20, 2) for step in range(21)),
    "size": (0, 128, 256, 384, 512, 768, 1024, 1536, 2048, 4096),
}
"""Ends of the bars. `size` is the shorter side of the original in pixels; the others are
columns."""


TWENTIETHS, STEPS = 20, 40


def edges_of(values: npt.NDArray[Any]) -> Edges:
    """Ends of the bars of a column whose range depends on the model, as cosines do.

    They cover 99% of the values in steps of 0.01 (0.02 where that would give more than 40 bars).
    """
    known = values[np.isfinite(values)].astype(np.float64)
    low, high = np.quantile(known, (0.005, 0.995)) if len(known) else (0.0, 1.0)
    first = math.floor(round(low * TWENTIETHS, 3))
    last = max(first + 1, math.ceil(round(high * TWENTIETHS, 3)))
    step = 1 if (last - first) * 5 <= STEPS else 2
    return tuple(round(i / 100, 2) for i in range(first * 5, last * 5 + 1, step)) + (
        (last / TWENTIETHS,) if (last - first) * 5 % step else ()
    )


def spread(edges: Edges, values: npt.NDArray[Any]) -> dict[str, Any]:
    """Edges (n + 1) and counts (n); a value outside counts in the first or last bar, NaN (no score)
    in none."""
    bounds = np.asarray(edges)
    known = values[np.isfinite(values)].astype(np.float64)
    counts, _ = np.histogram(np.clip(known, bounds[0], bounds[-1]), bounds)
    return {"edges": list(edges), "counts": counts.tolist()}
