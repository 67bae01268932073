"""`detect`: the language of many texts at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from laion_hpc.files import utf8
from laion_hpc.language import model, oracle

CODES: tuple[str, ...] = (*model.codes(), "")
"""CLD3's languages in its own order (BCP-47), and last the empty string: none detected."""

HAS_NUMBA = find_spec("numba") is not None
"""Without it CLD3's own binding answers, in four times the time."""

UNDETERMINED = len(CODES) - 1
"""The index in CODES of a text in which no language was detected."""


class Detections(NamedTuple):
    """What is known of n texts, in their order."""

    language: NDArray[np.uint8]
    """(n,) index into CODES."""
    probability: NDArray[np.float32]
    """(n,) of the language, 0 to 1; 0 where it is UNDETERMINED."""
    reliable: NDArray[np.bool_]
    """(n,) whether CLD3 calls its answer reliable; False where it is UNDETERMINED."""


def detect(texts: Sequence[str], min_bytes: int = 5, max_bytes: int = 2000) -> Detections:
    """The language of each text; the answer depends on that text alone.

    A text of which fewer than `min_bytes` bytes of letters are left has no language; of a longer
    one than `max_bytes` five equally spaced snippets are read. What comes after 10,000 bytes, a
    control character, a lone surrogate or a non-character is not read.
    """
    encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
    offsets = np.zeros(len(texts) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, encoded), np.int64, len(texts)), out=offsets[1:])
    data = np.frombuffer(bytearray().join(encoded), np.uint8)
    return detect_utf8(data, offsets, min_bytes, max_bytes)


def detect_column(texts: pa.StringArray, min_bytes: int = 5, max_bytes: int = 2000) -> Detections:
    """`detect` for a column of Arrow without nulls, of type string."""
    if not len(texts):
        return detect((), min_bytes, max_bytes)
    offsets, data = utf8.of_column(texts)
    return detect_utf8(data, offsets, min_bytes, max_bytes)


def detect_utf8(
    data: NDArray[np.uint8],
    offsets: NDArray[np.integer],
    min_bytes: int = 5,
    max_bytes: int = 2000,
) -> Detections:
    """`detect` for n texts `data[offsets[i]:offsets[i + 1]]`, as Arrow keeps them.

    `offsets` is (n + 1,) and ascends. What comes after malformed UTF-8 is not read. Other Python
    threads may run meanwhile.
    """
    if not 0 <= min_bytes < max_bytes:
        raise ValueError(f"0 <= min_bytes < max_bytes must hold, got {min_bytes} and {max_bytes}")
    places = np.array(offsets, np.int64)  # the loop trusts them
    if not len(places) or places[0] < 0 or places[-1] > len(data) or (np.diff(places) < 0).any():
        raise ValueError("offsets must ascend within the data")
    if not HAS_NUMBA:
        return Detections(*oracle.find(data, places, min_bytes, max_bytes, CODES))
    number = len(places) - 1
    found = Detections(
        np.empty(number, np.uint8), np.empty(number, np.float32), np.empty(number, np.bool_)
    )
    _loop()(_writeable(data), places, min_bytes, max_bytes, model.load(), *found)
    return found


def _writeable(data: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The same, or a copy, of the one kind that the loop is compiled for."""
    if data.flags.writeable and data.flags.c_contiguous:
        return data
    return np.array(data)


@lru_cache(maxsize=1)
def _loop() -> Callable[..., Any]:
    """The compiled loop; the first call in a process imports numba, or compiles."""
    from laion_hpc.language.loop import ready

    return ready()
