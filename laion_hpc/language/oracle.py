"""CLD3 by its own binding, cld3-py: what `identify` must agree with, and does without numba."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from laion_hpc.errors import UsageError


def find(
    data: NDArray[np.uint8],
    offsets: NDArray[np.integer],
    min_bytes: int,
    max_bytes: int,
    codes: tuple[str, ...],
) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.bool_]]:
    """Number of the language in `codes`, probability, reliability, of n texts, each (n,).

    The last of `codes` stands for none. UsageError if cld3-py is not installed.
    """
    try:
        import gcld3
    except ModuleNotFoundError:
        raise UsageError(
            "languages are detected by numba or by cld3-py, and neither is installed: "
            "pip install 'laion-hpc[extract]', or cld3-py where numba has no wheel"
        ) from None
    identifier = gcld3.NNetLanguageIdentifier(min_bytes, max_bytes)
    whole = data.tobytes()
    places = offsets.tolist()
    answers = [identifier.FindLanguage(whole[begin:end]) for begin, end in pairwise(places)]
    number = {code: n for n, code in enumerate(codes)}
    none = len(codes) - 1
    return (
        np.array([number.get(one.language, none) for one in answers], np.uint8),
        np.array([one.probability for one in answers], np.float32),
        np.array([one.is_reliable for one in answers], np.bool_),
    )
