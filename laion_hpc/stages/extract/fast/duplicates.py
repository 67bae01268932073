"""Which pairs of URL and text come for the first time in a WAT."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from laion_hpc.runtime.compiled import compiled, part
from laion_hpc.stages.extract.fast.judge import Bytes

_LEAST = 1 << 12
_FIRST, _SECOND = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F)
"""Odd, with bits set at random: 2^64 over the golden ratio; the second prime of xxHash."""

Array = Any


class Pairs:
    """The pairs of one WAT so far, by a hash of 128 bits: two never hash alike in practice.

    Memory: 32 to 64 bytes a pair; the strings need not be kept.
    """

    def __init__(self) -> None:
        self._table = np.zeros((_LEAST, 2), np.uint64)
        self._used = 0

    def first(
        self,
        urls: tuple[npt.NDArray[np.int32], Bytes],
        texts: tuple[npt.NDArray[np.int32], Bytes],
    ) -> npt.NDArray[np.bool_]:
        """For each pair whether it is new. Offsets and UTF-8 of both, as Arrow keeps them."""
        number = len(urls[0]) - 1
        keys, new = np.empty((number, 2), np.uint64), np.zeros(number, np.bool_)
        hashes, enter = _loops()
        hashes(*urls, *texts, keys)
        size = len(self._table)
        while 2 * (self._used + number) > size:
            size *= 2
        if size > len(self._table):
            table = np.zeros((size, 2), np.uint64)
            old = self._table[self._table.any(axis=1)]
            enter(table, old, np.zeros(len(old), np.bool_))
            self._table = table
        self._used += enter(self._table, keys, new)
        return new


def _hashes(
    url_ends: Array, urls: Array, text_ends: Array, texts: Array, keys: Array
) -> None:  # fmt: skip
    """Fill the keys, none of which is 0."""
    for n in range(len(keys)):
        low, high = _FIRST, _SECOND
        low, high = _absorb(urls, url_ends[n], url_ends[n + 1], low, high)
        low, high = _absorb(texts, text_ends[n], text_ends[n + 1], low, high)
        keys[n, 0] = _finish(low)
        keys[n, 1] = _finish(high) | np.uint64(1)


@part
def _absorb(data: Array, begin: int, end: int, low: Any, high: Any) -> Any:
    """Both states after some bytes, and how many they are."""
    at = begin
    while at < end:
        word = np.uint64(0)
        stop = min(at + 8, end)
        for n in range(at, stop):
            word |= np.uint64(data[n]) << np.uint64(8 * (n - at))
        low, high = _mix(low, high, word)
        at = stop
    return _mix(low, high, np.uint64(end - begin))


@part
def _mix(low: Any, high: Any, word: Any) -> Any:
    low = (low ^ word) * _FIRST
    low ^= low >> np.uint64(29)
    high = (high + word) * _SECOND
    high ^= high >> np.uint64(32)
    return low, high ^ (low >> np.uint64(17))


@part
def _finish(state: Any) -> Any:
    """Every bit depends on every bit (MurmurHash3's finalizer)."""
    state ^= state >> np.uint64(33)
    state *= np.uint64(0xFF51AFD7ED558CCD)
    state ^= state >> np.uint64(33)
    state *= np.uint64(0xC4CEB9FE1A85EC53)
    return state ^ state >> np.uint64(33)


def _enter(table: Array, keys: Array, new: Array) -> int:
    """Put the keys that are not there into the table, and mark them; how many."""
    mask = np.uint64(len(table) - 1)
    one = np.uint64(1)
    added = 0
    for n in range(len(keys)):
        place = keys[n, 0] & mask
        while table[place, 1] != 0 and (
            table[place, 0] != keys[n, 0] or table[place, 1] != keys[n, 1]
        ):
            place = (place + one) & mask
        if table[place, 1] == 0:
            table[place, 0], table[place, 1] = keys[n, 0], keys[n, 1]
            new[n] = True
            added += 1
    return added


@lru_cache(maxsize=1)
def _loops() -> tuple[Any, Any]:
    ends, data = np.frombuffer(bytes(4), np.int32), np.frombuffer(bytes(1), np.uint8)
    table, keys, new = (
        np.zeros((2, 2), np.uint64),
        np.empty((0, 2), np.uint64),
        np.empty(0, np.bool_),
    )
    return (
        compiled(_hashes, ends, data, ends, data, keys),
        compiled(_enter, table, keys, new),
    )
