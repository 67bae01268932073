"""Every mode that Pillow decodes to, as 8-bit RGB; what is transparent becomes white."""

from __future__ import annotations

from PIL import Image

WHITE = (255, 255, 255)
STRIP_PIXELS = 4_000_000
"""Composited at a time, so that a large image with alpha does not take its memory twice."""


def to_rgb(image: Image.Image) -> Image.Image:
    """The decoded image (its first frame) in mode RGB.

    16-bit and float samples are scaled to 8 bits; Pillow's own conversion would clip them, to
    near white. Raises ValueError for modes that cannot be converted.
    """
    if image.mode.startswith("I;16"):
        return _from_16_bits(image)
    if image.mode in ("I", "F"):
        return _from_wide(image)
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        return _on_white(image)
    return image if image.mode == "RGB" else image.convert("RGB")


def _from_16_bits(image: Image.Image) -> Image.Image:
    if image.mode != "I;16":
        image = image.convert("I;16")
    # 65535 / 257 = 255; the conversion that follows cuts the fraction off, hence the half.
    return image.point(lambda value: value * (1 / 257) + 0.5).convert("L").convert("RGB")


def _from_wide(image: Image.Image) -> Image.Image:
    """32-bit integers or floats: by their range, as no header tells what white is."""
    low, high = (float(bound) for bound in image.getextrema())  # type: ignore[arg-type]
    if not (low == low and high == high):
        raise ValueError("not a number among the pixels")
    if image.mode == "F" and high <= 1.0:
        white = 1.0
    elif high <= 255:
        white = 255.0
    elif high <= 65_535:
        white = 65_535.0
    else:
        white = high
    factor = 255.0 / white
    return image.convert("F").point(lambda value: value * factor + 0.5).convert("L").convert("RGB")


def _on_white(image: Image.Image) -> Image.Image:
    out = Image.new("RGB", image.size, WHITE)
    rows = max(1, STRIP_PIXELS // image.width)
    for top in range(0, image.height, rows):
        box = (0, top, image.width, min(top + rows, image.height))
        strip = image.crop(box)
        # `crop` keeps the palette but not always what is transparent in it.
        if "transparency" in image.info:
            strip.info["transparency"] = image.info["transparency"]
        strip = strip.convert("RGBA")
        out.paste(strip, (0, top), strip)
    return out
