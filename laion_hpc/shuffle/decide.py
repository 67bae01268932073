"""Which rows of a block stay, and in which order: pure functions of the survey's numbers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from laion_hpc.shuffle.survey import Bits, Survey

Rows = npt.NDArray[np.int64]

_PARTITION_ROWS = 1 << 22
"""Rows compared at a time when duplicates are sought; bounds the memory for sorting."""


def without_duplicates(survey: Survey, rows: Rows) -> Rows:
    """Of `rows` (ascending), one for each key: the longest text, then the earliest.

    Earliest by segment, WAT, record offset and link position, whatever the order of reading.
    Returns the row numbers, ascending.
    """
    partitions = max(1, len(rows) // _PARTITION_ROWS)
    part = survey.low[rows] % np.uint64(partitions)
    winners = [_best(survey, rows[part == number]) for number in range(partitions)]
    return np.sort(np.concatenate(winners))


def _best(survey: Survey, rows: Rows) -> Rows:
    """The first of each key after sorting by key, then by merit."""
    low = survey.low[rows]
    order = np.argsort(low, kind="stable")
    low = low[order]
    same = np.zeros(len(rows) + 1, np.bool_)
    same[1:-1] = low[1:] == low[:-1]
    # Most rows stand alone; only the others are compared in full.
    shared = same[1:] | same[:-1]
    alone = rows[order[~shared]]
    rivals = rows[order[shared]]
    if not len(rivals):
        return alone
    by_merit = np.lexsort(
        (
            rivals,
            survey.link[rivals],
            survey.offset[rivals],
            survey.wat[rivals],
            -survey.length[rivals].astype(np.int64),
            survey.high[rivals],
            survey.low[rivals],
        )
    )
    rivals = rivals[by_merit]
    first = np.ones(len(rivals), np.bool_)
    first[1:] = (survey.low[rivals][1:] != survey.low[rivals][:-1]) | (
        survey.high[rivals][1:] != survey.high[rivals][:-1]
    )
    return np.concatenate([alone, rivals[first]])


def mixed(survey: Survey, rows: Rows, seed: int) -> Rows:
    """`rows` in an order in which every host is spread evenly over the whole.

    The i-th of a host's n rows (in a random order) goes to the place (i + u) / n of the way, with
    u random per host: two rows of a host are 1/n of the block apart, and every shard has its
    share of every host. The order depends on the rows and the seed alone, not on how they were
    read.
    """
    chance = mix64(survey.low[rows] ^ mix64(np.uint64(2 * seed)))
    host = survey.host[rows]
    by_host = np.lexsort((chance, host))
    sorted_host = host[by_host]
    starts = np.flatnonzero(np.r_[True, sorted_host[1:] != sorted_host[:-1]]) if len(rows) else rows
    counts = np.diff(np.r_[starts, len(rows)])
    rank = np.arange(len(rows)) - np.repeat(starts, counts)
    shift = mix64(sorted_host[starts] ^ mix64(np.uint64(2 * seed + 1))) / 2.0**64
    place = np.empty(len(rows), np.float64)
    place[by_host] = (rank + np.repeat(shift, counts)) / np.repeat(counts, counts)
    order: Rows = rows[np.lexsort((survey.high[rows], chance, place))]
    return order


def mix64(values: Bits | np.uint64) -> Bits:
    """SplitMix64's finaliser: a fast bijection whose output looks random (Steele et al. 2014)."""
    with np.errstate(over="ignore"):
        z = np.asarray(values, np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed_bits: Bits = z ^ (z >> np.uint64(31))
        return mixed_bits
