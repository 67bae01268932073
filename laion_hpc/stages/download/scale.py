"""Scaling a picture: bicubic, with the filter widened where it shrinks, so without aliasing.

Shrinking is done by cykooz-resizer, a third of Pillow's CPU for the same filter; its bytes do not
depend on the processor's extensions. Pillow enlarges, and shrinks where there is no build of the
other (not x86-64): pictures differ by less than 1 of 255 on average, but their bytes are others
there. (The two passes of the filter are in another order, so that overshoots at hard edges are
cut off otherwise.)
"""

from __future__ import annotations

from PIL import Image

try:
    from cykooz_resizer import FilterType, ResizeAlg, ResizeOptions, Resizer
except ImportError:
    _resizer = None
else:
    _resizer = Resizer()
    # Pillow's bicubic is this one (a = -0.5).
    _bicubic = ResizeOptions(ResizeAlg.convolution(FilterType.catmull_rom))


def scaled(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """An image in mode RGB at another size (width, height in pixels); itself if it has it."""
    if image.size == size:
        return image
    if _resizer is None or size[0] > image.width or size[1] > image.height:
        return image.resize(size, Image.Resampling.BICUBIC)
    out = Image.new("RGB", size)
    _resizer.resize_pil(image, out, _bicubic)
    return out
