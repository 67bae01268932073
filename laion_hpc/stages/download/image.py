"""One image: from the bytes that a server sent to the bytes that are stored, or a reason why not.

Runs in a decoder process of its own (`decoder`), since image libraries crash on some of what
the web sends. The header is judged before anything is decoded, so a bomb costs nothing.
"""

from __future__ import annotations

import hashlib
import io
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PIL import AvifImagePlugin, Image, ImageFile, ImageOps, UnidentifiedImageError

from laion_hpc.stages.download.blur import Box, are_boxes, blur
from laion_hpc.stages.download.exif import exif_json, orientation_of
from laion_hpc.stages.download.pixels import to_rgb
from laion_hpc.stages.download.png import without_damaged_metadata
from laion_hpc.stages.download.resize import Plan, plan_resize
from laion_hpc.stages.download.scale import scaled

if TYPE_CHECKING:
    # Loaded where there is a list: numpy takes a decoder's memory and time to start.
    from laion_hpc.stages.download.perceptual import Blocklist

# The header's pixel count is judged here, against the config; Pillow's own warning is not needed.
Image.MAX_IMAGE_PIXELS = None
ImageFile.LOAD_TRUNCATED_IMAGES = False
# One process decodes one image: threads would only take cores from the others.
AvifImagePlugin.DEFAULT_MAX_THREADS = 1

BACKGROUND = (255, 255, 255)
_SAVED_AS = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}


@dataclass(frozen=True)
class Rules:
    """What is accepted and what is made of it; the keys of the config of the same names."""

    formats: tuple[str, ...]
    max_pixels: int
    min_side: int
    max_aspect_ratio: float
    resize_mode: str
    image_size: int
    resize_only_if_bigger: bool
    skip_reencode: bool
    encode_format: str
    encode_quality: int
    perceptual_blocklist: str
    perceptual_distance: int


@dataclass
class Picture:
    """The stored image and what is known of the downloaded one; no image if there is a reason.

    `original_width` and `original_height` are pixels of the image as it is to be seen, after
    its EXIF orientation. The times are CPU seconds.
    """

    reason: str = ""
    image: bytes = b""
    format: str = ""
    width: int = 0
    height: int = 0
    original_width: int = 0
    original_height: int = 0
    exif: str = ""
    sha256: str = ""
    md5: str = ""
    decode_seconds: float = 0.0
    resize_seconds: float = 0.0
    encode_seconds: float = 0.0


class _Refused(Exception):  # noqa: N818
    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def digest(body: bytes | bytearray) -> tuple[str, str]:
    """SHA-256 and MD5 of a body, hex."""
    return (
        hashlib.sha256(body).hexdigest(),
        hashlib.md5(body, usedforsecurity=False).hexdigest(),
    )


def blocklist(rules: Rules) -> Blocklist | None:
    """The pictures that the rules forbid; UsageError if their file cannot be read."""
    if not rules.perceptual_blocklist:
        return None
    from laion_hpc.stages.download import perceptual

    digests = perceptual.read(rules.perceptual_blocklist)
    return perceptual.Blocklist(digests, rules.perceptual_distance)


def make_picture(
    body: bytes, rules: Rules, *, boxes: Any = (), blocked: Blocklist | None = None
) -> Picture:
    """Judge, decode, blur, resize and encode a body. Never raises for what the body holds."""
    if boxes and not are_boxes(boxes):
        sha256, md5 = digest(body)
        return Picture("bad_boxes", sha256=sha256, md5=md5)
    task = _Task(rules, boxes, blocked)
    picture = _attempt(body, task)
    if picture.reason in ("not_an_image", "undecodable"):
        repaired = without_damaged_metadata(body)
        if repaired is not body:
            picture = _attempt(repaired, task)
    picture.sha256, picture.md5 = digest(body)
    return picture


@dataclass(frozen=True)
class _Task:
    rules: Rules
    boxes: Sequence[Box]
    blocked: Blocklist | None


def _attempt(body: bytes, task: _Task) -> Picture:
    picture = Picture()
    try:
        with warnings.catch_warnings():
            # Do not print a line for every image with damaged metadata.
            warnings.simplefilter("ignore")
            _process(body, task, picture)
    except _Refused as refused:
        picture.reason = refused.reason
    except UnidentifiedImageError:
        picture.reason = "not_an_image"
    except Exception:
        # Pillow's plugins raise nearly everything on damaged files; MemoryError too, since a
        # decoder's memory is limited.
        picture.reason = "undecodable"
    if picture.reason:
        picture.image, picture.width, picture.height = b"", 0, 0
    return picture


def _process(body: bytes, task: _Task, picture: Picture) -> None:
    rules = task.rules
    started = time.process_time()
    with Image.open(io.BytesIO(body), formats=rules.formats) as opened:
        picture.format = opened.format or ""
        picture.original_width, picture.original_height = opened.size
        _judge(opened.size, rules)
        turned = orientation_of(opened)
        width, height = opened.size if turned < 5 else opened.size[::-1]
        picture.original_width, picture.original_height = width, height
        picture.exif = exif_json(opened)
        plan = plan_resize(
            (width, height), rules.resize_mode, rules.image_size, rules.resize_only_if_bigger
        )
        as_it_is = not task.boxes and _as_it_is(opened, turned, plan, rules)
        if rules.skip_reencode and as_it_is:
            # Decoded all the same: what is stored must be readable.
            opened.load()
            _refuse_blocked(opened, task)
            picture.image, picture.width, picture.height = bytes(body), width, height
            picture.decode_seconds = time.process_time() - started
            return
        _draft(opened, turned, plan)
        opened.load()
        image = to_rgb(opened)
    if turned > 1:
        image = _turn(image, turned)
    _refuse_blocked(image, task)
    image = blur(image, task.boxes)
    decoded = time.process_time()
    image = _resize(image, plan)
    resized = time.process_time()
    picture.image = _encode(image, rules)
    picture.width, picture.height = image.size
    picture.decode_seconds = decoded - started
    picture.resize_seconds = resized - decoded
    picture.encode_seconds = time.process_time() - resized


def _refuse_blocked(image: Image.Image, task: _Task) -> None:
    if task.blocked is not None and task.blocked.holds(image):
        raise _Refused("blocked_hash")


def _judge(size: tuple[int, int], rules: Rules) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise _Refused("undecodable")
    if width * height > rules.max_pixels:
        raise _Refused("too_many_pixels")
    if max(size) > rules.max_aspect_ratio * min(size):
        raise _Refused("aspect_ratio")
    if min(size) < rules.min_side:
        raise _Refused("too_few_pixels")


def _as_it_is(opened: Image.Image, turned: int, plan: Plan, rules: Rules) -> bool:
    return (
        not plan.changes
        and turned == 1
        and opened.mode == "RGB"
        and opened.format == _SAVED_AS[rules.encode_format]
        and getattr(opened, "n_frames", 1) == 1
        and "transparency" not in opened.info
    )


def _draft(opened: Image.Image, turned: int, plan: Plan) -> None:
    """Let libjpeg decode at a half, a quarter or an eighth, never below the size wanted.

    Scaling in the DCT is as good as averaging and saves most of the work of large photographs
    (12 Mpx to 256 px: 21 ms of CPU instead of 166).
    """
    if opened.format in ("JPEG", "MPO") and plan.shrinks:
        width, height = plan.scaled if turned < 5 else plan.scaled[::-1]
        opened.draft(None, (width, height))


_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def _turn(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(_TURNS[orientation])


def _resize(image: Image.Image, plan: Plan) -> Image.Image:
    image = scaled(image, plan.scaled)
    if plan.crop is not None:
        image = image.crop(plan.crop)
    if plan.canvas is not None:
        image = ImageOps.pad(image, plan.canvas, color=BACKGROUND)
    return image


def _encode(image: Image.Image, rules: Rules) -> bytes:
    out = io.BytesIO()
    if rules.encode_format == "png":
        image.save(out, "PNG", compress_level=6)
    else:
        image.save(out, _SAVED_AS[rules.encode_format], quality=rules.encode_quality)
    return out.getvalue()
