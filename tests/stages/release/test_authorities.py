"""Counting rows by server, against a dictionary."""

from __future__ import annotations

from collections import Counter
from unittest.mock import patch

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from laion_hpc.stages.release import authorities
from laion_hpc.stages.release.authorities import Authorities

URLS = st.one_of(
    st.builds(
        "{}://{}{}".format,
        st.sampled_from(["http", "https"]),
        st.sampled_from(["a", "b.org", "b.org:80", "ä.de", "u@c", "x" * 40]),
        st.sampled_from(["", "/", "/p//q/", "/a?b/c"]),
    ),
    st.text("ab:/", max_size=12),
)
ROWS = st.lists(st.tuples(URLS, st.integers(0, 7)), max_size=40)


@given(st.lists(ROWS, max_size=4), st.integers(0, 3), st.sampled_from([1, 4, 1 << 12]))
def test_rows_are_counted_in_all_their_datasets(
    chunks: list[list[tuple[str, int]]], skipped: int, least: int
) -> None:
    with patch.object(authorities, "_LEAST", least):
        found = Authorities(4)
    expected = [Counter[str]() for _ in range(4)]
    for rows in chunks:
        urls = pa.array([url for url, _ in rows], pa.string()).slice(skipped)
        bits = np.array([own for _, own in rows], np.int64)[skipped:]
        half = len(urls) // 2
        found.add(pa.chunked_array([urls[:half], urls[half:]], pa.string()), bits)
        for url, own in rows[skipped:]:
            authority = [*url.split("/"), "", "", ""][2]
            for dataset in [0, *(n + 1 for n in range(3) if own >> n & 1)]:
                expected[dataset][authority] += 1
    words, counts = found.found()
    assert len(set(words.to_pylist())) == len(words)
    for dataset, counter in enumerate(expected):
        there = zip(words.to_pylist(), counts[:, dataset].tolist(), strict=True)
        assert {word: n for word, n in there if n} == counter
