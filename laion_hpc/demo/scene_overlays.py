"""What is laid over a demo picture: a stock-photo watermark, and a warning sign."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_WORDS = ("STOCKPIX", "PREVIEW", "SAMPLE ©", "photobank")


@lru_cache(maxsize=32)
def _lettering(word: str, size: int) -> Image.Image:
    """A grid of slanted words, as an alpha mask three pictures wide to crop from."""
    font = ImageFont.load_default(max(8, round(size * 0.13)))
    side = size * 2
    mask = Image.new("L", (side, side), 0)
    draw = ImageDraw.Draw(mask)
    left, top, right, bottom = draw.textbbox((0, 0), word, font=font)
    step_x, step_y = int((right - left) * 1.22) + 2, int((bottom - top) * 2.3) + 2
    stroke = max(1, size // 160)
    for row, y in enumerate(range(0, side, step_y)):
        for x in range(-(row % 2) * step_x // 2, side, step_x):
            draw.text((x, y), word, font=font, fill=255, stroke_width=stroke)
    turned = mask.rotate(28, Image.Resampling.BICUBIC)
    edge = int(side * 0.14)
    return turned.crop((edge, edge, side - edge, side - edge))


def stamp_watermark(picture: Image.Image, rng: np.random.Generator) -> None:
    """Lay semi-transparent slanted text over the whole picture, in place."""
    size = picture.width
    mask = _lettering(_WORDS[int(rng.integers(len(_WORDS)))], size)
    x, y = (int(v) for v in rng.integers(0, mask.width - size + 1, 2))
    alpha = int(rng.integers(115, 155))
    window = mask.crop((x, y, x + size, y + size))
    shadow = window.point([v * alpha // 400 for v in range(256)])
    offset = max(1, size // 160)
    picture.paste((20, 20, 24), (offset, offset), shadow)
    picture.paste((250, 250, 250), (0, 0), window.point([v * alpha // 255 for v in range(256)]))


def stamp_hazard(picture: Image.Image, rng: np.random.Generator) -> None:
    """Put a black and yellow warning triangle into one corner of the picture, in place."""
    size = picture.width
    radius = float(rng.uniform(0.15, 0.19)) * size
    x = float(rng.choice([0.2, 0.8]) + rng.uniform(-0.02, 0.02)) * size
    y = float(rng.choice([0.21, 0.8]) + rng.uniform(-0.02, 0.02)) * size
    turn = math.radians(float(rng.uniform(-5, 5)))
    side = (int(radius * 2.6) + 2) * 2
    tile = Image.new("RGBA", (side, side), (0, 0, 0, 0))
    draw = ImageDraw.Draw(tile)

    def triangle(scale: float) -> list[tuple[float, float]]:
        reach = radius * 2 * scale
        angles = (turn - math.pi / 2 + k * 2 * math.pi / 3 for k in range(3))
        return [(side / 2 + reach * math.cos(a), side / 2 + reach * math.sin(a)) for a in angles]

    outer = triangle(1.0)
    draw.line([*outer, outer[0], outer[1]], fill=(16, 16, 16, 255), width=int(radius * 0.36),
              joint="curve")  # fmt: skip
    draw.polygon(outer, fill=(16, 16, 16, 255))
    draw.polygon(triangle(0.82), fill=(255, 204, 0, 255))
    middle, unit = side / 2, radius * 2
    draw.polygon(
        [(middle - unit * 0.11, middle - unit * 0.44), (middle + unit * 0.11, middle - unit * 0.44),
         (middle + unit * 0.06, middle + unit * 0.1), (middle - unit * 0.06, middle + unit * 0.1)],
        fill=(16, 16, 16, 255),
    )  # fmt: skip
    dot = unit * 0.09
    draw.ellipse([middle - dot, middle + unit * 0.17, middle + dot, middle + unit * 0.17 + 2 * dot],
                 fill=(16, 16, 16, 255))  # fmt: skip
    tile = tile.reduce(2)
    picture.paste(tile, (round(x - tile.width / 2), round(y - tile.height / 2)), tile)
