"""A whole block: its scores, its shards, and what a second run does."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from laion_hpc.cli import main
from laion_hpc.config import Config
from laion_hpc.errors import InputError, UsageError
from laion_hpc.files import ledger
from laion_hpc.files.ledger import Ledger
from laion_hpc.files.schemas import SCORED_SAMPLE
from laion_hpc.files.shards import read_shard
from laion_hpc.models.shard_images import decode
from laion_hpc.runtime import work
from laion_hpc.stages.filter import scores
from laion_hpc.stages.filter.block import filter_block
from tests.models import tiny
from tests.stages.filter import blocks

pytestmark = pytest.mark.slow


def run(source: Path, output: Path, config: Config, **more: Any) -> Ledger:
    with work.team(1) as team:
        return filter_block(source, output, config, team, **more)


def changed(config: Config, **fields: Any) -> Config:
    return config.model_copy(update={"filter": config.filter.model_copy(update=fields)})


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def scored(folder: Path) -> list[dict[str, Any]]:
    paths = sorted((folder / "scores").glob("*.parquet"))
    tables = [pq.read_table(path) for path in paths]
    assert all(table.schema.equals(SCORED_SAMPLE) for table in tables)
    rows: list[dict[str, Any]] = pa.concat_tables(tables).to_pylist()
    return rows


def plain_scores(downloaded: Path, config: Config) -> dict[str, float]:
    """Similarities by key, as a loop over open_clip makes them in float32."""
    import open_clip
    import torch

    expected = {}
    loaded = {}
    for name in ("english", "multilingual"):
        folder = getattr(config.filter, name).folder
        source = f"local-dir:{folder}"
        model, _, preprocess = open_clip.create_model_and_transforms(source)
        tokenizer = open_clip.get_tokenizer(source, bpe_path=f"{folder}/bpe.txt.gz")
        loaded[name] = (model.eval(), preprocess, tokenizer)
    for tar in sorted(downloaded.glob("*.tar")):
        for sample in read_shard(tar):
            image = decode(sample.members["jpg"])
            if image is None:
                continue
            row = json.loads(sample.members["json"])
            model, preprocess, _ = loaded["english"]
            tower, _, tokenizer = loaded[
                "english" if row["language_class"] == "en" else "multilingual"
            ]
            with torch.no_grad():
                a = model.encode_image(preprocess(image)[None], normalize=True)
                b = tower.encode_text(tokenizer([row["caption"]]), normalize=True)
            expected[sample.key] = float((a * b).sum())
    return expected


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-5), ("bf16", 1e-3)])
def test_scores_equal_a_plain_open_clip_loop(
    downloaded: Path, config: Config, tmp_path: Path, precision: str, tolerance: float
) -> None:
    # As wide as ViT-B/32: errors of rounding to bf16 average out over the width.
    wide = [tiny.open_clip_folder(tmp_path / f"{n}", seed=n, width=512) for n in (3, 4)]
    config = changed(
        config, english=wide[0], multilingual=wide[1], precision=precision, device="cpu"
    )
    output = tmp_path / "0000"
    run(downloaded, output, config)
    expected = plain_scores(downloaded, config)
    rows = [row for row in scored(output) if row["fate"] != "undecodable"]
    found = {row["key"]: row["similarity"] for row in rows}
    assert found.keys() == expected.keys()
    assert len(found) == 35
    assert max(abs(found[key] - score) for key, score in expected.items()) < tolerance


def test_nothing_vanishes(downloaded: Path, filtered: Path, config: Config) -> None:
    manifest = ledger.read(filtered / "manifest.json")
    rows = scored(filtered)
    fates = Counter(row["fate"] for row in rows)
    assert manifest.inputs == ledger.read(downloaded / "manifest.json").kept == len(rows) == 36
    assert manifest.kept == fates["kept"]
    assert dict(manifest.dropped) == {"dissimilar": fates["dissimilar"], "undecodable": 1}
    assert 5 < fates["kept"] < 31, "the thresholds of the test decide nothing"
    assert sum(manifest.counts["kept_by_class"].values()) == manifest.kept
    assert sum(manifest.counts["inputs_by_class"].values()) == manifest.inputs
    for entry in manifest.files:
        path = filtered / entry.name
        assert ledger.describe(path, rows=entry.rows, root=filtered) == entry
    half = [row for row in rows if row["caption"] == "half a picture"]
    assert [row["fate"] for row in half] == ["undecodable"]
    assert np.isnan(half[0]["similarity"])


def test_shards_are_full_in_order_and_images_untouched(downloaded: Path, filtered: Path) -> None:
    before = {s.key: s for tar in sorted(downloaded.glob("*.tar")) for s in read_shard(tar)}
    kept = {row["key"]: row for row in scored(filtered) if row["fate"] == "kept"}
    tars = sorted(filtered.glob("*.tar"))
    shards = [list(read_shard(tar)) for tar in tars]
    assert [len(shard) for shard in shards[:-1]] == [7] * (len(shards) - 1)
    samples = [sample for shard in shards for sample in shard]
    assert [sample.key for sample in samples] == list(kept)
    for sample in samples:
        old, row = before[sample.key], kept[sample.key]
        assert sample.members["jpg"] == old.members["jpg"]
        assert sample.members["txt"] == old.members["txt"]
        data = json.loads(sample.members["json"])
        assert np.float32(data.pop("similarity")) == np.float32(row["similarity"])
        assert data.pop("nsfw") == row["nsfw"] == "UNTAGGED"
        assert data == json.loads(old.members["json"])
    tables = [pq.read_table(tar.with_suffix(".parquet")) for tar in tars]
    assert pa.concat_tables(tables).to_pylist() == list(kept.values())


@pytest.fixture
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a model was loaded")

    scores._towers.cache_clear()
    monkeypatch.setattr(scores, "load", refuse)


def test_new_thresholds_need_no_model(
    downloaded: Path, filtered: Path, config: Config, tmp_path: Path, no_model: None
) -> None:
    again = tmp_path / "0000"
    shutil.copytree(filtered, again)
    run(downloaded, again, config)
    assert contents(again) == contents(filtered)
    strict = config.filter.thresholds.model_copy(update={"en": 0.5})
    manifest = run(downloaded, again, changed(config, thresholds=strict), rescore=True)
    assert 0 < manifest.kept < ledger.read(filtered / "manifest.json").kept
    assert manifest.counts["kept_by_class"].get("en", 0) == 0
    listed = {entry.name for entry in manifest.files}
    assert {name for name in contents(again) if not name.endswith(".json")} == listed
    run(downloaded, again, config)
    assert contents(again) == contents(filtered), "there and back again changed something"


def test_a_kill_while_scores_are_cut_anew_loses_no_score(
    downloaded: Path,
    filtered: Path,
    config: Config,
    tmp_path: Path,
    no_model: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    again = tmp_path / "0000"
    shutil.copytree(filtered, again)
    strict = config.filter.thresholds.model_copy(update={"en": 0.5})

    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt  # the table is written, its ledger is not

    with monkeypatch.context() as patch:
        patch.setattr("laion_hpc.stages.filter.thresholds.ledger.describe", stop)
        with pytest.raises(KeyboardInterrupt):
            run(downloaded, again, changed(config, thresholds=strict), rescore=True)
    run(downloaded, again, config, rescore=True)
    assert contents(again) == contents(filtered)


def test_rescore_never_loads_a_model(
    downloaded: Path, config: Config, tmp_path: Path, no_model: None
) -> None:
    with pytest.raises(InputError, match="run without --rescore"):
        run(downloaded, tmp_path / "0000", config, rescore=True)


def test_a_lost_output_is_made_again(
    downloaded: Path, filtered: Path, config: Config, tmp_path: Path
) -> None:
    again = tmp_path / "0000"
    shutil.copytree(filtered, again)
    for name in ("manifest.json", "00001.tar", "scores/00002.parquet"):
        (again / name).unlink()
    (again / "00000.tar").write_bytes(b"cut")
    run(downloaded, again, config)
    assert contents(again) == contents(filtered)


def test_another_model_scores_anew(
    downloaded: Path, filtered: Path, config: Config, tmp_path: Path
) -> None:
    again = tmp_path / "0000"
    shutil.copytree(filtered, again)
    run(downloaded, again, changed(config, multilingual=config.filter.english))
    before, after = scored(filtered), scored(again)
    for a, b in zip(before, after, strict=True):
        if a["fate"] != "undecodable":
            assert (a["similarity"] == b["similarity"]) == (a["language_class"] == "en")


def test_processes_change_no_byte(
    downloaded: Path, filtered: Path, config: Config, tmp_path: Path
) -> None:
    import yaml

    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config.model_dump(mode="json", include={"dataset", "filter"})))
    command = ["filter", str(downloaded), "--output", str(tmp_path / "0000")]
    assert main([*command, "--config", str(path), "--processes", "2"]) == 0
    assert contents(tmp_path / "0000") == contents(filtered)


def test_unsafe_samples_with_minors_leave_no_trace(
    downloaded: Path, config: Config, tmp_path: Path
) -> None:
    prompts = tmp_path / "prompts.yaml"
    # whatever the random tower thinks, both nearest are unsafe
    prompts.write_text("unsafe: [a, b, c]\nneutral: [a, b]\nminor_words: [thing 3]\n")
    manifest = run(downloaded, tmp_path / "0000", changed(config, zero_shot=str(prompts)))
    gone = [row for row in scored(tmp_path / "0000") if row["fate"] == "unsafe_minor"]
    assert manifest.dropped["unsafe_minor"] == len(gone) > 0
    for row in gone:
        assert row["nsfw"] in ("NSFW", "UNSURE")
        assert {row[name] for name in scores.HIDDEN} == {""}
        assert row["key"]
    keys = {row["key"] for row in gone}
    paths = sorted(downloaded.glob("*.parquet"))
    before = pa.concat_tables([pq.read_table(path) for path in paths]).to_pylist()
    urls = {row["url"] for row in before if row["key"] in keys}
    assert len(urls) == len(gone)
    for path in (tmp_path / "0000").rglob("*.*"):
        if path.suffix == ".parquet":
            for row in pq.read_table(path).to_pylist():
                assert "thing 3" not in row["caption"]
                assert not urls & {value for value in row.values() if isinstance(value, str)}
        elif path.suffix == ".tar":
            assert not keys & {sample.key for sample in read_shard(path)}
        elif path.suffix == ".json":
            assert not any(url in path.read_text() for url in urls)
    rows = [row for row in scored(tmp_path / "0000") if row["fate"] == "kept"]
    assert all(row["nsfw"] in ("UNLIKELY", "UNSURE", "NSFW") for row in rows)


def test_empty_blocks(config: Config, tmp_path: Path) -> None:
    empty = run(blocks.download_block(tmp_path / "a", []), tmp_path / "fa", config)
    assert (empty.inputs, empty.kept, empty.stage, empty.unit) == (0, 0, "filter", "samples")
    failed = [blocks.Row("dead link", "en", None)] * 3
    source = blocks.download_block(tmp_path / "b", [failed])
    nothing = run(source, tmp_path / "fb", config)
    assert (nothing.inputs, nothing.kept) == (0, 0)
    assert ledger.read(tmp_path / "fb" / "manifest.json") == nothing
    assert not list((tmp_path / "fb").glob("*.tar"))


def test_the_content_filter_is_on_by_default() -> None:
    assert Config().filter.zero_shot == "laion400m"


def test_a_missing_caption_costs_nobody_else(config: Config, tmp_path: Path) -> None:
    samples = [*blocks.rows(4), blocks.Row("", "en", blocks.jpeg(tiny.picture(9)))]
    source = blocks.download_block(tmp_path / "d", [samples])
    path = source / "00000.parquet"
    table = pq.read_table(path)
    at = table.schema.get_field_index("caption")
    captions = [text or None for text in table["caption"].to_pylist()]
    pq.write_table(table.set_column(at, "caption", pa.array(captions, pa.string())), path)
    run(source, tmp_path / "f", config)
    last = scored(tmp_path / "f")[-1]
    assert np.isfinite(last["similarity"])
    assert last["fate"] in ("kept", "dissimilar")


def test_damaged_input_is_named(config: Config, tmp_path: Path) -> None:
    source = blocks.download_block(tmp_path / "d", [blocks.rows(8)])
    tar = source / "00000.tar"
    data = tar.read_bytes()
    tar.write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"00000\.tar"):
        run(source, tmp_path / "f1", config)
    tar.unlink()
    with pytest.raises((InputError, OSError), match=r"00000\.tar"):
        run(source, tmp_path / "f2", config)
    tar.write_bytes(data)
    table = pq.read_table(source / "00000.parquet")
    pq.write_table(table.slice(1), source / "00000.parquet")
    with pytest.raises(InputError, match="is not the one that the parquet"):
        run(source, tmp_path / "f3", config)
    pq.write_table(table.slice(0, 5), source / "00000.parquet")
    with pytest.raises(InputError, match="make this shard again"):
        run(source, tmp_path / "f4", config)
    (source / "00000.parquet").write_bytes(b"no parquet")
    with pytest.raises(InputError, match=r"00000\.parquet"):
        run(source, tmp_path / "f5", config)
    assert not list(tmp_path.glob("f?/manifest.json"))


def test_towers_of_two_spaces_are_refused(downloaded: Path, config: Config, tmp_path: Path) -> None:
    other = tiny.open_clip_folder(tmp_path / "wide", seed=1, width=8)
    with pytest.raises(UsageError, match=r"filter\.multilingual: its embeddings have 8 numbers"):
        run(downloaded, tmp_path / "f", changed(config, multilingual=other))


def test_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["filter", str(tmp_path), "--output", str(tmp_path / "out")]
    assert main(command) == 1
    assert "has `download` finished?" in capsys.readouterr().err
