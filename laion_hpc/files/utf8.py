"""Strings as Arrow keeps them, for compiled loops over their bytes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def of_column(strings: pa.StringArray) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint8]]:
    """Offsets (rows + 1,) and UTF-8 of a column without nulls, of type string; nothing is copied.

    String `n` is `data[offsets[n]:offsets[n + 1]]`. Of a slice, `data` is that of the whole.
    """
    if not len(strings):
        return np.zeros(1, np.int32), np.frombuffer(b"", np.uint8)
    _, ends, data = strings.buffers()
    offsets = np.frombuffer(ends, np.int32)[strings.offset : strings.offset + len(strings) + 1]
    # Without any character there may be no buffer of them.
    return offsets, np.frombuffer(data or b"", np.uint8)
