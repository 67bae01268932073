"""Training and encoding in pieces: the same bytes for any number of threads, as good as faiss'."""

import faiss
import numpy as np
import pytest

from laion_hpc.stages.index import quantisers
from laion_hpc.stages.index.quantisers import (
    PIECE_ROWS,
    applied,
    encode_into,
    one_thread_each,
    train_encoder,
    train_rotation,
)
from tests.stages.index.blocks import clustered, unit

WIDTH = 24
SAMPLE = clustered(3_000, WIDTH, 1)
LONG = clustered(2 * PIECE_ROWS + 700, WIDTH, 2)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantisers, "OPQ_ROUNDS", 6)


def skewed(count: int, seed: int) -> np.ndarray:
    """Unit vectors that spread much more in some directions than in others."""
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((WIDTH, WIDTH)))[0]
    spread = np.arange(1, WIDTH + 1) ** -1.0
    return unit(np.random.default_rng(seed).standard_normal((count, WIDTH)) * spread @ turn).astype(
        np.float32
    )


def rotation(out: int, threads: int, sample: np.ndarray = SAMPLE) -> faiss.OPQMatrix:
    opq = faiss.OPQMatrix(WIDTH, 4, out)
    with one_thread_each(threads) as pool:
        train_rotation(opq, sample, seed=3, pool=pool)
    return opq


def matrix(opq: faiss.OPQMatrix) -> np.ndarray:
    return faiss.vector_to_array(opq.A).reshape(opq.d_out, opq.d_in)


def error(opq: faiss.OPQMatrix) -> float:
    """Mean squared error of held-out vectors under a product quantiser after the rotation."""
    quantiser = faiss.ProductQuantizer(opq.d_out, 4, 8)
    quantiser.cp.min_points_per_centroid = 1
    quantiser.train(opq.apply(skewed(3_000, 1)))
    held = opq.apply(skewed(1_000, 9))
    codes = quantiser.compute_codes(held)
    return float(((held - quantiser.decode(codes)) ** 2).sum(1).mean())


@pytest.mark.parametrize("out", [16, 24, 32])
def test_a_rotation_keeps_lengths_and_does_not_depend_on_threads(out: int) -> None:
    opq = rotation(out, 1)
    short = matrix(opq) @ matrix(opq).T if out <= WIDTH else matrix(opq).T @ matrix(opq)
    np.testing.assert_allclose(short, np.eye(len(short)), atol=1e-4)
    assert matrix(opq).tobytes() == matrix(rotation(out, 3)).tobytes()
    if out >= WIDTH:
        np.testing.assert_allclose(opq.reverse_transform(opq.apply(SAMPLE)), SAMPLE, atol=1e-5)


def test_a_rotation_is_as_good_as_that_of_faiss(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = faiss.OPQMatrix(WIDTH, 4, WIDTH)
    theirs.niter = 12
    theirs.train(skewed(3_000, 1))
    start = faiss.RandomRotationMatrix(WIDTH, WIDTH)
    start.init(5)
    monkeypatch.setattr(quantisers, "OPQ_ROUNDS", 12)
    ours = error(rotation(WIDTH, 1, skewed(3_000, 1)))
    assert ours < 1.05 * error(theirs)
    assert ours < 0.9 * error(start)


def test_a_transform_in_pieces_is_the_transform() -> None:
    transform = faiss.RandomRotationMatrix(WIDTH, 16)
    transform.init(1)
    found = []
    for threads in (1, 3):
        with one_thread_each(threads) as pool:
            found.append(applied(transform, LONG.astype(np.float16), pool))
    assert found[0].tobytes() == found[1].tobytes()
    expected = transform.apply(LONG.astype(np.float16).astype(np.float32))
    np.testing.assert_allclose(found[0], expected, atol=1e-6)


def trained(key: str) -> faiss.Index:
    index = faiss.index_factory(WIDTH, key, faiss.METRIC_INNER_PRODUCT)
    ivf = faiss.downcast_index(faiss.extract_index_ivf(index))
    if isinstance(ivf, faiss.IndexIVFPQ):
        ivf.do_polysemous_training = False
    faiss.omp_set_num_threads(1)
    index.train(SAMPLE)
    return index


@pytest.mark.parametrize(
    "key", ["IVF16,Flat", "IVF16_HNSW8,SQfp16", "IVF16,PQ4x8", "PCA16,IVF16,PQ4x8", "IVF16,RaBitQ"]
)
def test_vectors_are_added_as_faiss_adds_them(key: str) -> None:
    theirs, ids = trained(key), np.arange(len(LONG), dtype=np.int64) + (7 << 32)
    ours = [faiss.clone_index(theirs) for _ in range(2)]
    theirs.add_with_ids(LONG, ids)
    for threads, index in enumerate(ours, start=1):
        with one_thread_each(threads) as pool:
            encode_into(index, LONG, ids, pool)
    lists = [faiss.extract_index_ivf(index).invlists for index in (theirs, *ours)]
    same = 0
    for cell in range(16):
        sizes = [one.list_size(cell) for one in lists]
        codes = [
            faiss.rev_swig_ptr(one.get_codes(cell), size * one.code_size).tobytes()
            for one, size in zip(lists, sizes, strict=True)
        ]
        found = [
            faiss.rev_swig_ptr(one.get_ids(cell), size).tolist()
            for one, size in zip(lists, sizes, strict=True)
        ]
        assert (codes[1], found[1]) == (codes[2], found[2])
        same += len({*found[0]} & {*found[1]})
        if found[0] == found[1]:
            theirs_codes, our_codes = (np.frombuffer(one, np.uint8) for one in codes[:2])
            assert (theirs_codes == our_codes).mean() > 0.999
    # A last bit of a matrix product may send a vector on the border to the next cell.
    assert same >= 0.999 * len(LONG)


def test_the_encoder_is_as_good_as_that_of_faiss() -> None:
    errors = []
    for ours in (False, True):
        index = trained("IVF16,PQ4x8")
        if ours:
            faiss.copy_array_to_vector(np.zeros(WIDTH * 256, np.float32), index.pq.centroids)
            with one_thread_each(2) as pool:
                train_encoder(index, SAMPLE, pool=pool)
        again = index.sa_decode(index.sa_encode(LONG))
        errors.append(float(((LONG - again) ** 2).sum(1).mean()))
    assert errors[1] < 1.03 * errors[0]
