"""The demo's pictures as files: sizes, shapes and formats as various as on the web."""

from __future__ import annotations

import io
import random
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

from laion_hpc.demo.scenes import Scene, render

MIN_BYTES = 6_000
"""Of a picture that is to pass: download drops files below 5,000 bytes, as LAION did."""

_SIZES = {224: 0.08, 256: 0.16, 320: 0.34, 400: 0.2, 512: 0.13, 640: 0.05, 1024: 0.03, 1280: 0.01}
_RENDERED_UP_TO = 640  # larger ones are enlarged: quicker, and what many sites do
_FORMS = {"jpeg": 0.7, "progressive": 0.1, "png": 0.05, "alpha": 0.02, "webp": 0.07, "avif": 0.02,
          "cmyk": 0.015, "palette": 0.01, "bmp": 0.005, "tiff": 0.005}  # fmt: skip
_EXTENSIONS = {"jpeg": "jpg", "progressive": "jpg", "cmyk": "jpg", "gray": "jpg", "alpha": "png",
               "palette": "png"}  # fmt: skip
_TYPES = {"jpg": "image/jpeg", "png": "image/png", "webp": "image/webp", "avif": "image/avif",
          "bmp": "image/bmp", "tiff": "image/tiff"}  # fmt: skip
_ORIENTED = {6: Image.Transpose.ROTATE_90, 3: Image.Transpose.ROTATE_180,
             8: Image.Transpose.ROTATE_270, 2: Image.Transpose.FLIP_LEFT_RIGHT}  # fmt: skip
_WITH_EXIF = ("jpeg", "progressive", "png", "webp")
_EXIF_ORIENTATION, _EXIF_MAKE = 0x0112, 0x010F


@dataclass(frozen=True)
class Picture:
    """One picture: what it shows and how it is stored."""

    number: int
    scene: Scene
    size: int
    """Of the square that shows the scene, pixels; the shorter side."""
    wider: float
    """Longer side over shorter side; below 1 the picture is upright."""
    form: str
    orientation: int
    """EXIF orientation: 1, or one that a viewer must undo."""
    watermark: bool
    hazard: bool
    seed: int

    @property
    def extension(self) -> str:
        """Of its file name."""
        return _EXTENSIONS.get(self.form, self.form)

    @property
    def content_type(self) -> str:
        """Its MIME type."""
        return _TYPES[self.extension]

    @property
    def file(self) -> str:
        """Its place in the demo's folder."""
        return f"images/{self.number // 500:02d}/{self.number:05d}.{self.extension}"

    @property
    def shape(self) -> tuple[int, int]:
        """Width and height in pixels as a viewer shows it."""
        longer = round(self.size * max(self.wider, 1 / self.wider))
        return (longer, self.size) if self.wider >= 1 else (self.size, longer)


def draw_picture(number: int, scene: Scene, rng: random.Random) -> Picture:
    """The storage of a picture, at random."""
    watermark = rng.random() < 0.12
    wider = rng.choice((4 / 3, 3 / 2, 5 / 4, 3 / 4, 2 / 3, 16 / 9)) if rng.random() < 0.4 else 1.0
    form = rng.choices(list(_FORMS), list(_FORMS.values()))[0]
    oriented = form in _WITH_EXIF and rng.random() < 0.05
    return Picture(
        number=number,
        scene=scene,
        size=rng.choices(list(_SIZES), list(_SIZES.values()))[0],
        wider=wider,
        form=form,
        orientation=rng.choice(list(_ORIENTED)) if oriented else 1,
        watermark=watermark,
        hazard=rng.random() < 0.08,
        seed=rng.randrange(1 << 31),
    )


def make(picture: Picture, folder: Path) -> int:
    """Render a picture into its file; returns the file's length in bytes."""
    data = encode(draw(picture), picture)
    path = folder / picture.file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return len(data)


def draw(picture: Picture) -> Image.Image:
    """The picture as a viewer shows it.

    A picture that is not square stands before a blurred copy of itself, as upright videos do, so
    that what a model's central crop sees is the scene.
    """
    large = picture.size > _RENDERED_UP_TO
    side = picture.size // 2 if large else picture.size
    square = render(
        picture.scene,
        size=side,
        watermark=picture.watermark,
        hazard=picture.hazard,
        seed=picture.seed,
    )
    if large:
        square = square.resize((picture.size, picture.size), Image.Resampling.BICUBIC)
    width, height = picture.shape
    if (width, height) == square.size:
        return square
    left, top = (width - picture.size) // 2, (height - picture.size) // 2
    canvas = square.resize((12, 12), Image.Resampling.BOX).resize((width, height))
    canvas.paste(square, (left, top))
    return canvas


def encode(image: Image.Image, picture: Picture) -> bytes:
    """The file of a drawn picture: never below `MIN_BYTES`, whatever its form."""
    turn = _ORIENTED.get(picture.orientation)
    exif = Image.Exif()
    if turn is not None:
        image = image.transpose(turn)
        exif[_EXIF_ORIENTATION] = picture.orientation
        exif[_EXIF_MAKE] = "Demo Camera Works"
    for quality in (86, 95, 100):
        data = _encode(image, picture.form, quality, exif)
        if len(data) >= MIN_BYTES:
            return data
    return _encode(image, "png", 0, exif)


def _encode(image: Image.Image, form: str, quality: int, exif: Image.Exif) -> bytes:
    buffer = io.BytesIO()
    if form in ("jpeg", "progressive", "cmyk", "gray"):
        mode = {"cmyk": "CMYK", "gray": "L"}.get(form, "RGB")
        image.convert(mode).save(
            buffer, "JPEG", quality=quality, progressive=form == "progressive", exif=exif
        )
    elif form in ("png", "alpha", "palette"):
        if form == "alpha":
            image = _with_round_corners(image)
        elif form == "palette":
            image = image.quantize(256)
        image.save(buffer, "PNG", compress_level=3, exif=exif)
    elif form in ("webp", "avif"):
        fast = {"method": 1} if form == "webp" else {"speed": 10}
        image.save(buffer, form.upper(), quality=quality, exif=exif, **fast)
    else:
        image.save(buffer, form.upper(), **({"exif": exif} if form == "tiff" else {}))
    return buffer.getvalue()


def _with_round_corners(image: Image.Image) -> Image.Image:
    mask = Image.new("L", image.size, 0)
    radius = min(image.size) // 8
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, image.width, image.height), radius, fill=255)
    image.putalpha(mask)
    return image
