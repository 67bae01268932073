"""An image's EXIF: which way is up, and its fields as JSON."""

from __future__ import annotations

import json
from typing import Any

from PIL import ExifTags, Image

MOST_CHARACTERS = 200
"""Of one field: some cameras store kilobytes."""

_ORIENTATION = 0x0112
_EXIF_IFD = 0x8769
# GPS places are private; thumbnails and makers' notes are not text.
# fmt: off
_LEFT_OUT = frozenset({
    "GPSInfo", "MakerNote", "UserComment", "ExifOffset", "ExifInteroperabilityOffset",
    "XMLPacket", "XPTitle", "XPComment", "XPAuthor", "XPKeywords", "XPSubject",
    "ImageResources", "IPTCNAA", "InterColorProfile", "JPEGTables", "PrintImageMatching",
    "Padding", "OffsetSchema", "SubIFDs", "TileOffsets", "TileByteCounts", "StripOffsets",
    "StripByteCounts",
})
# fmt: on


def orientation_of(image: Image.Image) -> int:
    """EXIF orientation 1 … 8; 1 (upright) if there is none or it cannot be read."""
    if image.format == "TIFF":
        # Pillow turns these itself when it loads them, and says their upright size before.
        return 1
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except (OSError, MemoryError):
        raise
    except Exception:
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def exif_json(image: Image.Image) -> str:
    """The EXIF fields by name as one JSON object, values as text; "" if there are none."""
    if "exif" not in image.info:
        return ""
    try:
        exif = image.getexif()
        fields = dict(exif) | dict(exif.get_ifd(_EXIF_IFD))
    except (OSError, MemoryError):
        raise
    except Exception:
        return ""
    named = {
        name: _plain(value)
        for tag, value in sorted(fields.items())
        if (name := ExifTags.TAGS.get(tag)) and name not in _LEFT_OUT
    }
    return json.dumps(named, ensure_ascii=False, sort_keys=True) if named else ""


def _plain(value: Any) -> str:
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    text = str(value).strip("\0 ")
    text = "".join(c for c in text if c.isprintable())
    return text[:MOST_CHARACTERS].encode("utf-8", "replace").decode("utf-8")
