"""A blocklist of pictures, found again after scaling and re-encoding: PDQ hashes.

PDQ (Meta's ThreatExchange) is 256 bits; two pictures with at most 31 bits of difference are
taken for the same. Needs `pip install 'laion-hpc[perceptual]'`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from laion_hpc.errors import UsageError
from laion_hpc.files.blocklist import read_digests

LEAST_QUALITY = 50
"""PDQ's own measure, 0 … 100: below it a picture is too smooth to be told from others."""
MOST_PIXELS = 512
"""PDQ shrinks to 64 × 64 anyway; from more than this only the time grows."""


def read(name: str) -> tuple[str, ...]:
    """The digests of a file, one a line (64 hex digits), sorted; UsageError for another file."""
    digests = read_digests(name, "download.perceptual_blocklist", {64: "PDQ hash"})
    try:
        import pdqhash  # noqa: F401
    except ImportError:
        raise UsageError(
            "download.perceptual_blocklist: needs pdqhash: pip install 'laion-hpc[perceptual]'"
        ) from None
    return tuple(sorted(digests))


class Blocklist:
    """Pictures that must not be kept."""

    def __init__(self, digests: tuple[str, ...], distance: int) -> None:
        """`digests` are `read`'s; `distance` is how many of 256 bits may differ."""
        data = b"".join(map(bytes.fromhex, digests))
        self._hashes: NDArray[np.uint8] = np.frombuffer(data, np.uint8).reshape(-1, 32)
        self._distance = distance

    def holds(self, image: Image.Image) -> bool:
        """True if the picture (RGB) is one of the list."""
        bits, quality = pdq(image)
        return quality >= LEAST_QUALITY and self.matches(bits)

    def matches(self, bits: NDArray[np.uint8]) -> bool:
        """True if a hash (32 bytes) is within the distance of one of the list."""
        if not len(self._hashes):
            return False
        apart = np.bitwise_count(self._hashes ^ bits).sum(axis=1, dtype=np.int64)
        return bool(apart.min() <= self._distance)


def pdq(image: Image.Image) -> tuple[NDArray[np.uint8], int]:
    """The PDQ hash (32 bytes) and the quality of a picture in mode RGB."""
    import pdqhash

    small = image
    if max(image.size) > MOST_PIXELS:
        small = image.copy()
        small.thumbnail((MOST_PIXELS, MOST_PIXELS), Image.Resampling.HAMMING)
    bits, quality = pdqhash.compute(np.asarray(small))
    return np.packbits(bits.astype(np.uint8)), int(quality)
