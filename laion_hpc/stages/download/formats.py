"""Which formats of images are decoded."""

from __future__ import annotations

from PIL import Image

from laion_hpc.errors import UsageError

DANGEROUS = frozenset({"EPS", "WMF", "MPEG", "GRIB", "BUFR", "HDF5"})
"""These run a program or need one to be installed: not on what strangers send."""


def check_formats(formats: tuple[str, ...]) -> None:
    """UsageError for a name of a format that Pillow does not read, or that is dangerous."""
    Image.init()
    for name in formats:
        if name not in Image.OPEN or name in DANGEROUS:
            known = ", ".join(sorted(set(Image.OPEN) - DANGEROUS))
            raise UsageError(f"download.formats: {name!r} cannot be read here; there are {known}")
