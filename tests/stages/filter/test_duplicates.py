"""Duplicates by content: what is one, which of them stays, and that a block drops just those."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from PIL import Image

from laion_hpc.cli import main
from laion_hpc.config import Config
from laion_hpc.config.sections import DuplicatesConfig
from laion_hpc.errors import InputError, UsageError
from laion_hpc.files import ledger
from laion_hpc.stages.filter import duplicates, signatures, thresholds
from tests.stages.filter import blocks
from tests.stages.filter.test_block import changed, contents, no_model, run, scored  # noqa: F401

pytestmark = pytest.mark.slow


def greedy(count: int, alike: Callable[[int, int], bool]) -> list[bool]:
    """The rule as it is told: dropped if an earlier one that stays is alike."""
    dropped: list[bool] = []
    for row in range(count):
        dropped.append(any(not dropped[e] and alike(e, row) for e in range(row)))
    return dropped


FEW_BITS = arrays.arrays(np.uint64, st.integers(0, 40), elements=st.integers(0, 63))


@given(FEW_BITS, st.integers(0, 3))
def test_perceptual_is_the_rule(hashes: NDArray[np.uint64], distance: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(duplicates, "CHUNK", 7)
        found = duplicates.perceptual(hashes, distance)
    expected = greedy(
        len(hashes),
        lambda a, b: (
            bool(hashes[a]) and bool(hashes[b])
            and int(hashes[a] ^ hashes[b]).bit_count() <= distance
        ),
    )  # fmt: skip
    assert found.tolist() == expected


@given(FEW_BITS)
def test_exact_is_the_rule(hashes: NDArray[np.uint64]) -> None:
    pairs = np.stack([hashes // 8, hashes % 8], axis=1)
    expected = greedy(
        len(hashes), lambda a, b: bool(hashes[a]) and bool((pairs[a] == pairs[b]).all())
    )
    assert duplicates.exact(pairs).tolist() == expected


def vectors(count: int, seed: int) -> NDArray[np.float16]:
    """Unit vectors, many of them near others, with some rows of zeros."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(6, 16))
    found = centres[rng.integers(0, 6, count)] + rng.normal(0, 0.25, (count, 16))
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    found[rng.random(count) < 0.05] = 0
    return found.astype(np.float16)


def test_semantic_is_the_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = vectors(120, 1)
    whole = duplicates.semantic(rows, 0.9)
    monkeypatch.setattr(duplicates, "CHUNK", 7)
    wide = rows.astype(np.float32)
    expected = greedy(len(rows), lambda a, b: float(wide[a] @ wide[b]) >= 0.9)
    assert duplicates.semantic(rows, 0.9).tolist() == expected == whole.tolist()
    assert 20 < sum(expected) < 115


def test_clusters_are_a_partition_that_keeps_equals_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = np.concatenate([vectors(150, 2), vectors(150, 2)])
    assert [part.tolist() for part in duplicates.clusters(rows)] == [list(range(300))]
    assert duplicates.clusters(rows[:0]) == []
    monkeypatch.setattr(duplicates, "CLUSTER", 60)
    parts = duplicates.clusters(rows)
    assert len(parts) > 2
    assert sorted(np.concatenate(parts)) == list(range(300))
    for part in parts:
        assert all(a < b for a, b in pairwise(part))
        assert {row % 150 for row in part if row < 150} == {row % 150 for row in part if row >= 150}
    again = duplicates.clusters(rows)
    assert all(np.array_equal(a, b) for a, b in zip(parts, again, strict=True))


def scene(seed: int) -> Image.Image:
    """Clouds of colour: structure in both directions, as photographs have."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 7, 3), np.uint8)
    return Image.fromarray(coarse).resize((96, 80), Image.Resampling.BICUBIC)


def recompressed(image: Image.Image, side: float = 1.0, quality: int = 60) -> bytes:
    stream = io.BytesIO()
    size = (round(image.width * side), round(image.height * side))
    image.resize(size, Image.Resampling.BICUBIC).save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data)).convert("RGB")


def distance(a: Image.Image, b: Image.Image) -> int:
    mine, other = (int(signatures.perceptual_hash(image)) for image in (a, b))
    return (mine ^ other).bit_count()


def test_perceptual_hash_survives_what_the_web_does() -> None:
    images = [scene(seed) for seed in range(12)]
    for image in images:
        assert distance(image, opened(recompressed(image, 0.6))) <= 4
        assert distance(image, opened(recompressed(image, 1.7, 90))) <= 4
    others = [distance(a, b) for a in images for b in images if a is not b]
    assert min(others) > 8
    for plain in ((255, 255, 255), (10, 20, 30)):
        assert not signatures.perceptual_hash(Image.new("RGB", (60, 50), plain))


def test_pixel_hash_sees_every_pixel_and_the_size() -> None:
    image = scene(1)
    hashes = {tuple(signatures.pixel_hash(image).tolist())}
    assert tuple(signatures.pixel_hash(image.copy()).tolist()) in hashes
    changed_one = image.copy()
    red, green, blue = changed_one.getpixel((3, 4))  # type: ignore[misc]
    changed_one.putpixel((3, 4), (red, green, blue ^ 1))
    flat = [Image.new("RGB", size) for size in ((4, 6), (6, 4), (2, 12))]
    for other in (changed_one, *flat):
        hashes.add(tuple(signatures.pixel_hash(other).tolist()))
    assert len(hashes) == 5


EVERYTHING = DuplicatesConfig(exact=True, perceptual=4, semantic=0.9999)


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three shards: the second repeats pixels of the first, the third recompresses them."""
    first = [scene(seed) for seed in range(8)]
    shards = [
        [blocks.Row(f"first {i}", "en", blocks.jpeg(image)) for i, image in enumerate(first)],
        [blocks.Row(f"again {i}", "en", blocks.jpeg(image)) for i, image in enumerate(first[:5])],
        [blocks.Row(f"small {i}", "en", recompressed(image)) for i, image in enumerate(first[3:])]
        + [blocks.Row("half", "en", blocks.jpeg(first[0])[:300])],
    ]
    return blocks.download_block(tmp_path_factory.mktemp("copies") / "0000", shards)


@pytest.fixture(scope="module")
def lenient(config: Config) -> Config:
    lowest = config.filter.thresholds.model_copy(update={"en": -1.0})
    return changed(config, thresholds=lowest)


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory, copies: Path, lenient: Config) -> Path:
    output = tmp_path_factory.mktemp("once") / "0000"
    run(copies, output, changed(lenient, duplicates=EVERYTHING))
    return output


def which(row: dict[str, Any]) -> int:
    """The picture that a row shows, of the eight."""
    kind, number = row["caption"].split()
    return int(number) + (3 if kind == "small" else 0)


def test_of_every_picture_the_best_pair_stays(once: Path) -> None:
    rows = [row for row in scored(once) if row["fate"] != "undecodable"]
    manifest = ledger.read(once / "manifest.json")
    assert (manifest.inputs, manifest.kept, sum(manifest.dropped.values())) == (19, 8, 11)
    assert manifest.dropped["undecodable"] == 1
    assert manifest.dropped["duplicate_exact"] == 5
    assert manifest.dropped["duplicate_perceptual"] == 5
    for number in range(8):
        mine = [row for row in rows if which(row) == number]
        kept = [row for row in mine if row["fate"] == "kept"]
        assert len(kept) == 1
        assert kept[0]["similarity"] == max(row["similarity"] for row in mine)
    assert {row["key"] for row in rows if row["fate"] == "kept"} == {
        key
        for path in once.glob("0*.parquet")
        for key in pq.read_table(path, columns=["key"])["key"].to_pylist()
    }


def test_semantic_alone(copies: Path, lenient: Config, tmp_path: Path) -> None:
    alike = DuplicatesConfig(semantic=0.9999)
    manifest = run(copies, tmp_path / "0000", changed(lenient, duplicates=alike))
    assert manifest.dropped.keys() == {"duplicate_semantic", "undecodable"}
    # The random tower sees little: other pictures may be as near. The equal ones must go.
    assert manifest.dropped["duplicate_semantic"] >= 5
    table = pq.read_table(tmp_path / "0000" / "scores" / "00001.parquet")
    stored = np.load(tmp_path / "0000" / "scores" / "00001.semantic.npy")
    assert stored.shape == (table.num_rows, 24)


def test_off_by_default(copies: Path, lenient: Config, tmp_path: Path) -> None:
    assert signatures.kinds(Config().filter.duplicates) == ()
    manifest = run(copies, tmp_path / "0000", lenient)
    assert (manifest.kept, dict(manifest.dropped)) == (18, {"undecodable": 1})
    assert not list((tmp_path / "0000").rglob("*.npy"))


def test_processes_and_repetition_change_no_byte(
    copies: Path, once: Path, lenient: Config, tmp_path: Path
) -> None:
    path = tmp_path / "config.yaml"
    mine = changed(lenient, duplicates=EVERYTHING)
    path.write_text(yaml.safe_dump(mine.model_dump(mode="json", include={"dataset", "filter"})))
    command = ["filter", str(copies), "--output", str(tmp_path / "0000"), "--config", str(path)]
    assert main([*command, "--processes", "2"]) == 0
    assert contents(tmp_path / "0000") == contents(once)
    assert main([*command, "--rescore"]) == 0
    assert contents(tmp_path / "0000") == contents(once)


def test_thresholds_and_duplicates_are_cut_anew_without_a_model(
    copies: Path,
    once: Path,
    lenient: Config,
    tmp_path: Path,
    no_model: None,  # noqa: F811
) -> None:
    again = shutil.copytree(once, tmp_path / "0000")
    rows = [row for row in scored(once) if row["fate"] != "undecodable"]
    middle = float(np.median([row["similarity"] for row in rows]))
    strict = changed(
        lenient,
        duplicates=EVERYTHING,
        thresholds=lenient.filter.thresholds.model_copy(update={"en": middle}),
    )
    manifest = run(copies, again, strict, rescore=True)
    above = {which(row) for row in rows if row["similarity"] >= np.float32(middle)}
    assert manifest.kept == len(above) < 8
    run(copies, again, changed(lenient, duplicates=EVERYTHING), rescore=True)
    assert contents(again) == contents(once)
    # Only pixels: what perceptual hashes and embeddings were stored for is kept again.
    pixels = changed(lenient, duplicates=DuplicatesConfig(exact=True))
    assert run(copies, again, pixels, rescore=True).dropped["duplicate_exact"] == 5
    assert {path.suffixes[0] for path in again.rglob("*.npy")} == {".exact"}
    assert run(copies, again, lenient, rescore=True).kept == 18
    assert not list(again.rglob("*.npy"))
    with pytest.raises(InputError, match=r"signatures that filter\.duplicates needs"):
        run(copies, again, changed(lenient, duplicates=EVERYTHING), rescore=True)


def test_what_was_cut_differently_before_leaves_no_trace(
    copies: Path, once: Path, lenient: Config, tmp_path: Path
) -> None:
    plain = run(copies, tmp_path / "plain" / "0000", lenient)
    again = shutil.copytree(once, tmp_path / "0000")
    assert run(copies, again, lenient) == plain
    assert contents(again) == contents(tmp_path / "plain" / "0000")
    run(copies, again, changed(lenient, duplicates=EVERYTHING))
    assert contents(again) == contents(once)


@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_kill_while_cutting_is_made_good(
    copies: Path,
    once: Path,
    lenient: Config,
    tmp_path: Path,
    at: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    again = tmp_path / "0000"
    run(copies, again, lenient)
    plain = thresholds.cut_shard

    def dies(one: thresholds.Cut, *, job: Any) -> Any:
        if one.shard == f"{at:05d}" and one.duplicates:
            raise KeyboardInterrupt
        return plain(one, job=job)

    config = changed(lenient, duplicates=EVERYTHING)
    with monkeypatch.context() as patch:
        patch.setattr(thresholds, "cut_shard", dies)
        if ledger.read(once / "scores" / f"{at:05d}.ledger.json").dropped.keys() - {"undecodable"}:
            with pytest.raises(KeyboardInterrupt):
                run(copies, again, config)
            assert not (again / "manifest.json").exists()
    run(copies, again, config)
    assert contents(again) == contents(once)


def test_nothing_is_kept_of_unsafe_images(copies: Path, lenient: Config, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.yaml"
    prompts.write_text("unsafe: [a, b, c]\nneutral: [a, b]\nminor_words: [first]\n")
    config = changed(lenient, zero_shot=str(prompts), duplicates=EVERYTHING)
    run(copies, tmp_path / "0000", config)
    fates = np.array([row["fate"] for row in scored(tmp_path / "0000")])
    assert (fates == "unsafe_minor").any()
    for kind in signatures.KINDS:
        paths = sorted((tmp_path / "0000" / "scores").glob(f"*.{kind}.npy"))
        stored = np.concatenate([np.load(path) for path in paths])
        here = stored.reshape(len(stored), -1).any(axis=1)
        np.testing.assert_array_equal(here, ~np.isin(fates, ["unsafe_minor", "undecodable"]))


def test_scaled_images_cannot_be_compared() -> None:
    from laion_hpc.config import parse

    for kind in ({"exact": True}, {"perceptual": 3}):
        with pytest.raises(UsageError, match="set decode: full"):
            parse({"filter": {"decode": "scaled", "duplicates": kind}})
    parse({"filter": {"decode": "scaled", "duplicates": {"semantic": 0.9}}})
