import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from laion_hpc.stages.search.knn import filters
from laion_hpc.stages.search.knn.collection import Collection
from laion_hpc.stages.search.knn.filters import Filter, Selection, conditions
from laion_hpc.stages.search.knn.nearest import Hits, cells_to_visit, distinct, nearest_distinct
from tests.stages.index.blocks import (
    build,
    clustered,
    config,
    samples,
    unit,
    write_block,
    write_tags,
)
from tests.stages.search.world import World


@given(st.integers(1, 64), st.integers(1, 4_096), st.floats(0, 1), st.integers(0, 10**10))
def test_a_filter_widens_the_search_but_not_beyond_all_cells(
    nprobe: int, cells: int, share: float, total: int
) -> None:
    visits = cells_to_visit(min(nprobe, cells), cells, share, total)
    assert min(nprobe, cells) <= visits <= cells


def test_a_filter_of_one_percent_visits_a_hundred_times_as_many() -> None:
    assert cells_to_visit(8, 100_000, 0.01, 10**10) == 800


def test_a_selective_filter_of_few_vectors_visits_all_cells() -> None:
    assert cells_to_visit(8, 4_096, 0.01, 1_000_000) == 4_096
    assert cells_to_visit(8, 4_096, 0.5, 1_000_000) == 16


@pytest.mark.parametrize("key", ["IVF64_HNSW4,SQfp16", "OPQ8_32,IVF64_HNSW4,PQ8x8"])
def test_many_cells_are_chosen_without_the_graph(key: str, tmp_path: Path) -> None:
    """Of unit vectors without clusters a thin graph reaches a part, their cells all the same."""
    vectors = unit(np.random.default_rng(0).standard_normal((3_000, 32))).astype(np.float32)
    block = write_block(tmp_path / "0000", vectors, samples(0, 3_000))
    tags = {0: write_tags(tmp_path / "tags.parquet", samples(0, 3_000))}
    index = build(tmp_path / "index", {0: block}, config(key=key), tags=tags)
    collection = Collection(index, "thin")
    whole = collection.nearest(vectors[0], 3_000, nprobe=64)
    assert sorted(whole.ids.tolist()) == list(range(3_000))
    assert (np.diff(whole.scores) <= 0).all()
    few = collection.nearest(vectors[0], 10, nprobe=2)
    some = dict(zip(whole.ids.tolist(), whole.scores.tolist(), strict=True))
    np.testing.assert_allclose(few.scores, [some[one] for one in few.ids.tolist()], rtol=1e-5)


@given(st.integers(0, 40), st.floats(0.5, 0.999))
def test_distinct_keeps_the_best_of_those_alike(count: int, threshold: float) -> None:
    vectors = clustered(count, 8, seed=count)
    keep = distinct(vectors, threshold)
    kept = vectors[keep]
    assert ((kept @ kept.T)[np.triu_indices(len(kept), 1)] < threshold).all()
    for row in np.flatnonzero(~keep):
        assert (vectors[:row][keep[:row]] @ vectors[row] >= threshold).any()


def test_duplicates_are_replaced_by_what_comes_next() -> None:
    # 300 results of which each ten are one image.
    vectors = np.repeat(np.eye(30, dtype=np.float32), 10, axis=0)
    asked = []

    def search(count: int) -> Hits:
        asked.append(count)
        return Hits(np.arange(count), np.linspace(1, 0, count, dtype=np.float32))

    hits = nearest_distinct(search, lambda ids: vectors[ids], 12, 0.9)
    assert hits.ids[:3].tolist() == [0, 10, 20]
    assert len(set((hits.ids // 10).tolist())) == len(hits.ids)
    assert asked[-1] <= 12 * 8 + 10
    assert len(hits.ids) >= 10


@pytest.fixture(scope="module")
def collection(world: World) -> Collection:
    return Collection(world.index, "demo")


@pytest.mark.parametrize("address_space", [True, False])
def test_selection_with_and_without_address_space(
    collection: Collection, address_space: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not address_space:
        monkeypatch.setattr(filters, "_sparse_bits", lambda blocks: None)
    tests = conditions(
        Filter(language=("de",), max_pwatermark=0.5),
        collection.table.columns,
        safe=True,
        unsafe_threshold=0.5,
    )
    blocks = [block.block for block in collection.about.blocks]
    selection = Selection(collection.table, tests, blocks)
    every = np.concatenate(
        [(b.block << 32) + np.arange(b.vectors) for b in collection.about.blocks]
    )
    rows = collection.table.rows(every.tolist())
    expected = [
        number
        for number, row in zip(every.tolist(), rows, strict=True)
        if row["language"] == "de" and row["pwatermark"] < 0.5 and row["punsafe"] < 0.5
    ]
    assert selection.count == len(expected) > 0
    assert selection.ids().tolist() == expected
    assert every[selection.holds(every)].tolist() == expected
    query = collection.vectors(expected[:1])[0]
    hits = collection.nearest(query, 100, selection=selection, nprobe=1)
    assert sorted(hits.ids.tolist()) == expected


def test_a_rare_selection_is_sampled_whole(collection: Collection) -> None:
    rare = collection.selection(
        Filter(host="h3.example.invalid", max_punsafe=0.05), safe=True, unsafe_threshold=0.5
    )
    assert rare is not None
    assert 0 < rare.count < 5
    assert sorted(collection.sample(1, 50, rare).tolist()) == rare.ids().tolist()


def test_nothing_selected_is_nothing_found(collection: Collection) -> None:
    none = collection.selection(Filter(min_width=100_000), safe=False, unsafe_threshold=0.5)
    assert none is not None
    assert collection.nearest(collection.vectors([3 << 32])[0], 5, selection=none).ids.size == 0
    assert collection.sample(1, 5, none).size == 0


def test_vectors_are_what_was_embedded(collection: Collection, world: World) -> None:
    found = collection.vectors([(3 << 32) + 7, 12 << 32])
    np.testing.assert_allclose(found, world.vectors[[7, 70]], atol=1e-3)
    with pytest.raises(KeyError):
        collection.vectors([5])


def test_a_filter_is_judged_once_for_all_who_ask(
    collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    plain = filters.Selection

    def slow(*arguments: object) -> Selection:
        made.append(arguments)
        time.sleep(0.05)
        return plain(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(filters, "Selection", slow)
    selections = filters.Selections(collection.table, [3, 12], keep=2)

    def ask(host: str) -> object:
        return selections.get(Filter(host=host), safe=True, unsafe_threshold=0.5)

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(ask, ["a.example"] * 8))
    assert len(made) == 1
    assert all(selection is found[0] for selection in found)
    for host in ("b.example", "c.example", "a.example"):  # only the last two are kept
        ask(host)
    assert len(made) == 4
