"""Images for the tests of `download`, made on the spot."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

from PIL import Image, ImageChops, ImageDraw, ImageStat

from laion_hpc.config.sections import DownloadConfig
from laion_hpc.stages.download.image import Rules
from laion_hpc.stages.download.job import _rules

RULES = _rules(DownloadConfig())


def rules(**changes: Any) -> Rules:
    """The default rules with changes."""
    return _rules(DownloadConfig(**changes))


def photo(width: int = 400, height: int = 300, mode: str = "RGB") -> Image.Image:
    """A picture that looks different in each corner and is smooth in between."""
    small = Image.new("RGB", (2, 2))
    for place, colour in zip(
        [(0, 0), (1, 0), (0, 1), (1, 1)],
        [(250, 40, 40), (40, 200, 60), (30, 60, 220), (230, 220, 40)],
        strict=True,
    ):
        small.putpixel(place, colour)
    image = small.resize((width, height), Image.Resampling.BILINEAR)
    ImageDraw.Draw(image).ellipse((width // 8, height // 8, width // 3, height // 3), "white")
    return image.convert(mode)


def encoded(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    """The image in a file format."""
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_bomb(width: int = 60_000, height: int = 60_000) -> bytes:
    """A small PNG that claims to be huge."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(bytes(100_000)))
    return b"\x89PNG\r\n\x1a\n" + header + data + chunk(b"IEND", b"")


def avif_bomb(side: int = 3_000) -> bytes:
    """An AVIF of one colour: 9 megapixels in about a kilobyte."""
    return encoded(Image.new("RGB", (side, side), "white"), "AVIF", speed=10)


def difference(one: Image.Image, other: Image.Image) -> float:
    """Mean absolute difference of two pictures of a size, in steps of 255."""
    assert one.size == other.size
    steps = ImageStat.Stat(ImageChops.difference(one.convert("RGB"), other.convert("RGB")))
    return sum(steps.mean) / len(steps.mean)


def stored(image: bytes) -> Image.Image:
    """A stored picture, decoded."""
    return Image.open(io.BytesIO(image)).convert("RGB")
