"""Many records of an undamaged WAT at once: inflated into one buffer, and found in it.

Common Crawl writes one gzip member per record. What follows takes a stretch of members whose
stated sizes add up to a window, inflates them in one go (checksums checked), and walks over the
records: each must be exactly as long as its header and the trailer of its member say. Where
anything differs there is no window: `records` reads that stretch record by record, which also
defines the result.
"""

from __future__ import annotations

import io
import mmap
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from isal import igzip, igzip_lib

from laion_hpc.runtime.compiled import compiled
from laion_hpc.stages.extract import records
from laion_hpc.stages.extract.fast import window_loops
from laion_hpc.stages.extract.records import Damage, Record

Bytes = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.int64]

WINDOW_BYTES = 1 << 23
"""Inflated."""

PADDING = 256
"""Zeros after the records, so that compiled code may read a little more than there is."""

_MOST_MEMBERS = 1 << 14
_REACH = 1 << 25
"""Compressed bytes that are looked at for a window."""

_open: Any = igzip.IGzipFile
_InflateError: type[Exception] = igzip_lib.IsalError  # type: ignore[assignment] # its stub errs


class Window(NamedTuple):
    """Some records, one after the other; each a gzip member of its own."""

    data: Bytes
    """All of them, then PADDING zeros. Not to be written to."""
    offset: Numbers
    """(n,) byte offset of each in the file."""
    spans: Numbers
    """(n, 3) where in `data` each begins, its payload begins and its payload ends."""
    flags: Bytes
    """(n,) bits of `window_loops`: IMAGE, LICENSE, CUT."""


def read_windows(path: Path) -> Iterator[Window | Record | Damage]:
    """What `records.read_records` gives, with most records in windows."""
    return records.read_wat(path, _of_gzip)


def _of_gzip(data: mmap.mmap) -> Iterator[Window | Record | Damage]:
    position, size = 0, len(data)
    windows = Windows(data, records.MAX_RECORD_BYTES)
    try:
        while position < size:
            window, end = windows.at(position)
            if window is None:
                position = yield from records.members(data, position, end)
            else:
                yield window
                position = end
    finally:
        windows.close()


class Windows:
    """The windows of a memory-mapped file."""

    def __init__(self, data: mmap.mmap, longest: int) -> None:
        """No record is to be longer than `longest`. Until `close` the file cannot be unmapped."""
        self._room = min(WINDOW_BYTES, longest)
        self._bytes: Bytes = np.frombuffer(data, np.uint8)
        self._places = np.empty(_MOST_MEMBERS, np.int64)
        self._sizes = np.empty(_MOST_MEMBERS, np.int64)

    def close(self) -> None:
        """Let go of the file."""
        del self._bytes

    def at(self, position: int) -> tuple[Window | None, int]:
        """The window of the members from `position` on, and where it ends.

        None if what is before that end is to be read the careful way.
        """
        number = _members()(self._bytes, position, self._room, _REACH, self._places, self._sizes)
        if not number:
            return None, position + 1
        places, sizes = self._places[:number], self._sizes[:number]
        end = int(places[-1])
        inflated = _inflated(self._bytes[position:end], int(sizes.sum()))
        if inflated is None:
            return None, end
        data, size = inflated
        offset = np.empty(number, np.int64)
        spans, flags = np.empty((number, 3), np.int64), np.zeros(number, np.uint8)
        found = _records()(
            data, data.view(np.uint16), data.view(np.uint64), size, position, places, sizes,
            offset, spans, flags,
        )  # fmt: skip
        if found < 0:
            return None, end
        return Window(data, offset[:found], spans[:found], flags[:found]), end


def _inflated(members: Bytes, most: int) -> tuple[Bytes, int] | None:
    """What whole gzip members hold, `most` bytes or fewer, with PADDING; how many bytes.

    None if they are not whole, or hold more.
    """
    out = np.empty((most + 7) // 8 * 8 + PADDING, np.uint8)
    try:
        with _open(fileobj=io.BytesIO(members.data)) as stream:
            size = stream.readinto(out.data[:most])
            if stream.read(1):
                return None
    except (_InflateError, EOFError, OSError):
        return None
    out[size : size + PADDING] = 0
    out.flags.writeable = False
    return out, size


@lru_cache(maxsize=1)
def _members() -> Any:
    nothing = np.frombuffer(bytes(8), np.uint8)
    room = np.empty(1, np.int64)
    return compiled(window_loops.members, nothing, 0, 1, 1, room, room.copy())


@lru_cache(maxsize=1)
def _records() -> Any:
    nothing = np.frombuffer(bytes(PADDING), np.uint8)
    numbers = np.empty(0, np.int64)
    views = nothing, nothing.view(np.uint16), nothing.view(np.uint64)
    spans, flags = np.empty((0, 3), np.int64), np.empty(0, np.uint8)
    return compiled(
        window_loops.records, *views, 0, 0, numbers, numbers, numbers.copy(), spans, flags
    )
