"""Clients that live in the tests' own environment, on the demo's release and shards.

Those that need an environment of their own are run by `make conformance`.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

SPLITS = ("laion-en", "laion-multi", "laion-nolang")

os.environ["HF_HUB_OFFLINE"] = "1"


@pytest.fixture(scope="module")
def results(demo_run: tuple[Path, str]) -> Path:
    return demo_run[0] / "results" / "demo"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache of its own for Hugging Face's library, which else writes to the home folder."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "huggingface"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield tmp_path / "cache"


def rows(folder: Path) -> int:
    return sum(pq.read_metadata(part).num_rows for part in folder.glob("*.parquet"))


def test_datasets_reads_every_config_of_the_card(results: Path, cache: Path) -> None:
    import datasets

    release = results / "release"
    names = datasets.get_dataset_config_names(str(release))
    assert set(SPLITS) < set(names)
    for name in names:
        folder = release / name if name.startswith("laion-") else release / "subsets" / name
        if not rows(folder):
            continue
        loaded = datasets.load_dataset(str(release), name, split="train", cache_dir=str(cache))
        assert loaded.num_rows == rows(folder)
        assert loaded.column_names[:2] == ["URL", "TEXT"]


def test_datasets_streams_the_shards(results: Path, cache: Path) -> None:
    import datasets

    shards = sorted(str(shard) for shard in (results / "filter").glob("*/*.tar"))
    stream = datasets.load_dataset(
        "webdataset", data_files={"train": shards}, split="train", streaming=True
    )
    keys, sizes = [], []
    for sample in stream:
        keys.append(sample["__key__"])
        sizes.append(sample["jpg"].size)
        assert sample["txt"] == sample["json"]["caption"]
        assert list(sizes[-1]) == [sample["json"]["width"], sample["json"]["height"]]
    assert keys == expected_keys(results)


def test_webdataset_reads_the_shards(results: Path) -> None:
    import webdataset

    shards = sorted(str(shard) for shard in (results / "filter").glob("*/*.tar"))
    dataset = webdataset.WebDataset(shards, shardshuffle=False).decode("pil")
    samples = dataset.to_tuple("__key__", "jpg", "txt", "json")
    keys = []
    for key, image, text, about in samples:
        assert image.size == (about["width"], about["height"])
        assert text == about["caption"]
        keys.append(key)
    assert keys == expected_keys(results)


def expected_keys(results: Path) -> list[str]:
    tables = sorted((results / "filter").glob("*/*.parquet"))
    return [key for part in tables for key in pq.read_table(part)["key"].to_pylist()]


def test_polars_and_duckdb_agree_on_the_release(results: Path) -> None:
    import polars

    for split in SPLITS:
        parts = str(results / "release" / f"{split}-joined" / "*.parquet")
        frame = polars.scan_parquet(parts).select("URL", "TEXT", "WIDTH", "similarity", "hash")
        theirs = frame.sort("hash").collect().rows()
        ours = duckdb.sql(
            f"SELECT URL, TEXT, WIDTH, similarity, hash FROM '{parts}' ORDER BY hash"
        ).fetchall()
        assert theirs == ours
        assert len(ours) == rows(results / "release" / split)


def test_mlcroissant_validates_and_reads_the_card(results: Path) -> None:
    import mlcroissant

    card = results / "release" / "croissant.json"
    dataset = mlcroissant.Dataset(jsonld=card)
    assert not dataset.metadata.ctx.issues.errors
    about = json.loads(card.read_text())
    for record_set in about["recordSet"]:
        wanted = rows(results / "release" / record_set["name"])
        if record_set["name"] in SPLITS:
            assert sum(1 for _ in dataset.records(record_set["@id"])) == wanted
