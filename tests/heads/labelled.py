"""Labelled embeddings that a head can learn, and those that it cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tests.stages.tag.blocks import unit_vectors

WIDTH = 12


def vectors_and_labels(
    count: int, seed: int = 0, rare: float = 0.5
) -> tuple[NDArray[np.float16], NDArray[np.int64]]:
    """Unit vectors; 1 for the share `rare` of them that lie farthest along a curved measure, which
    no linear head finds."""
    vectors = unit_vectors(count, WIDTH, seed)
    x = vectors.astype(np.float64)
    measure = x[:, 0] + 2 * np.abs(x[:, 1])
    return vectors, (measure > np.quantile(measure, 1 - rare)).astype(np.int64)


def write_labels(path: Path, **columns: Any) -> Path:
    """A .csv or .parquet."""
    import pyarrow.csv

    table = pa.table({name: list(values) for name, values in columns.items()})
    if path.suffix == ".csv":
        pyarrow.csv.write_csv(table, path)
    else:
        pq.write_table(table, path)
    return path
