"""Candidate images that are removed once the block is filtered, and what still works then."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from laion_hpc.config import Config
from laion_hpc.errors import InputError
from laion_hpc.files import ledger
from laion_hpc.run.audit import check_files
from laion_hpc.runtime import work
from laion_hpc.stages.filter import block, images
from laion_hpc.stages.filter.block import filter_block, remove_candidates
from tests.stages.filter.test_block import changed, contents, run


def stricter(config: Config, by: float = 0.02) -> Config:
    values = {name: value + by for name, value in config.filter.thresholds.model_dump().items()}
    return changed(config, thresholds=config.filter.thresholds.model_copy(update=values))


@pytest.fixture
def source(downloaded: Path, tmp_path: Path) -> Path:
    return shutil.copytree(downloaded, tmp_path / "download" / "0000")


@pytest.fixture
def output(filtered: Path, tmp_path: Path) -> Path:
    return shutil.copytree(filtered, tmp_path / "filter" / "0000")


def test_only_tars_go_and_every_tool_knows_of_it(source: Path, output: Path) -> None:
    before = contents(source)
    fingerprint = ledger.fingerprint(source / "00001.tar")
    freed = remove_candidates(source, output)
    after = contents(source)
    tars = {name for name in before if name.endswith(".tar")}
    assert before.keys() - after.keys() == tars
    assert freed == sum(len(before[name]) for name in tars) > 0
    assert {name: data for name, data in after.items() if name != ledger.REMOVED} == {
        name: data for name, data in before.items() if name not in tars
    }
    assert ledger.fingerprint(source / "00001.tar") == fingerprint
    for path in (source / "00001.ledger.json", source / ledger.MANIFEST):
        assert check_files(path, sums=True) == []
        assert ledger.finished(path, config="", source="") is not None
    assert remove_candidates(source, output) == 0
    assert contents(source) == after


def test_a_file_that_vanished_otherwise_is_still_missed(source: Path, output: Path) -> None:
    remove_candidates(source, output)
    (source / "00000.parquet").unlink()
    data = json.loads((source / ledger.REMOVED).read_text())
    data["files"][1]["sha256"] = "0" * 64
    (source / ledger.REMOVED).write_text(json.dumps(data))
    found = check_files(source / ledger.MANIFEST, sums=False)
    assert [line.split(" lists ")[1] for line in found] == [
        "00000.parquet, which is missing",
        "00001.tar, which is missing",
    ]
    assert ledger.finished(source / "00001.ledger.json", config="", source="") is None
    (source / ledger.REMOVED).write_text("[]")
    assert any("not a list of removed files" in x for x in check_files(
        source / ledger.MANIFEST, sums=False))  # fmt: skip


@pytest.mark.parametrize("name", ["00000.tar", "scores/00001.parquet"])
def test_nothing_goes_unless_what_replaces_it_is_whole(
    source: Path, output: Path, name: str
) -> None:
    data = bytearray((output / name).read_bytes())
    data[len(data) // 2] ^= 1
    (output / name).write_bytes(data)
    before = contents(source)
    with pytest.raises(InputError, match=name):
        remove_candidates(source, output)
    assert contents(source) == before


def test_the_same_again_and_stricter_thresholds_need_no_removed_image(
    source: Path, output: Path, config: Config, tmp_path: Path
) -> None:
    whole = contents(output)
    tight = run(source, tmp_path / "plain", stricter(config))
    assert 0 < tight.kept < ledger.read(output / ledger.MANIFEST).kept
    remove_candidates(source, output)
    run(source, output, config)
    assert contents(output) == whole
    run(source, output, stricter(config))
    assert contents(output) == contents(tmp_path / "plain")


def test_lower_thresholds_say_how_to_get_the_images_back(
    source: Path, output: Path, config: Config
) -> None:
    whole = contents(output)
    remove_candidates(source, output)
    with pytest.raises(InputError, match=r"removed\.json.*run `download`"):
        run(source, output, stricter(config, -0.5))
    run(source, output, config)
    assert contents(output) == whole
    with pytest.raises(InputError, match="other models"):
        run(source, output, changed(config, batch_size=3))


@pytest.mark.parametrize("moment", ["moved", "packed", "forgotten"])
def test_a_kill_while_cutting_anew_loses_nothing(
    source: Path,
    output: Path,
    config: Config,
    tmp_path: Path,
    moment: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run(source, tmp_path / "plain", stricter(config))
    remove_candidates(source, output)
    with monkeypatch.context() as patch:
        if moment == "moved":
            # After the first of the files is moved.
            rename = Path.rename
            moved: list[Path] = []

            def once(path: Path, target: Path) -> Path:
                if path.suffix == ".tar" and target.parent.name == images.EARLIER:
                    if moved:
                        raise KeyboardInterrupt
                    moved.append(path)
                return rename(path, target)

            patch.setattr(Path, "rename", once)
        elif moment == "packed":
            make = block.repack.make_shard

            def first(shard: block.repack.OutputShard, *, job: block.repack.RepackJob) -> object:
                if shard.name == "00001":
                    raise KeyboardInterrupt
                return make(shard, job=job)

            patch.setattr(block.repack, "make_shard", first)
        else:

            def stop(path: Path) -> None:
                raise KeyboardInterrupt

            patch.setattr(images.shutil, "rmtree", stop)
        with work.team(1) as team, pytest.raises(KeyboardInterrupt):
            filter_block(source, output, stricter(config), team)
    run(source, output, stricter(config))
    assert contents(output) == contents(tmp_path / "plain")
