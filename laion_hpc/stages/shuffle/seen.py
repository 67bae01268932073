"""Bloom filters of what earlier crawls kept of a block, so that it is not taken again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rbloom import Bloom

from laion_hpc.errors import InputError
from laion_hpc.files.atomic import write_bytes
from laion_hpc.stages.shuffle.decisions import Rows
from laion_hpc.stages.shuffle.survey import Keys

_MAGIC = b"laion-hpc seen 1\n"
_SLICE = 1 << 20
_KEY_IS_ITS_HASH = int
"""The hash function of the filters: keys are 128-bit hashes already."""


def seen_in(filters: Sequence[Path], survey: Keys) -> npt.NDArray[np.bool_]:
    """For each row, whether one of the filters holds its key (or, rarely, seems to)."""
    found = np.zeros(len(survey), np.bool_)
    for path in filters:
        bloom = _load(path)
        rows = np.flatnonzero(~found)
        held = np.fromiter((key in bloom for key in _keys(survey, rows)), np.bool_, len(rows))
        found[rows[held]] = True
    return found


def write(path: Path, keys: Keys, false_positive_rate: float) -> None:
    """Write the filter of the keys; the same keys give the same bytes."""
    bloom = Bloom(max(len(keys), 1), false_positive_rate, _KEY_IS_ITS_HASH)
    bloom.update(_keys(keys, np.arange(len(keys))))
    data = bloom.save_bytes()
    write_bytes(path, _MAGIC + hashlib.sha256(data).digest() + data)


def _load(path: Path) -> Bloom:
    """The filter in a file; InputError if it is not exactly what `write` wrote."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: no such filter; has shuffle run for that crawl?") from None
    # rbloom would take any bytes for a filter.
    start = len(_MAGIC) + hashlib.sha256().digest_size
    data = content[start:]
    if content[:start] != _MAGIC + hashlib.sha256(data).digest():
        raise InputError(f"{path}: not a whole filter of seen links; shuffle that crawl again")
    return Bloom.load_bytes(data, _KEY_IS_ITS_HASH)


def _keys(survey: Keys, rows: Rows) -> Iterator[int]:
    """The keys less 2**127: rbloom wants signed ones."""
    for start in range(0, len(rows), _SLICE):
        part = rows[start : start + _SLICE]
        high = (survey.high[part] ^ np.uint64(1 << 63)).view(np.int64)
        for h, low in zip(high.tolist(), survey.low[part].tolist(), strict=True):
            yield h << 64 | low
