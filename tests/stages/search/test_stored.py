"""The embeddings beside an index: read by id, ranked by; filters that keep little."""

import resource
from pathlib import Path

import numpy as np
import pytest

from laion_hpc.errors import InputError
from laion_hpc.files import ledger, stored_vectors
from laion_hpc.files.index_folder import read_about, vector_id
from laion_hpc.files.ledger import Ledger
from laion_hpc.files.stored_vectors import StoredVectors
from laion_hpc.stages.search.knn.collection import Collection
from laion_hpc.stages.search.knn.filters import Filter
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

ROWS, WIDTH, RARE = 4_000, 32, 100


@pytest.fixture(scope="module")
def coarse(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, np.ndarray]:
    """An index whose codes keep little (4 bytes a vector), its embeddings, and the vectors."""
    root = tmp_path_factory.mktemp("coarse")
    vectors = clustered(ROWS, WIDTH, seed=3).astype(np.float16).astype(np.float32)
    # One row in a hundred, spread over everything.
    language = ["ga" if row * 7_919 % RARE == 0 else "en" for row in range(ROWS)]
    table = samples(0, ROWS, language=language)
    block = write_block(root / "embed" / "0000", vectors, table, shard=1_500)
    tags = {0: write_tags(root / "tags.parquet", table)}
    index = build(root / "index", {0: block}, config(key="IVF32,PQ4x8"), tags=tags)
    return index, block, unit(vectors)


def test_vectors_by_id(world: World, tmp_path: Path) -> None:
    about = read_about(world.index)
    stored = StoredVectors([*world.embeddings, *world.embeddings[:1]], about)
    ids = [vector_id(12, 49), vector_id(3, 0), vector_id(3, 41), vector_id(3, 0)]
    np.testing.assert_allclose(stored.get(ids), world.vectors[[119, 0, 41, 0]], atol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(stored.get(ids), axis=1), 1, atol=1e-6)
    assert stored.get([]).shape == (0, world.vectors.shape[1])
    for absent in (-1, 7, vector_id(3, 70), vector_id(4, 0)):
        with pytest.raises(KeyError):
            stored.get([absent])
    with pytest.raises(InputError, match="block 12 of the index is not among"):
        StoredVectors(world.embeddings[:1], about)
    with pytest.raises(InputError, match="made by `embed`"):
        StoredVectors([tmp_path], about)


def test_more_shards_than_a_process_may_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    vectors = clustered(600, WIDTH, seed=5)
    block = write_block(tmp_path / "0000", vectors, samples(0, 600), shard=2)
    shards = sorted((block / "img_emb").iterdir())
    files = tuple(ledger.describe(path, rows=2, root=block) for path in shards)
    Ledger("embed", "samples", 600, 600, files=files).write(block / ledger.MANIFEST)
    index = build(tmp_path / "index", {0: block}, config(key="IVF4,SQfp16"))
    monkeypatch.setattr(stored_vectors, "OPEN_SHARDS", 8)
    here = len(list(Path("/proc/self/fd").iterdir()))
    resource.setrlimit(resource.RLIMIT_NOFILE, (here + 60, hard))
    try:
        stored = StoredVectors([block], read_about(index))
        for _ in range(2):
            np.testing.assert_allclose(stored.get(range(600)), vectors, atol=1e-3)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    (block / "img_emb" / "img_emb_00007.npy").write_bytes(b"")
    stored = StoredVectors([block], read_about(index))
    with pytest.raises(InputError, match=r"img_emb_00007.npy: cannot be read"):
        stored.get([15])


def test_true_cosines_rank_what_codes_find(coarse: tuple[Path, Path, np.ndarray]) -> None:
    index, block, vectors = coarse
    queries = clustered(40, WIDTH, seed=8)
    recalls = []
    for embeddings in ((), (block,)):
        collection = Collection(index, "coarse", embeddings)
        shares = []
        for query in queries:
            hits = collection.nearest(query, 10, nprobe=32)
            best = np.argsort(-(vectors @ query))[:10]
            shares.append(len(set(best.tolist()) & set(hits.ids.tolist())) / 10)
        recalls.append(np.mean(shares))
    np.testing.assert_allclose(hits.scores, vectors[hits.ids] @ query, atol=1e-3)
    assert recalls[1] > recalls[0] + 0.1


def test_a_filter_that_keeps_one_percent(coarse: tuple[Path, Path, np.ndarray]) -> None:
    index, block, vectors = coarse
    for embeddings, least in (((), 0.0), ((block,), 0.99)):
        collection = Collection(index, "coarse", embeddings)
        rare = collection.selection(Filter(language=("ga",)), safe=False, unsafe_threshold=0.5)
        assert rare is not None
        assert rare.count == ROWS // RARE
        ids, shares = rare.ids(), []
        for query in clustered(20, WIDTH, seed=9):
            hits = collection.nearest(query, 10, selection=rare, nprobe=2)
            assert len(hits.ids) == 10
            best = ids[np.argsort(-(vectors[ids] @ query))[:10]]
            shares.append(len(set(best.tolist()) & set(hits.ids.tolist())) / 10)
        assert np.mean(shares) >= least


def test_a_handful_is_read_without_scanning(coarse: tuple[Path, Path, np.ndarray]) -> None:
    index, block, vectors = coarse
    for embeddings in ((), (block,)):
        collection = Collection(index, "coarse", embeddings)
        few = collection.selection(Filter(max_punsafe=0.001), safe=False, unsafe_threshold=0.5)
        assert few is not None
        assert collection._compares_directly(few, 2)
        query = vectors[few.ids()[2]]
        hits = collection.nearest(query, 10, selection=few, nprobe=2)
        assert sorted(hits.ids.tolist()) == few.ids().tolist() == [0, 1, 2, 3]
        assert hits.ids[0] == 2


def test_duplicates_are_told_by_the_embeddings(coarse: tuple[Path, Path, np.ndarray]) -> None:
    """Codes of 4 bytes make neighbours the same; their embeddings are not."""
    index, block, vectors = coarse
    query = clustered(1, WIDTH, seed=10)[0]
    found = [
        Collection(index, "coarse", embeddings).nearest(query, 30, nprobe=32, duplicates_from=0.97)
        for embeddings in ((), (block,))
    ]
    cosines = vectors[found[1].ids] @ vectors[found[1].ids].T
    assert (cosines[np.triu_indices(30, 1)] < 0.97).all()
    best = np.argsort(-(vectors @ query))
    assert found[1].ids[0] == best[0]
    assert set(found[0].ids.tolist()) != set(found[1].ids.tolist())
