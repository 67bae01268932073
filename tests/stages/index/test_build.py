"""train, add, merge on synthetic clusters."""

import shutil
from pathlib import Path

import faiss
import numpy as np
import pytest

from laion_hpc.config import digest
from laion_hpc.errors import InputError, LaionHpcError, UsageError
from laion_hpc.files import ledger
from laion_hpc.files.index_folder import PLACES, open_index, read_about, vector_id
from laion_hpc.stages.index.add import add, map_lists
from laion_hpc.stages.index.evaluate import evaluate, search_parameters
from laion_hpc.stages.index.merge import merge
from laion_hpc.stages.index.train import train
from tests.stages.index.blocks import build, clustered, config, samples, write_block

WIDTH = 32
ROWS = {3: 1_300, 4: 0, 11: 900}
KEY = "IVF32,SQfp16"


@pytest.fixture(scope="module")
def blocks(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    root = tmp_path_factory.mktemp("embed")
    return {
        block: write_block(
            root / f"{block:04d}", clustered(rows, WIDTH, seed=block), samples(block, rows)
        )
        for block, rows in ROWS.items()
    }


@pytest.fixture(scope="module")
def index(blocks: dict[int, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("index"), blocks, config(key=KEY))


def sums(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def neighbours(folder: Path, queries: np.ndarray, k: int = 10) -> tuple[np.ndarray, np.ndarray]:
    opened = open_index(folder)
    found = opened.search(queries, k, params=search_parameters(opened, 32))
    return found[0], found[1]


def test_all_vectors_are_found_under_their_ids(index: Path) -> None:
    for block, rows in ROWS.items():
        vectors = clustered(rows, WIDTH, seed=block)[::50]
        if rows:
            _, ids = neighbours(index, vectors, 1)
            assert ids[:, 0].tolist() == [vector_id(block, row) for row in range(0, rows, 50)]


def test_half_precision_codes_lose_nothing(index: Path) -> None:
    vectors = clustered(ROWS[3], WIDTH, seed=3)[:5].astype(np.float16).astype(np.float32)
    found, _ = neighbours(index, vectors, 1)
    np.testing.assert_allclose(found[:, 0], (vectors**2).sum(1), rtol=1e-6)


def test_folder_can_be_moved(index: Path, tmp_path: Path) -> None:
    queries = clustered(20, WIDTH, seed=77)
    before = neighbours(index, queries)
    moved = tmp_path / "elsewhere" / "index"
    shutil.copytree(index, moved)
    shutil.move(moved / "image.ivfdata", moved / "x")
    with pytest.raises(InputError):
        neighbours(moved, queries)
    shutil.move(moved / "x", moved / "image.ivfdata")
    after = neighbours(moved, queries)
    assert (before[1] == after[1]).all()
    assert str(index).encode() not in (moved / "image.index").read_bytes()


def test_same_bytes_whatever_the_order_and_the_threads(
    index: Path, blocks: dict[int, Path], tmp_path: Path
) -> None:
    again = build(tmp_path, blocks, config(key=KEY), threads=3, reverse=True)
    assert sums(again) == sums(index)


@pytest.mark.parametrize("key", ["IVF64_HNSW8,Flat", "OPQ4_8,IVF8,PQ4x8"])
def test_training_is_reproducible_with_threads(
    key: str, blocks: dict[int, Path], tmp_path: Path
) -> None:
    for threads in (1, 2):
        train(
            [blocks[3]],
            tmp_path / f"{threads}.index",
            config=config(key=key, train_vectors=600).index,
            digest="",
            seed=1,
            threads=threads,
        )
    assert (tmp_path / "1.index").read_bytes() == (tmp_path / "2.index").read_bytes()


def test_an_index_of_the_texts(tmp_path: Path) -> None:
    images, texts = clustered(400, WIDTH, seed=1), clustered(400, WIDTH, seed=2)
    folder = write_block(tmp_path / "0007", images, samples(7, 400), texts=texts)
    built = build(tmp_path / "text", {7: folder}, config(key="IVF4,SQfp16"), modality="text")
    about = read_about(built)
    assert (about.modality, about.count) == ("text", 400)
    assert (built / "text.ivfdata").stat().st_size > 0
    assert not list(built.glob("image.*"))
    _, ids = neighbours(built, texts[:30], 1)
    assert ids[:, 0].tolist() == [vector_id(7, row) for row in range(30)]
    settings = config(evaluate_queries=50).index
    result = evaluate(built, [folder], built / "evaluation.json", config=settings, seed=0)
    assert result["queries"] == {"image": 50, "text": 50}
    assert result["recall"][-1]["text"] == {"1": 1.0, "10": 1.0, "100": 1.0}


def test_places_lead_from_id_to_vector(index: Path) -> None:
    opened = open_index(index)
    places = np.load(index / PLACES, mmap_mode="r")
    start = 0
    for block in read_about(index).blocks:
        vectors = clustered(block.vectors, WIDTH, seed=block.block)
        for row in range(0, block.vectors, 97):
            cell, offset = (int(n) for n in places[start + row])
            found = np.empty(WIDTH, np.float32)
            opened.reconstruct_from_offset(cell, offset, faiss.swig_ptr(found))
            np.testing.assert_array_equal(found, vectors[row].astype(np.float16))
        start += block.vectors
    assert start == len(places) == sum(ROWS.values())


def test_ledgers_balance_and_are_taken_up_again(index: Path, blocks: dict[int, Path]) -> None:
    manifest = ledger.read(index / "manifest.json")
    books = [ledger.read(index / "blocks" / f"{block:04d}.ledger.json") for block in ROWS]
    assert manifest.unit == "vectors"
    assert manifest.inputs == manifest.kept == sum(book.kept for book in books)
    assert manifest.kept == sum(ROWS.values()) == read_about(index).count
    stamps = {path: path.stat().st_mtime_ns for path in index.rglob("*") if path.is_file()}
    build(index, blocks, config(key=KEY))
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps


def test_lists_of_an_empty_block(index: Path) -> None:
    lists = map_lists(index / "blocks" / "0004.index")
    assert sum(lists.list_size(cell) for cell in range(lists.nlist)) == 0


def test_index_of_empty_blocks_alone(blocks: dict[int, Path], tmp_path: Path) -> None:
    train([blocks[3]], tmp_path / "t.index", config=config().index, digest="", seed=0)
    add(tmp_path / "t.index", blocks[4], tmp_path / "0004.index", block=4, digest="")
    merge(
        tmp_path / "t.index",
        [tmp_path / "0004.index"],
        tmp_path,
        model=config().embed.model,
        digest="",
    )
    assert read_about(tmp_path).count == 0
    _, ids = neighbours(tmp_path, clustered(2, WIDTH, seed=1), 3)
    assert (ids == -1).all()


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("HNSW32", "IVF family"),
        ("IVF16,PQ5x8", "IVF16,PQ5x8"),
        ("IVF4096,Flat", "4096 cells"),
        ("IVF16,Nonsense", "faiss does not know"),
        ("IVF16,PQ8x4fs", "cannot be merged on disk"),
    ],
)
def test_keys_that_will_not_do(
    key: str, message: str, blocks: dict[int, Path], tmp_path: Path
) -> None:
    with pytest.raises(LaionHpcError, match=message):
        train([blocks[3]], tmp_path / "t.index", config=config(key=key).index, digest="", seed=0)
    assert not list(tmp_path.iterdir())


def test_a_gpu_is_used_where_there_is_one(
    blocks: dict[int, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = []
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 1)
    monkeypatch.setattr(
        faiss, "index_cpu_to_all_gpus", lambda index: sent.append(index) or index, raising=False
    )
    for device, uses in (("cpu", 0), ("auto", 1), ("cuda", 2)):
        settings = config(key="IVF8,Flat", device=device).index
        train([blocks[3]], tmp_path / f"{device}.index", config=settings, digest="", seed=0)
        assert len(sent) == uses
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 0)
    settings = config(device="cuda").index
    with pytest.raises(UsageError, match="sees no GPU"):
        train([blocks[3]], tmp_path / "t.index", config=settings, digest="", seed=0)


def test_wrong_inputs_are_named(blocks: dict[int, Path], index: Path, tmp_path: Path) -> None:
    trained = index / "trained.index"
    with pytest.raises(InputError, match="no such folder"):
        add(trained, tmp_path / "none", tmp_path / "o.index", block=0, digest="")
    with pytest.raises(InputError, match="the faiss index is incomplete"):
        (tmp_path / "bad.index").write_bytes(trained.read_bytes()[:50])
        shutil.copy(ledger.path_of(trained), tmp_path / "bad.ledger.json")
        add(tmp_path / "bad.index", blocks[3], tmp_path / "o.index", block=0, digest="")
    wide = write_block(tmp_path / "0001", clustered(10, 48, seed=1), samples(1, 10))
    with pytest.raises(InputError, match="vectors of 48 numbers"):
        add(trained, wide, tmp_path / "o.index", block=0, digest="")
    with pytest.raises(InputError, match="different widths"):
        train([blocks[3], wide], tmp_path / "t", config=config().index, digest="", seed=0)
    with pytest.raises(InputError, match="nothing to index"):
        train([blocks[4]], tmp_path / "t", config=config().index, digest="", seed=0)
    (wide / "img_emb" / "img_emb_00000.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(InputError, match=r"cannot be read"):
        add(trained, wide, tmp_path / "o.index", block=0, digest="")


def test_a_block_of_another_training_is_refused(
    index: Path, blocks: dict[int, Path], tmp_path: Path
) -> None:
    settings = config(key="IVF16,Flat")
    build(tmp_path, {3: blocks[3]}, settings)
    block = index / "blocks" / "0003.index"
    with pytest.raises(InputError, match="another trained index"):
        merge(tmp_path / "trained.index", [block], tmp_path, model=settings.embed.model, digest="")
    with pytest.raises(InputError, match="block 3 is also in"):
        merge(
            index / "trained.index", [block, block], tmp_path, model=settings.embed.model, digest=""
        )


def test_shards_missing_since_the_manifest(tmp_path: Path, index: Path) -> None:
    folder = write_block(tmp_path / "0001", clustered(10, WIDTH, seed=1), samples(1, 10), shard=5)
    (folder / "img_emb" / "img_emb_00001.npy").unlink()
    with pytest.raises(InputError, match="5 vectors, but its manifest lists 10"):
        add(index / "trained.index", folder, tmp_path / "o.index", block=1, digest="")


def test_config_digest_makes_it_again(blocks: dict[int, Path], tmp_path: Path) -> None:
    for seed_key in ("IVF8,Flat", "IVF4,Flat"):
        settings = config(key=seed_key)
        build(tmp_path, {3: blocks[3]}, settings)
        assert read_about(tmp_path).key == seed_key
        assert ledger.read(tmp_path / "manifest.json").config == digest(settings, "index")


def test_usage_error_is_exit_2() -> None:
    assert UsageError.exit_code == 2
