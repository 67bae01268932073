"""Counts the rows of each server, by the host part of their URLs."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from laion_hpc.files import utf8
from laion_hpc.runtime.compiled import compiled

_LEAST = 1 << 12
_START, _PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)
"""FNV-1a's, for 64 bits."""
_SPREAD = np.uint64(0xFF51AFD7ED558CCD)
"""MurmurHash3's: every bit of the product depends on all lower ones."""

Array = Any


class Authorities:
    """Counts of the rows of some datasets by the part of their URL between `//` and `/`.

    That part is the host, perhaps with a port or a user. A hash of 64 bits finds equal parts: among
    a million, two share a hash with a probability of 3 in 10⁸. Each different part takes 24 bytes
    of memory, 8 more for each dataset, and its own bytes.
    """

    def __init__(self, datasets: int) -> None:
        """`datasets`: first one with all rows, then others, at most 62."""
        # An open hash table. A place holds the number of an entry plus one; 0: the place is free.
        self._places = np.zeros(2 * _LEAST, np.int32)
        # The hash of an entry and its counts beside it: most of the time goes into reaching them.
        self._rows = np.zeros((_LEAST, 1 + datasets), np.int64)
        self._ends = np.zeros(_LEAST + 1, np.int64)
        self._bytes = np.zeros(16 * _LEAST, np.uint8)
        self._entries = 0
        _loops()  # compiled here: `add` may be called by several threads at once

    def add(self, urls: pa.ChunkedArray, bits: npt.NDArray[np.int64]) -> None:
        """Count further rows: `bits` (rows,) gives the other datasets that each is in."""
        count, _ = _loops()
        row = 0
        for chunk in urls.chunks:
            offsets, data = utf8.of_column(chunk.cast(pa.string()))
            own = bits[row : row + len(chunk)]
            done = 0
            while True:
                done, self._entries = count(
                    offsets, data, own, done, self._entries,
                    self._places, self._rows, self._ends, self._bytes,
                )  # fmt: skip
                if done == len(chunk):
                    break
                self._make_room()
            row += len(chunk)

    def found(self) -> tuple[pa.LargeStringArray, npt.NDArray[np.int64]]:
        """All of them, in the order of their first rows, and their counts (n, datasets)."""
        ends = self._ends[: self._entries + 1]
        buffers = pa.py_buffer(ends), pa.py_buffer(self._bytes[: ends[-1]])
        words = pa.LargeStringArray.from_buffers(self._entries, *buffers)
        return words, self._rows[: self._entries, 1:]

    def _make_room(self) -> None:
        """Room for twice as many entries, or for twice as many bytes of them."""
        if self._entries < len(self._rows):
            self._bytes = _doubled(self._bytes)
            return
        self._rows = _doubled(self._rows)
        self._ends = np.concatenate([self._ends, np.zeros(len(self._ends) - 1, np.int64)])
        self._places = np.zeros(2 * len(self._rows), np.int32)
        _, enter = _loops()
        enter(self._places, self._rows, self._entries)


def _doubled(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.concatenate([array, np.zeros_like(array)])


def _count(
    offsets: Array, data: Array, bits: Array, row: int, entries: int,
    places: Array, rows: Array, ends: Array, kept: Array,
) -> Any:  # fmt: skip
    """Count rows from `row` on; returns the first row without room, and the entries."""
    mask = np.uint64(len(places) - 1)
    while row < len(bits):
        at, end = offsets[row], offsets[row + 1]
        slashes = 0
        while at < end and slashes < 2:
            slashes += data[at] == 0x2F
            at += 1
        begin = at
        state = _START
        while at < end and data[at] != 0x2F:
            state = (state ^ np.uint64(data[at])) * _PRIME
            at += 1
        state = (state ^ (state >> np.uint64(33))) * _SPREAD
        state ^= state >> np.uint64(33)
        key = np.int64(state)
        place = state & mask
        entry = places[place] - 1
        while entry >= 0 and rows[entry, 0] != key:
            place = (place + np.uint64(1)) & mask
            entry = places[place] - 1
        if entry < 0:
            first = ends[entries]
            if entries == len(rows) or first + at - begin > len(kept):
                return row, entries
            for n in range(at - begin):
                kept[first + n] = data[begin + n]
            entry = entries
            entries += 1
            rows[entry, 0], ends[entries], places[place] = key, first + at - begin, entries
        rows[entry, 1] += 1
        dataset, others = 2, bits[row]
        while others:
            rows[entry, dataset] += others & 1
            others >>= 1
            dataset += 1
        row += 1
    return row, entries


def _enter(places: Array, rows: Array, entries: int) -> None:
    """Put different entries into an empty table of places."""
    mask = np.uint64(len(places) - 1)
    for entry in range(entries):
        place = np.uint64(rows[entry, 0]) & mask
        while places[place]:
            place = (place + np.uint64(1)) & mask
        places[place] = entry + 1


@lru_cache(maxsize=1)
def _loops() -> tuple[Any, Any]:
    offsets, data = np.frombuffer(bytes(4), np.int32), np.frombuffer(bytes(1), np.uint8)
    bits, places, rows = np.zeros(0, np.int64), np.zeros(2, np.int32), np.zeros((1, 2), np.int64)
    ends, kept = np.zeros(2, np.int64), np.zeros(1, np.uint8)
    return (
        compiled(_count, offsets, data, bits, 0, 0, places, rows, ends, kept),
        compiled(_enter, places, rows, 0),
    )
