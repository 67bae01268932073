"""The language columns of many texts: CLD3's answers, and the class that follows from them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from laion_hpc.config import Config
from laion_hpc.files.schemas import LANGUAGE_CLASSES
from laion_hpc.language import CODES, UNDETERMINED, Detections, detect_column

_ENGLISH = CODES.index("en")
_EN, _MULTI, _NOLANG = (LANGUAGE_CLASSES.index(name) for name in ("en", "multi", "nolang"))


def classify(
    found: Detections, min_probability: float
) -> np.ndarray[tuple[int], np.dtype[np.int8]]:
    """LAION-5B's three classes, as indices into `LANGUAGE_CLASSES`.

    A text is of no language if CLD3 detects none, calls its answer unreliable, or gives it less
    than the threshold. Code and probability are kept in any case.
    """
    sure = (
        (found.language != UNDETERMINED)
        & found.reliable
        & (found.probability >= np.float32(min_probability))
    )
    known = np.where(found.language == _ENGLISH, _EN, _MULTI)
    return np.where(sure, known, _NOLANG).astype(np.int8)


def language_columns(texts: pa.StringArray, config: Config) -> tuple[pa.Array, ...]:
    """language, language_probability, language_reliable and language_class of each text.

    Each distinct text is asked about once: the same alt comes again and again within a site.
    """
    keys = config.extract
    distinct = texts.dictionary_encode()
    found = detect_column(distinct.dictionary, keys.language_min_bytes, keys.language_max_bytes)
    which = distinct.indices.to_numpy()
    classes = classify(found, keys.language_min_probability)
    return (
        _named(found.language[which], CODES),
        pa.array(found.probability[which], pa.float32()),
        pa.array(found.reliable[which], pa.bool_()),
        _named(classes[which], LANGUAGE_CLASSES),
    )


def _named(index: np.ndarray[tuple[int], np.dtype[np.integer]], names: tuple[str, ...]) -> pa.Array:
    return pa.array(names, pa.string()).take(pa.array(index))
