from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from laion_hpc.stages.shuffle.decisions import mix64, mixed, sorted_by, without_duplicates
from laion_hpc.stages.shuffle.survey import Survey


def surveyed(rows: list[tuple[int, int, int, int, int, int]]) -> Survey:
    """A survey of rows (low, high, length, wat, offset, link)."""
    columns: Any = np.array(rows, np.int64).reshape(-1, 6).T
    return Survey(
        low=columns[0].astype(np.uint64),
        high=columns[1].astype(np.uint64),
        host=columns[0].astype(np.uint64),
        length=columns[2].astype(np.int32),
        wat=columns[3].astype(np.int32),
        offset=columns[4],
        link=columns[5].astype(np.int32),
        blocked_host=np.zeros(len(rows), np.bool_),
        blocked_url=np.zeros(len(rows), np.bool_),
        taken_down=np.zeros(len(rows), np.bool_),
        crawls=frozenset(),
    )


few = st.integers(0, 3)
rows = st.lists(st.tuples(few, few, few, few, few, few), max_size=40)


@given(rows)
def test_one_of_each_key_stays_and_it_is_the_best(
    rows: list[tuple[int, int, int, int, int, int]],
) -> None:
    by_key: dict[tuple[int, int], list[int]] = defaultdict(list)
    for number, one in enumerate(rows):
        by_key[one[:2]].append(number)
    best = [
        min(numbers, key=lambda n: (-rows[n][2], *rows[n][3:], n)) for numbers in by_key.values()
    ]
    assert without_duplicates(surveyed(rows), np.ones(len(rows), np.bool_)).tolist() == sorted(best)


@given(st.lists(st.tuples(few, few, few), max_size=30))
def test_sorting_by_three_keys_with_many_ties(rows: list[tuple[int, int, int]]) -> None:
    columns = np.array(rows, np.uint64).reshape(-1, 3).T
    assert [rows[n] for n in sorted_by(*columns).tolist()] == sorted(rows)


def test_only_the_given_rows_compete() -> None:
    found = surveyed([(1, 1, 9, 0, 0, 0), (1, 1, 5, 0, 0, 0), (1, 1, 4, 0, 0, 0)])
    assert without_duplicates(found, np.array([False, True, True])).tolist() == [1]


def with_hosts(counts: list[int], seed: int = 0) -> Survey:
    """Rows of hosts 0, 1 …, so many of each, host by host."""
    draw = random.Random(seed)
    total = sum(counts)
    found = surveyed([(draw.getrandbits(63), n, 1, 0, 0, 0) for n in range(total)])
    return replace(found, host=mix64(np.repeat(np.arange(len(counts)), counts)))


@given(st.lists(st.integers(1, 30), min_size=1, max_size=20), st.integers(0, 3))
def test_mixing_is_a_permutation_of_evenly_spread_hosts(counts: list[int], seed: int) -> None:
    found = with_hosts(counts)
    order = mixed(found, seed)
    assert sorted(order.tolist()) == list(range(len(found)))
    # In the first k of N places a host with n rows has n·k/N of them, up to rounding of places.
    for host, count in zip(np.unique(found.host, return_index=True)[0], counts, strict=False):
        count = int((found.host == host).sum())
        here = np.flatnonzero(found.host[order] == host)
        expected = (np.arange(count) + 0.5) / count * len(found)
        assert np.abs(here - expected).max() <= 0.5 * len(found) / count + len(counts) + 1


def test_the_order_depends_on_the_rows_and_the_seed_alone() -> None:
    found = with_hosts([50, 20, 5, 5, 1, 1, 1])
    turned = np.random.default_rng(1).permutation(len(found))
    other = replace(
        found, **{name: getattr(found, name)[turned] for name in ("low", "high", "host")}
    )
    here, there = mixed(found, 7), mixed(other, 7)
    assert found.low[here].tolist() == other.low[there].tolist()
    assert here.tolist() != mixed(found, 8).tolist()


def chi_square(deviations: float, freedom: int) -> float:
    """Its quantile so many standard deviations from the median (Wilson and Hilferty 1931)."""
    spread = 2 / (9 * freedom)
    return float(freedom * (1 - spread + deviations * spread**0.5) ** 3)


def test_every_shard_has_its_share_of_every_host() -> None:
    """Chi-square of hosts × shards: random mixing would give its expectation, ours far less."""
    draw = np.random.default_rng(3)
    counts = np.minimum((1000 / np.arange(1, 400) ** 1.1).astype(int) + 1, 1000).tolist()
    found = with_hosts(counts)
    shard_rows = len(found) // 12
    order = mixed(found, 0)[: 12 * shard_rows]

    def statistic(sequence: Any) -> tuple[float, int]:
        shard = np.arange(len(sequence)) // shard_rows
        _, host = np.unique(found.host[sequence], return_inverse=True)
        table = np.zeros((host.max() + 1, 12))
        np.add.at(table, (host, shard), 1)
        table = table[table.sum(axis=1) >= 60]  # five expected in each cell
        expected = table.sum(axis=1, keepdims=True) / 12
        return float(((table - expected) ** 2 / expected).sum()), len(table)

    ours, hosts = statistic(order)
    freedom = hosts * 11
    assert hosts >= 10
    # Far below what chance alone would give, and what is not mixed is far above.
    assert ours < chi_square(-4.75, freedom)
    unmixed, _ = statistic(np.arange(len(order)))
    assert unmixed > chi_square(4.75, freedom)
    by_chance, _ = statistic(draw.permutation(len(found))[: len(order)])
    assert chi_square(-4.75, freedom) < by_chance < chi_square(4.75, freedom)


def test_a_hosts_rows_are_as_far_apart_as_can_be() -> None:
    found = with_hosts([100] * 20)
    order = mixed(found, 0)
    for host in np.unique(found.host):
        gaps = np.diff(np.flatnonzero(found.host[order] == host))
        assert gaps.min() == gaps.max() == 20


def test_mix64_is_the_published_function() -> None:
    # First outputs of SplitMix64 with seed 0 (Vigna's reference code).
    state = np.uint64(0)
    assert int(mix64(state)) == 0xE220A8397B1DCDAF
    assert int(mix64(np.uint64(0x9E3779B97F4A7C15))) == 0x6E789E6AA1B965F4
