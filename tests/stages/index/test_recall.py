import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from laion_hpc.stages.index import recall
from laion_hpc.stages.index.embeddings import gather, sample_rows
from laion_hpc.stages.index.recall import (
    DEPTHS,
    SPARE,
    choose_nprobe,
    exact,
    nprobe_steps,
    without_own,
)
from tests.stages.index.blocks import clustered


def in_chunks(vectors: np.ndarray, size: int) -> list[tuple[np.ndarray, np.ndarray]]:
    ids = np.arange(len(vectors), dtype=np.int64) + 1_000
    return [(ids[i : i + size], vectors[i : i + size]) for i in range(0, len(vectors), size)]


@pytest.mark.parametrize("size", [1, 7, 100, 1_000])
def test_exact_neighbours_do_not_depend_on_the_chunks(size: int) -> None:
    vectors = clustered(400, 16, 1)
    queries = clustered(5, 16, 2)
    found = exact(queries, np.full(5, -1), in_chunks(vectors, size))
    scores = queries @ vectors.T
    best = np.argsort(-scores, axis=1)[:, :SPARE] + 1_000
    assert (found.ids[:, :50] == best[:, :50]).all()
    assert (np.diff(found.cosines, axis=1) <= 0).all()


def test_own_vector_is_left_out() -> None:
    vectors = clustered(30, 16, 1)
    own = np.arange(4, dtype=np.int64) + 1_000
    found = exact(vectors[:4], own, in_chunks(vectors, 8))
    assert not (found.ids == own[:, None]).any()
    assert ((found.ids >= 0).sum(1) == 29).all()
    assert (
        without_own(np.array([[5, 1, 2], [7, 8, 9]]), np.array([1, 1]), 2) == [[5, 2], [7, 8]]
    ).all()


def test_recall_of_the_truth_is_one_and_of_nothing_is_zero() -> None:
    vectors = clustered(150, 16, 1)
    truth = exact(clustered(6, 16, 3), np.full(6, -1), in_chunks(vectors, 64))
    for depth in DEPTHS:
        assert recall.recall(truth.ids, truth, depth) == 1.0
        assert recall.recall(np.full((6, 100), -1), truth, depth) == 0.0


def test_recall_counts_shares() -> None:
    truth = recall.Neighbours(
        np.array([[1, 2, 3, 4]]), np.array([[0.9, 0.8, 0.7, 0.6]], np.float32)
    )
    assert recall.recall(np.array([[1, 2, 9, 8]]), truth, 10) == 0.5
    assert recall.recall(np.array([[2, 1, 3, 4]]), truth, 1) == 0.0


def test_ties_count_as_well_as_each_other() -> None:
    truth = recall.Neighbours(np.array([[1, 2, 3]]), np.array([[0.9, 0.9, 0.9]], np.float32))
    assert recall.recall(np.array([[3, 7, 8]]), truth, 1) == 1.0


def test_nprobe_steps() -> None:
    assert nprobe_steps(1) == [1]
    assert nprobe_steps(24) == [1, 2, 4, 8, 16, 24]
    assert nprobe_steps(32) == [1, 2, 4, 8, 16, 32]
    assert nprobe_steps(131_072)[-1] == 1_024


def test_nprobe_is_the_smallest_that_serves_both_kinds() -> None:
    measured = [
        (1, {"image": 0.9, "text": 0.5}),
        (2, {"image": 0.99, "text": 0.9}),
        (4, {"image": 1.0, "text": 0.97}),
        (8, {"image": 1.0, "text": 0.97}),
    ]
    assert choose_nprobe(measured, 0.95) == (4, True)
    assert choose_nprobe(measured, 0.5) == (1, True)
    assert choose_nprobe(measured, 0.99) == (4, False)


@given(st.integers(0, 3_000), st.integers(1, 500), st.integers(0, 5))
def test_sample_is_ascending_without_repeats(total: int, count: int, seed: int) -> None:
    rows = sample_rows(total, count, (seed, 0))
    assert len(rows) == min(total, count)
    assert (np.diff(rows) > 0).all()
    assert ((rows >= 0) & (rows < total)).all()
    assert (rows == sample_rows(total, count, (seed, 0))).all()


def test_sample_reaches_all_shards(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("shards")
    vectors = clustered(500, 8, 1).astype(np.float16)
    shards = []
    for number, first in enumerate(range(0, 500, 90)):
        shards.append((folder / f"{number}.npy", len(vectors[first : first + 90])))
        np.save(shards[-1][0], vectors[first : first + 90])
    rows = sample_rows(500, 120, (1, 0))
    assert (gather(shards, rows, 8) == vectors[rows]).all()
    assert len(set((rows // 90).tolist())) == 6
