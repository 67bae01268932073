"""Counts made while a block is written, against counting row by row."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from laion_hpc.errors import InputError, UsageError
from laion_hpc.stages.release import block_counts
from laion_hpc.stages.release.block_counts import Counting, Sums, histogram
from laion_hpc.stages.release.statistics import compute
from laion_hpc.stages.release.value_counts import Coded
from laion_hpc.web.url import host_of

CODES = st.one_of(st.integers(0, 40), st.integers(-(2**31), 2**31 - 1))
ROWS = st.lists(st.tuples(CODES, st.integers(0, 3)), max_size=60)


@given(st.lists(ROWS, min_size=1, max_size=3))
def test_values_are_counted_in_every_dataset_of_their_rows(
    groups: list[list[tuple[int, int]]],
) -> None:
    # Four groups of rows: in none, either, or both of two subsets.
    members = np.array([[1, 0, 0], [1, 1, 0], [1, 0, 1], [1, 1, 1]], np.float64)
    kind = Coded("number", np.zeros(0))
    sums = Sums(kind, 3)
    expected = [Counter[int](), Counter[int](), Counter[int]()]
    for rows in groups:
        codes = np.array([code for code, _ in rows], np.int64)
        of_group = np.array([group for _, group in rows], np.int64)
        sums.add(kind, *histogram(codes, of_group, members))
        for code, group in rows:
            for dataset in np.flatnonzero(members[group]):
                expected[dataset][code] += 1
    for dataset, counter in enumerate(expected):
        assert {number: n for number, _, n in sums.of(dataset)} == counter


def joined(urls: list[str | None], **columns: list[object]) -> pa.Table:
    rows = len(urls)
    filled: dict[str, list[object]] = {
        "TEXT": ["a text"] * rows,
        "WIDTH": [256] * rows,
        "HEIGHT": [100] * rows,
        "similarity": [0.3] * rows,
        "license": ["?"] * rows,
        "crawl": ["C"] * rows,
    }
    types = {"WIDTH": pa.int32(), "HEIGHT": pa.int32()}
    return pa.table(
        {"URL": pa.array(urls)}
        | {name: pa.array(one, types.get(name)) for name, one in (filled | columns).items()}
    )


def test_many_subsets_unknown_values_and_hosts_by_any_spelling(tmp_path: Path) -> None:
    """Ten subsets, more than fit into an array of all their sets."""
    where = {f"subsets/s{n}": f"WIDTH > {n} -- and a comment" for n in range(9)}
    where["subsets/unknown"] = "license LIKE 'http%'"
    urls = [
        "http://A.org/x",
        "http://a.org:80/y",
        "https://u:p@a.org/z",
        "http://b.org?q",
        "http://c",
    ]
    table = joined(urls, WIDTH=[0, 3, 5, 100, 9], license=["?", None, "http://l", "?", None])
    with Counting(where, [], tmp_path) as counts:
        count = counts.of("laion-en")
        count(table.slice(0, 3))
        count(table.slice(3))
        assert counts.members("laion-en", "subsets/s3").tolist() == [False, False, True, True, True]
        # A condition that is neither true nor false leaves a row out, as in WHERE.
        unknown = counts.members("laion-en", "subsets/unknown")
        assert unknown.tolist() == [False, False, True, False, False]
        counts.write(tmp_path / "c.parquet", tmp_path / "h.parquet")
    found = compute(
        [tmp_path / "c.parquet"], [tmp_path / "h.parquet"], ["laion-en", *where], heads=[]
    )
    hosts = {one["host"]: one["count"] for one in found["all"]["hosts"]}
    assert hosts == Counter(host_of(url) for url in urls) == {"a.org": 3, "b.org": 1, "c": 1}
    assert found["all"]["distinct_hosts"] == 3
    of_subset = found["subsets/s3"]
    assert (of_subset["count"], of_subset["distinct_hosts"]) == (3, 3)
    assert found["subsets/unknown"]["hosts"] == [{"host": "a.org", "count": 1, "share": 1.0}]
    # What is not known is not counted as a licence.
    licenses = {one["license"]: one["count"] for one in found["laion-en"]["licenses"]}
    assert licenses == {"?": 2, "http://l": 1}
    assert found["laion-en"]["languages"] == [{"language": "en", "count": 5, "share": 1.0}]


def test_a_predicate_that_fails_on_a_row_names_the_key(tmp_path: Path) -> None:
    where = {"subsets/old": "CAST(TEXT AS INTEGER) < 1900"}
    with (
        Counting(where, [], tmp_path) as counts,
        pytest.raises(UsageError, match=r"release\.subsets: .*TRY_CAST"),
    ):
        counts.of("laion-en")(joined(["http://a.org/x"], TEXT=["a boat"]))


def test_without_subsets_and_rows(tmp_path: Path) -> None:
    with Counting({}, [], tmp_path) as counts:
        counts.of("laion-multi")
        counts.write(tmp_path / "c.parquet", tmp_path / "h.parquet")
    assert pq.read_table(tmp_path / "c.parquet").num_rows == 0
    assert pq.read_table(tmp_path / "h.parquet").column_names == ["split", "host", "n"]


def test_values_far_apart_are_counted_without_an_array_of_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    codes, groups = np.array([5, 10**9, 5]), np.zeros(3, np.int64)
    there, counts = histogram(codes, groups, np.ones((1, 1)))
    assert dict(zip(there.tolist(), counts[:, 0].tolist(), strict=True)) == {5: 2, 10**9: 1}
    monkeypatch.setattr(block_counts, "MOST_CELLS", 0)
    again = histogram(np.array([5, 6, 5]), groups, np.ones((1, 1)))
    assert [one.ravel().tolist() for one in again] == [[5, 6], [2, 1]]


def test_a_table_that_is_none_is_named(tmp_path: Path) -> None:
    path = tmp_path / "0007.counts.parquet"
    path.write_bytes(b"no parquet")
    with pytest.raises(InputError, match=r"0007\.counts\.parquet.*release block"):
        compute([path], [], ["laion-en"], heads=[])
    pq.write_table(pa.table({"x": [1]}), path)
    with pytest.raises(InputError, match=r"0007\.counts\.parquet: not the counts of a block"):
        compute([path], [], ["laion-en"], heads=[])
