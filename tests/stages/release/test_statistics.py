import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from laion_hpc.stages.release import statistics
from laion_hpc.stages.release.block import make_block
from laion_hpc.stages.release.statistics import QUANTILES, compute
from laion_hpc.web.url import host_of
from tests.stages.release.blocks import samples, write_block
from tests.stages.release.test_block import block_of

Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Rows]:
    root = tmp_path_factory.mktemp("statistics")
    rows = samples(300)
    # Two blocks, to be added up, in row groups of 40 rows.
    numbers = computed(root, [rows[:130], rows[130:]], ["pwatermark", "punsafe"])
    return numbers, rows


def computed(root: Path, blocks: list[Rows], heads: list[str]) -> dict[str, Any]:
    """Statistics of blocks with these samples."""
    for number, rows in enumerate(blocks):
        make_block(*write_block(root, rows, number), block_of(root, number=number))
    tables = root / "release" / "blocks"
    counts, hosts = (sorted(tables.glob(f"*.{kind}.parquet")) for kind in ("counts", "hosts"))
    datasets = ["laion-en", "laion-multi", "laion-nolang", "subsets/high-resolution"]
    return compute(counts, hosts, datasets, heads=heads, threads=2)


def members(rows: Rows, dataset: str) -> Rows:
    if dataset == "all":
        return rows
    if dataset.startswith("laion-"):
        return [row for row in rows if row["language_class"] == dataset.removeprefix("laion-")]
    return [r for r in rows if r["original_width"] >= 1024 and r["original_height"] >= 1024]


DATASETS = ["all", "laion-en", "laion-multi", "laion-nolang", "subsets/high-resolution"]


@pytest.mark.parametrize("dataset", DATASETS)
def test_numbers_equal_an_independent_count(
    made: tuple[dict[str, Any], Rows], dataset: str
) -> None:
    numbers, rows = made[0][dataset], members(made[1], dataset)
    count = len(rows)
    assert numbers["count"] == count
    assert count > 20
    for side in (256, 512, 1024):
        n = sum(row["original_width"] >= side <= row["original_height"] for row in rows)
        expected = {"count": n, "share": pytest.approx(n / count, abs=1e-6)}
        assert numbers["both_sides_at_least"][str(side)] == expected
    values = {
        "width": [row["original_width"] for row in rows],
        "height": [row["original_height"] for row in rows],
        "text_length": [len(row["caption"]) for row in rows],
    }
    for name, column in values.items():
        expected_quantiles = {
            f"{q:.2f}": int(np.quantile(column, q, method="inverted_cdf")) for q in QUANTILES
        }
        assert numbers["quantiles"][name] == expected_quantiles
    assert numbers["average_text_length"] == pytest.approx(np.mean(values["text_length"]), abs=1e-3)
    for head in ("punsafe", "pwatermark"):
        for limit in (0.5, 0.8):
            n = sum(np.float32(row[head]) > np.float32(limit) for row in rows)
            assert numbers["heads"][head]["above"][str(limit)]["count"] == n
    languages = Counter(row["language"] or "nolang" for row in rows)
    assert {one["language"]: one["count"] for one in numbers["languages"]} == languages
    hosts = Counter(host_of(row["url"]) for row in rows)
    ranked = sorted(hosts.items(), key=lambda item: (-item[1], item[0]))
    assert [(one["host"], one["count"]) for one in numbers["hosts"]] == ranked
    assert numbers["distinct_hosts"] == len(hosts)
    licenses = Counter(row["license"] for row in rows)
    assert {one["license"]: one["count"] for one in numbers["licenses"]} == licenses
    assert {one["class"]: one["count"] for one in numbers["nsfw"]} == Counter(
        row["nsfw"] for row in rows
    )


@pytest.mark.parametrize("dataset", DATASETS)
def test_histograms_hold_every_row_in_its_bin(
    made: tuple[dict[str, Any], Rows], dataset: str
) -> None:
    histograms, rows = made[0][dataset]["histograms"], members(made[1], dataset)
    shape = histograms["similarity"]
    expected: Counter[int] = Counter()
    for row in rows:
        hundredth = math.floor(float(np.float32(row["similarity"])) * 100)
        # In whole hundredths: a quotient of floats may fall just short of its integer.
        expected[(hundredth - round(shape["start"] * 100)) // round(shape["width"] * 100)] += 1
    assert +Counter(dict(enumerate(shape["counts"]))) == expected
    shorter = [min(row["original_width"], row["original_height"]) for row in rows]
    edges = [-math.inf, *histograms["short_side"]["edges"], math.inf]
    assert histograms["short_side"]["counts"] == np.histogram(shorter, edges)[0].tolist()


def test_no_samples_no_numbers() -> None:
    numbers = compute([], [], ["laion-en"], heads=[])
    assert numbers["all"] == numbers["laion-en"]
    assert numbers["all"]["count"] == 0
    assert numbers["all"]["quantiles"]["width"] == {}


def test_scores_that_are_no_numbers_are_left_out(tmp_path: Path) -> None:
    rows = samples(40)
    rows[3]["punsafe"], rows[4]["punsafe"] = math.nan, math.inf
    numbers = computed(tmp_path, [rows], ["punsafe"])["all"]
    assert sum(numbers["heads"]["punsafe"]["histogram"]["counts"]) == 38
    finite = [row["punsafe"] for row in rows if math.isfinite(row["punsafe"])]
    above = numbers["heads"]["punsafe"]["above"]["0.5"]["count"]
    assert above == sum(value > 0.5 for value in finite)


@given(st.lists(st.integers(0, 50), min_size=1))
def test_quantiles_are_those_of_the_inverted_distribution(values: list[int]) -> None:
    found = statistics.quantiles(Counter(values))
    ranked = sorted(values)
    for step in range(1, 20):
        # The smallest value that at least 5·step percent do not exceed, in exact integers.
        position = -(-step * len(values) // 20) - 1
        assert found[f"{step * 0.05:.2f}"] == ranked[position]


@given(st.dictionaries(st.integers(-1000, 100_000), st.integers(1, 9), min_size=1))
def test_histograms_lose_nothing(tally: dict[int, int]) -> None:
    shape = statistics.hundredths_histogram(Counter(tally))
    assert sum(shape["counts"]) == sum(tally.values())
    assert len(shape["counts"]) <= 60
    assert shape["counts"][0]
    assert shape["counts"][-1]
    edges = statistics.edges_histogram(Counter(tally), (1, 10, 100))
    assert sum(edges["counts"]) == sum(tally.values())
