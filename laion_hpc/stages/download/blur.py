"""Blurring boxes of an image, such as faces: img2dataset's option, with its geometry.

A box is [left, top, right, bottom], relative to the upright image (0 … 1). As in the blurred
version of ImageNet it is grown by a tenth of its longer side, the blur's sigma is a tenth of the
longest of all boxes' sides, and the mask is blurred too, so that no edge shows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from PIL import Image, ImageDraw, ImageFilter

GROWTH = 0.1
SIGMA = 0.1

Box = Sequence[float]


def are_boxes(boxes: Any) -> bool:
    """True if every box has four finite numbers, left before right and top before bottom."""
    return isinstance(boxes, list) and all(map(_is_box, boxes))


def _is_box(box: Any) -> bool:
    if not isinstance(box, list) or len(box) != 4:
        return False
    if not all(isinstance(n, (int, float)) and math.isfinite(n) for n in box):
        return False
    left, top, right, bottom = box
    return bool(left <= right and top <= bottom)


def blur(image: Image.Image, boxes: Sequence[Box]) -> Image.Image:
    """The image with its boxes blurred; itself if there are none."""
    if not boxes:
        return image
    width, height = image.size
    mask = Image.new("L", image.size, 0)
    draw = ImageDraw.Draw(mask)
    longest = 1.0
    for left, top, right, bottom in boxes:
        x0, x1 = (width * min(max(x, 0.0), 1.0) for x in (left, right))
        y0, y1 = (height * min(max(y, 0.0), 1.0) for y in (top, bottom))
        side = max(x1 - x0, y1 - y0)
        longest = max(longest, side)
        grown = side * GROWTH
        draw.rectangle((x0 - grown, y0 - grown, x1 + grown, y1 + grown), fill=255)
    soft = ImageFilter.GaussianBlur(SIGMA * longest)
    return Image.composite(image.filter(soft), image, mask.filter(soft))
