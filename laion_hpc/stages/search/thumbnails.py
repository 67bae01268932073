"""Stored images straight from the tar shards, by offset."""

from __future__ import annotations

import tarfile
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from laion_hpc.errors import InputError

TYPES = {
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
}
"""Extensions of the members that are served, and their media types; others are not served."""
EXTENSIONS = {media_type: extension for extension, media_type in reversed(TYPES.items())}
"""The usual extension of each media type."""
KEPT_SHARDS = 256
"""Shards whose offsets are remembered: 2 MB each at 10,000 samples."""


@dataclass(frozen=True)
class Shard:
    """A tar and the range of keys in the table beside it."""

    first: str
    last: str
    path: Path


@dataclass(frozen=True)
class Place:
    """Where a member's data lies in its tar."""

    offset: int
    size: int
    media_type: str


class Thumbnails:
    """Finds an image by its sample's key.

    A thread reads each shard's keys from the table beside the tar. A tar's members are listed at
    the first request for one of its images.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        """Start reading; InputError for a missing folder."""
        for folder in folders:
            if not folder.is_dir():
                raise InputError(f"{folder}: no such folder; --images takes folders of shards")
        thread = ThreadPoolExecutor(1, thread_name_prefix="shards")
        self._shards = thread.submit(_shards, tuple(folders))
        thread.shutdown(wait=False)
        self._listed: OrderedDict[Path, dict[str, Place]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: str) -> tuple[bytes, str] | None:
        """The image of a key and its media type; None if no shard holds it."""
        shards = self._shards.result()
        position = bisect_right(shards, key, key=lambda shard: shard.first) - 1
        if position < 0 or key > shards[position].last:
            return None
        path = shards[position].path
        place = self._places(path).get(key)
        if place is None:
            return None
        with path.open("rb") as stream:
            stream.seek(place.offset)
            data = stream.read(place.size)
        return (data, place.media_type) if len(data) == place.size else None

    def _places(self, path: Path) -> dict[str, Place]:
        with self._lock:
            if path in self._listed:
                self._listed.move_to_end(path)
                return self._listed[path]
        places = _list(path)
        with self._lock:
            self._listed[path] = places
            if len(self._listed) > KEPT_SHARDS:
                self._listed.popitem(last=False)
        return places


def _shards(folders: Sequence[Path]) -> list[Shard]:
    """All shards that hold a sample, in the order of their keys."""
    paths = [path for folder in folders for path in sorted(folder.glob("*.tar"))]
    found = [shard for path in paths if (shard := _shard(path))]
    return sorted(found, key=lambda shard: shard.first)


def _shard(path: Path) -> Shard | None:
    """The keys in the table beside a tar; None if there is no table, or no row."""
    import pyarrow.compute as pc

    from laion_hpc.files.tables import read_parquet

    try:
        keys = pc.min_max(read_parquet(path.with_suffix(".parquet"), columns=["key"])["key"])
    except InputError:
        return None
    return Shard(keys["min"].as_py(), keys["max"].as_py(), path) if keys["min"].is_valid else None


def _list(path: Path) -> dict[str, Place]:
    """The images in a tar by key; {} if it cannot be read."""
    places: dict[str, Place] = {}
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                key, _, extension = member.name.partition(".")
                if member.isfile() and extension in TYPES:
                    places[key] = Place(member.offset_data, member.size, TYPES[extension])
    except (tarfile.TarError, OSError):
        return {}
    return places
