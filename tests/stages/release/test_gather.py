import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from laion_hpc.cli import main
from laion_hpc.config import digest, parse
from laion_hpc.errors import InputError
from laion_hpc.files import ledger
from laion_hpc.stages.release.block import make_block
from laion_hpc.stages.release.gather import gather
from tests.stages.release.blocks import samples, write_block
from tests.stages.release.test_block import block_of, everything

CONFIG = parse({"dataset": {"blocks": 2}, "release": {"rows_per_part": 30}})


@pytest.fixture(scope="module")
def blocks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("gather")
    for number in range(2):
        rows = samples(90, number, duplicates=number)
        make_block(*write_block(root, rows, number), block_of(root, number=number))
    return root / "release"


@pytest.fixture
def release(tmp_path: Path, blocks: Path) -> Path:
    return shutil.copytree(blocks, tmp_path / "release")


def test_the_manifest_is_the_sum_of_the_blocks_and_lists_every_file(release: Path) -> None:
    book = gather(release, CONFIG, blocks=2)
    assert book == ledger.read(release / "manifest.json")
    assert (book.inputs, book.kept, book.dropped) == (180, 179, {"duplicate_hash": 1})
    assert sum(book.counts["class"].values()) == 179
    parts = {entry.name: entry.rows for entry in book.files if entry.name.endswith(".parquet")}
    on_disk = {
        path.relative_to(release).as_posix(): pq.read_metadata(path).num_rows
        for path in release.rglob("*.parquet")
    }
    assert parts == on_disk
    assert {entry.name for entry in book.files} - parts.keys() == {
        "README.md",
        "SHA256SUMS",
        "croissant.json",
        "statistics.json",
    }


def test_checksums_are_right(release: Path) -> None:
    gather(release, CONFIG, blocks=2)
    lines = (release / "SHA256SUMS").read_text().splitlines()
    # All that people download: not the tables of counts beside the ledgers of the blocks.
    assert len(lines) == len(list(release.rglob("part-*.parquet"))) + 3
    for line in lines:
        recorded, name = line.split("  ", 1)
        assert hashlib.sha256((release / name).read_bytes()).hexdigest() == recorded


def test_same_bytes_again_whatever_the_threads(release: Path) -> None:
    gather(release, CONFIG, blocks=2)
    before = everything(release)
    gather(release, CONFIG, blocks=2, threads=3)
    assert everything(release) == before


def test_the_card_has_a_config_for_every_folder_with_files(release: Path) -> None:
    gather(release, CONFIG, blocks=2)
    _, header, text = (release / "README.md").read_text().split("---\n", 2)
    card = yaml.safe_load(header)
    parts = release.rglob("part-*.parquet")
    folders = {path.parent.relative_to(release).as_posix() for path in parts}
    named = [config["data_files"][0]["path"] for config in card["configs"]]
    assert set(named) == {f"{folder}/*.parquet" for folder in folders}
    assert named[0] == "laion-en/*.parquet"
    assert len({config["config_name"] for config in card["configs"]}) == len(named)
    assert [config.get("default") for config in card["configs"]] == [True] + [None] * (
        len(named) - 1
    )
    assert card["size_categories"] == ["n<1K"]
    assert card["language"] == ["de", "en", "fr", "ja", "zh"]
    assert "Content warning" in text
    assert digest(CONFIG, "release") in text


def test_croissant_keeps_the_rules_of_mlcroissant(release: Path) -> None:
    gather(release, CONFIG, blocks=2)
    document: dict[str, Any] = json.loads((release / "croissant.json").read_text())
    assert document["@type"] == "sc:Dataset"
    assert document["conformsTo"] == "http://mlcommons.org/croissant/1.0"
    assert document["name"]
    assert document["license"] == "https://creativecommons.org/licenses/by/4.0/"
    sets = {one["@id"]: one for one in document["distribution"]}
    assert len(sets) == len(document["distribution"])
    for one in sets.values():
        assert one["@type"] == "cr:FileSet"
        assert one["encodingFormat"] == "application/x-parquet"
        assert list(release.glob(one["includes"]))
    kinds = {"sc:Text", "sc:URL", "sc:Integer", "sc:Float", "sc:Boolean"}
    identifiers = set()
    for records in document["recordSet"]:
        folder = sets[records["field"][0]["source"]["fileSet"]["@id"]]["includes"]
        schema = pq.read_schema(next(release.glob(folder)))
        assert [field["name"] for field in records["field"]] == schema.names
        for field in records["field"]:
            assert field["@type"] == "cr:Field"
            assert field["dataType"] in kinds
            assert field["description"]
            assert field["source"]["extract"]["column"] == field["name"]
            assert field["@id"].startswith(f"{records['@id']}/")
            identifiers.add(field["@id"])
    assert len(identifiers) == sum(len(records["field"]) for records in document["recordSet"])


def test_date_and_citation_are_given_if_the_config_has_them(release: Path) -> None:
    def described(**keys: str) -> tuple[dict[str, Any], str]:
        # The blocks stay: what only describes a release is no reason to write it again.
        config = parse({"dataset": {"blocks": 2}, "release": {"rows_per_part": 30, **keys}})
        gather(release, config, blocks=2)
        card = (release / "README.md").read_text()
        return json.loads((release / "croissant.json").read_text()), card

    document, card = described()
    assert not {"datePublished", "citeAs"} & document.keys()
    assert "## Citation" not in card
    entry = "@misc{mine,\n  title = {Mine *and* others},\n}"
    document, card = described(date_published="2026-11", cite_as=entry)
    assert (document["datePublished"], document["citeAs"]) == ("2026-11", entry)
    assert (
        "Published: 2026-11.\n\n    @misc{mine,\n      title = {Mine *and* others},\n    }" in card
    )


def test_a_missing_block_is_named(release: Path) -> None:
    with pytest.raises(InputError, match="block 0002 is missing and 1 more"):
        gather(release, CONFIG, blocks=4)
    (release / "blocks" / "0000.ledger.json").unlink()
    with pytest.raises(InputError, match="block 0000 is missing"):
        gather(release, CONFIG, blocks=None)


def test_leftovers_are_refused(release: Path) -> None:
    with pytest.raises(InputError, match=r"0001.*config has 1 blocks only"):
        gather(release, CONFIG, blocks=1)
    stray = release / "laion-en" / "part-0009-000.parquet"
    stray.write_bytes(b"")
    with pytest.raises(InputError, match=r"part-0009-000.*in no block"):
        gather(release, CONFIG, blocks=2)


def test_a_block_of_another_config_or_a_changed_part_is_refused(release: Path) -> None:
    other = parse({"dataset": {"blocks": 2}, "release": {"rows_per_part": 31}})
    with pytest.raises(InputError, match=r"0000.*another config"):
        gather(release, other, blocks=2)
    next((release / "laion-en").glob("part-0001-*")).unlink()
    with pytest.raises(InputError, match=r"part-0001.*block 0001 again"):
        gather(release, CONFIG, blocks=2)


def test_folders_of_former_subsets_go(release: Path) -> None:
    (release / "subsets" / "former").mkdir()
    gather(release, CONFIG, blocks=2)
    assert not (release / "subsets" / "former").exists()
    assert not list(release.glob(".*"))


def test_a_release_without_samples(tmp_path: Path) -> None:
    make_block(*write_block(tmp_path, [], 0), block_of(tmp_path, number=0))
    book = gather(tmp_path / "release", CONFIG, blocks=1)
    assert book.kept == 0
    assert "configs: []" in (tmp_path / "release" / "README.md").read_text()


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    embed, tags = write_block(tmp_path, samples(50, 0), 0)
    config = tmp_path / "config.yaml"
    config.write_text("dataset: {blocks: 1}\n")
    release = str(tmp_path / "release")
    block = ["release", "block", str(embed), str(tags), "--block", "0000", "--output", release]
    assert main([*block, "--config", str(config)]) == 0
    end = ["release", "gather", release, "--config", str(config)]
    assert main([*end, "--output", str(tmp_path)]) == 2
    assert "--output must be" in capsys.readouterr().err
    assert main([*end, "--output", release, "--memory", "much"]) == 2
    assert main([*end, "--output", release]) == 0
    assert (tmp_path / "release" / "manifest.json").exists()
    config.write_text("release: {subsets: [{name: a, where: 'true'}, {name: a, where: 'true'}]}")
    capsys.readouterr()
    assert main([*end, "--output", release]) == 2
    assert "two are called 'a'" in capsys.readouterr().err
