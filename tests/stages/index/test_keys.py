import pytest
from hypothesis import given
from hypothesis import strategies as st

from laion_hpc.stages.index.keys import ID_BYTES, cells_of, choose_key, rotation_count, train_count

GB = 1_000_000_000


@pytest.mark.parametrize(
    ("budget", "key"),
    [
        (800 * GB, "OPQ128_896,IVF131072_HNSW32,PQ128x8"),  # LAION-5B's own
        (400 * GB, "OPQ64_448,IVF131072_HNSW32,PQ64x8"),
        (200 * GB, "OPQ24_168,IVF131072_HNSW32,PQ24x8"),
    ],
)
def test_autofaiss_published_keys_of_laion_5b(budget: int, key: str) -> None:
    assert choose_key(5_550_000_000, 768, budget) == key


@pytest.mark.parametrize(
    ("count", "key"),
    [
        (1, "IVF1,SQfp16"),
        (999, "IVF1,SQfp16"),
        (1_000, "IVF16,SQfp16"),
        (100_000, "IVF1024_HNSW32,SQfp16"),
        (1_000_000, "IVF16384_HNSW32,SQfp16"),
        (20_000_000, "OPQ256_1024,IVF65536_HNSW32,PQ256x8"),
    ],
)
def test_key_grows_with_the_number_of_vectors(count: int, key: str) -> None:
    assert choose_key(count, 768, 800 * GB) == key


@given(st.integers(1, 10**10), st.integers(5, 2_048), st.integers(10**9, 10**12))
def test_automatic_key_is_mergeable_trainable_and_within_its_budget(
    count: int, width: int, budget: int
) -> None:
    key = choose_key(count, width, budget)
    cells = cells_of(key)
    assert cells is not None
    assert cells == 1 or cells * 39 <= count
    code = 2 * width if key.endswith("SQfp16") else int(key.rpartition("PQ")[2].partition("x")[0])
    least = 4 + ID_BYTES
    assert count * (code + ID_BYTES) <= max(budget, count * least, 1_000 * (2 * width + ID_BYTES))
    if key.startswith("OPQ"):
        length, _, rotated = key[3:].partition(",")[0].partition("_")
        assert int(rotated) % int(length) == 0


@pytest.mark.parametrize(
    ("key", "cells"),
    [("IVF16,Flat", 16), ("OPQ8_56,IVF64_HNSW32,PQ8x8", 64), ("HNSW32", None), ("PQ8x8", None)],
)
def test_cells_of_a_key(key: str, cells: int | None) -> None:
    assert cells_of(key) == cells


def test_training_sample() -> None:
    assert train_count(131_072, 0, 10**10) == 131_072 * 64
    assert train_count(131_072, 5_000_000, 10**10) == 5_000_000
    assert train_count(1, 0, 50) == 50
    assert train_count(4_096, 0, 10**10) == 4_096 * 256
    assert train_count(16, 0, 10**10) == 65_536
    assert [rotation_count(n) for n in (500, 65_536, 10**6)] == [32_768, 32_768, 65_536]
