"""A whole block of tags."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import mmh3
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from laion_hpc.cli import main
from laion_hpc.config import Config, digest, parse
from laion_hpc.errors import InputError, UsageError
from laion_hpc.files import ledger
from laion_hpc.files.ledger import Ledger
from laion_hpc.heads.head import load_head
from laion_hpc.runtime import work
from laion_hpc.stages.tag.block import tag_block
from tests.stages.tag.blocks import embedded_block, head_folder, unit_vectors

SHARDS = [unit_vectors(12, 8, seed=1), unit_vectors(5, 8, seed=2)]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    heads = [
        head_folder(tmp_path / "heads" / "punsafe"),
        head_folder(
            tmp_path / "heads" / "looks", column="aesthetic", output="none", threshold=None
        ),
    ]
    return parse({"tag": {"heads": heads, "space": "test"}})


@pytest.fixture
def block(tmp_path: Path) -> Path:
    return embedded_block(tmp_path / "embed" / "0000", SHARDS)


def run(source: Path, output: Path, config: Config) -> Ledger:
    with work.team(1) as team:
        return tag_block(source, output, config, team)


def test_one_row_per_embedding(block: Path, config: Config, tmp_path: Path) -> None:
    output = tmp_path / "tag" / "0000.parquet"
    done = run(block, output, config)
    table = pq.read_table(output)
    assert [(field.name, field.type) for field in table.schema] == [
        ("key", pa.string()),
        ("hash", pa.int64()),
        ("punsafe", pa.float32()),
        ("aesthetic", pa.float32()),
        ("nsfw", pa.string()),
    ]
    rows = [
        row
        for shard in ("00000", "00001")
        for row in pq.read_table(block / "metadata" / f"metadata_{shard}.parquet").to_pylist()
    ]
    for name, theirs in (("key", "image_path"), ("nsfw", "nsfw")):
        assert table[name].to_pylist() == [row[theirs] for row in rows]
    # LAION's join key, as its own scripts compute it
    assert table["hash"].to_pylist() == [
        mmh3.hash64((row["url"] + row["caption"]).encode("utf-8"))[0] for row in rows
    ]
    vectors = np.concatenate(SHARDS)
    for name, column in zip(config.tag.heads, ("punsafe", "aesthetic"), strict=True):
        np.testing.assert_allclose(
            table[column].to_numpy(), load_head(name).scores(vectors), atol=1e-6
        )
    assert (done.inputs, done.kept, done.stage, done.unit) == (17, 17, "tag", "samples")
    unsafe = int((table["punsafe"].to_numpy() >= 0.5).sum())
    assert done.counts == {"over_threshold": {"punsafe": unsafe}}
    assert ledger.read(output.with_name("0000.ledger.json")) == done


def test_processes_and_repetition_change_no_byte(
    block: Path, config: Config, tmp_path: Path
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({"tag": {"heads": list(config.tag.heads), "space": "test"}}))
    outputs = []
    for processes in ("1", "2"):
        output = tmp_path / f"tag{processes}" / "0000.parquet"
        command = ["tag", str(block), "--output", str(output), "--config", str(path)]
        for _ in range(2):
            assert main([*command, "--processes", processes]) == 0
        book = output.with_name("0000.ledger.json")
        outputs.append((output.read_bytes(), book.read_bytes()))
    assert outputs[0] == outputs[1]


def test_is_made_again_when_a_head_changes(block: Path, config: Config, tmp_path: Path) -> None:
    output = tmp_path / "0000.parquet"
    before = run(block, output, config)
    stamp = output.stat().st_mtime_ns
    assert run(block, output, config) == before
    assert output.stat().st_mtime_ns == stamp
    head = Path(config.tag.heads[0])
    (head / "head.json").write_text(
        (head / "head.json").read_text().replace('"threshold": 0.5', '"threshold": 0.0')
    )
    assert run(block, output, config).counts == {"over_threshold": {"punsafe": 17}}


def test_empty_block_and_no_heads(config: Config, tmp_path: Path) -> None:
    source = embedded_block(tmp_path / "e", [])
    done = run(source, tmp_path / "a.parquet", config)
    assert (done.inputs, done.kept) == (0, 0)
    assert pq.read_table(tmp_path / "a.parquet").schema.names[-1] == "nsfw"
    block = embedded_block(tmp_path / "f", SHARDS)
    done = run(block, tmp_path / "b.parquet", parse({"tag": {"heads": []}}))
    assert done.kept == 17
    assert pq.read_table(tmp_path / "b.parquet").schema.names == ["key", "hash", "nsfw"]


def test_heads_of_other_embeddings_stop_the_job(block: Path, tmp_path: Path) -> None:
    def refused(message: str, **config: Any) -> None:
        with pytest.raises(UsageError, match=message):
            run(block, tmp_path / "a.parquet", parse(config))
        assert not (tmp_path / "a.parquet").exists()

    wide = {
        "layers.0.weight": np.ones((1, 16), np.float32),
        "layers.0.bias": np.zeros(1, np.float32),
    }
    name = head_folder(tmp_path / "wide", wide, width=16)
    refused(
        r"of test \(16 numbers\).* of test \(8 numbers\)", tag={"heads": [name], "space": "test"}
    )
    name = head_folder(tmp_path / "same")
    # Of the same width, and yet of another model: the config's, or tag.space.
    refused(r"of test \(8 .* of ViT-L-14/openai \(8 .* set tag.space", tag={"heads": [name]})
    refused("of test .* of other", tag={"heads": [name], "space": "other"})
    model = {"name": "test-quickgelu", "folder": "anywhere"}
    done = run(
        block, tmp_path / "b.parquet", parse({"tag": {"heads": [name]}, "embed": {"model": model}})
    )
    assert done.kept == 17
    name = head_folder(tmp_path / "named", column="hash")
    refused("its column hash is there already", tag={"heads": [name], "space": "test"})


def test_embeddings_by_another_config_stop_the_job(block: Path, tmp_path: Path) -> None:
    model = {"name": "test", "folder": "anywhere"}
    config = parse({"tag": {"heads": [head_folder(tmp_path / "h")]}, "embed": {"model": model}})
    book = ledger.read(block / ledger.MANIFEST)
    replace(book, config=digest(config, "embed")).write(block / ledger.MANIFEST)
    assert run(block, tmp_path / "a.parquet", config).kept == 17
    replace(book, config="another").write(block / ledger.MANIFEST)
    with pytest.raises(UsageError, match="embedded with another config"):
        run(block, tmp_path / "a.parquet", config)


def test_damaged_embeddings_are_named(block: Path, config: Config, tmp_path: Path) -> None:
    path = block / "img_emb" / "img_emb_00001.npy"
    good = path.read_bytes()
    for vectors, message in (
        (SHARDS[1][:3], "3 embeddings for 5 rows"),
        (SHARDS[1][0], "embeddings are a 2-D float array"),
        (SHARDS[1][:, :6], r"img_emb_00001\.npy: has embeddings of 6 numbers.* of 8"),
    ):
        np.save(path, vectors)
        with pytest.raises(InputError, match=message):
            run(block, tmp_path / "a.parquet", config)
    path.write_bytes(good[:150])
    with pytest.raises(InputError, match=r"img_emb_00001\.npy: cannot be read"):
        run(block, tmp_path / "a.parquet", config)
    path.write_bytes(good)
    run(block, tmp_path / "a.parquet", config)


def test_an_embedding_that_is_not_finite_costs_its_scores_alone(
    block: Path, config: Config, tmp_path: Path
) -> None:
    run(block, tmp_path / "a.parquet", config)
    whole = pq.read_table(tmp_path / "a.parquet").to_pylist()
    bad = SHARDS[1].copy()
    bad[2, 3], bad[4, 0] = np.nan, np.inf
    np.save(block / "img_emb" / "img_emb_00001.npy", bad)
    done = run(block, tmp_path / "b.parquet", config)
    assert (done.inputs, done.kept) == (17, 17)
    assert done.counts["not_finite"] == {"punsafe": 2, "aesthetic": 2}
    found = pq.read_table(tmp_path / "b.parquet").to_pylist()
    for row in (14, 16):
        whole[row] |= {"punsafe": None, "aesthetic": None}
    assert found == whole


def test_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tag", str(tmp_path), "--output", str(tmp_path / "tags.csv")]) == 2
    assert main(["tag", str(tmp_path), "--output", str(tmp_path / "tags.parquet")]) == 1
    assert "has `embed` finished?" in capsys.readouterr().err
