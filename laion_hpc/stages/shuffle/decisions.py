"""Which rows of a block stay, and in which order: pure functions of the survey's numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from laion_hpc.stages.shuffle.survey import Bits, Keys, Survey
from laion_hpc.stages.shuffle.unique import best_rows

Rows = npt.NDArray[np.int64]

_best_rows: Any = best_rows

_SLICE = 1 << 20


def without_duplicates(survey: Survey, left: npt.NDArray[np.bool_]) -> Rows:
    """Of the rows that are left, one for each key: the longest text, then the earliest.

    Earliest by segment, WAT, record offset and link position, whatever the order of reading.
    Returns the row numbers, ascending. Needs 5 to 11 bytes a row.
    """
    number = int(np.count_nonzero(left))
    table = np.zeros(1 << (number * 4 // 3).bit_length(), np.int32)
    stays = np.zeros(len(survey), np.bool_)
    _best_rows(
        left,
        survey.low.view(np.int64),
        survey.high,
        survey.length,
        survey.wat,
        survey.offset,
        survey.link,
        table,
        stays,
    )
    return np.flatnonzero(stays)


def mixed(keys: Keys, seed: int) -> Rows:
    """The order of rows in which every host is spread evenly over the whole.

    The i-th of a host's n rows (in a random order) goes to the place (i + u) / n of the way, with
    u random per host: two rows of a host are 1/n of the block apart, and every shard has its
    share of every host. The order depends on the rows and the seed alone, not on how they were
    read. Needs 40 bytes a row.
    """
    chance = _chance(keys.low, seed)
    by_host, starts = _by_host(keys.host, chance, keys.high)
    counts = np.diff(np.r_[starts, len(keys)])
    shift = mix64(keys.host[by_host[starts]] ^ mix64(np.uint64(2 * seed + 1))) / 2.0**64
    each = np.arange(len(keys), dtype=np.float64)
    each -= np.repeat(starts, counts)  # the rank
    each += np.repeat(shift, counts)
    each /= np.repeat(counts, counts)
    place = np.empty(len(keys), np.float64)
    place[by_host] = each
    del by_host, each
    return sorted_by(place, chance, keys.high)


def _chance(low: Bits, seed: int) -> Bits:
    """A random number for each row, from its key and the seed."""
    salt = mix64(np.uint64(2 * seed))
    chance = np.empty_like(low)
    for start in range(0, len(low), _SLICE):
        part = slice(start, start + _SLICE)
        chance[part] = mix64(low[part] ^ salt)
    return chance


def _by_host(host: Bits, chance: Bits, high: Bits) -> tuple[Rows, Rows]:
    """An order by host, in it by chance; and where in it each host begins."""
    order = np.argsort(host)
    in_order = host[order]
    new = np.ones(len(host), np.bool_)
    new[1:] = in_order[1:] != in_order[:-1]
    del in_order
    starts = np.flatnonzero(new)
    if len(starts) >= 1 << 26:
        return sorted_by(host, chance, high), starts
    # One number, the host's rank and most of chance, is sorted many times faster than two.
    rank = np.cumsum(new, dtype=np.uint64)
    rank <<= np.uint64(37)
    both = np.empty(len(host), np.uint64)
    both[order] = rank
    del rank
    both |= chance >> np.uint64(27)
    del order, new
    return sorted_by(both, chance, high), starts


def sorted_by(first: npt.NDArray[Any], second: Bits, third: Bits) -> Rows:
    """The order by three keys, of which the first nearly always settles it."""
    order: Rows = np.argsort(first)
    in_order = first[order]
    ties = np.zeros(len(first) + 1, np.bool_)
    ties[1:-1] = in_order[1:] == in_order[:-1]
    del in_order
    tied = np.flatnonzero(ties[1:] | ties[:-1])
    rows = order[tied]
    order[tied] = rows[np.lexsort((third[rows], second[rows], first[rows]))]
    return order


def mix64(values: Bits | np.uint64) -> Bits:
    """SplitMix64's finaliser: a fast bijection whose output looks random (Steele et al. 2014)."""
    with np.errstate(over="ignore"):
        z = np.asarray(values, np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed_bits: Bits = z ^ (z >> np.uint64(31))
        return mixed_bits
