"""Which pairs are new: as a set of the pairs themselves says."""

from __future__ import annotations

import random

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from laion_hpc.files import utf8
from laion_hpc.stages.extract.fast.duplicates import Pairs

strings = st.text(st.sampled_from("ab\0é"), max_size=18)


def first_of_each(batches: list[list[tuple[str, str]]]) -> list[bool]:
    pairs = Pairs()
    found: list[bool] = []
    for batch in batches:
        columns = (pa.array([pair[n] for pair in batch], pa.string()) for n in (0, 1))
        found += pairs.first(*map(utf8.of_column, columns)).tolist()
    return found


def expected(batches: list[list[tuple[str, str]]]) -> list[bool]:
    seen: set[tuple[str, str]] = set()
    return [not (pair in seen or seen.add(pair)) for batch in batches for pair in batch]


@given(st.lists(st.lists(st.tuples(strings, strings), min_size=1, max_size=12), max_size=5))
def test_any_pairs(batches: list[list[tuple[str, str]]]) -> None:
    assert first_of_each(batches) == expected(batches)


def test_many_pairs_that_are_nearly_alike() -> None:
    """The table grows; strings differ in one character, or in where the URL ends."""
    draw = random.Random(0)
    pool = [f"http://e.org/{n:07}.jpg" for n in range(3000)]
    batches = [
        [
            (url[: draw.randint(12, 24)], url[-draw.randint(0, 9) :])
            for url in draw.choices(pool, k=k)
        ]
        for k in (1, 3000, 1, 40_000, 200)
    ]
    batches.append([(url, "") for url in pool] + [("", url) for url in pool])
    found = first_of_each(batches)
    assert found == expected(batches)
    assert 10_000 < np.count_nonzero(found) < len(found)
