from pathlib import Path

import pytest

from laion_hpc.errors import UsageError
from laion_hpc.run import jobs, results


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("{}")


def test_ledgers_are_found_by_unit(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "extract/1642320299852.23.ledger.json",
        "download/0001/manifest.json",
        "download/0000/manifest.json",
        "download/0000/00003.ledger.json",
        "filter/0000/scores/00001.ledger.json",
        "index/blocks/0000.ledger.json",
        "index/metadata/0002.ledger.json",
        "index/manifest.json",
        "index/trained.ledger.json",
    )
    assert list(results.unit_ledgers(tmp_path, "extract")) == ["1642320299852.23"]
    assert list(results.unit_ledgers(tmp_path, "download")) == ["0000", "0001"]
    assert list(results.unit_ledgers(tmp_path, "index")) == ["0000"]
    assert list(results.ledgers(tmp_path, jobs.BY_NAME["index_metadata"])) == ["0002"]
    assert results.ledgers(tmp_path, jobs.BY_NAME["index_train"]) == {
        "": tmp_path / "index/trained.ledger.json"
    }
    assert results.ledgers(tmp_path, jobs.BY_NAME["index_evaluate"]) == {}
    assert results.unit_ledgers(tmp_path, "release") == {}
    assert [path.name for path in results.shard_ledgers(tmp_path, "download", "0000")] == [
        "00003.ledger.json"
    ]
    assert len(results.shard_ledgers(tmp_path, "filter", "0000")) == 1
    assert results.merged_ledger(tmp_path, "index") == tmp_path / "index/manifest.json"
    assert results.merged_ledger(tmp_path, "release") is None
    assert results.merged_ledger(tmp_path, "tag") is None


def test_crawls_are_found_from_either_folder(tmp_path: Path) -> None:
    touch(tmp_path, "b/extract/x", "a/release/x", "other/x", "config.yaml")
    a, b = tmp_path / "a", tmp_path / "b"
    assert results.crawl_folders(tmp_path) == [a, b]
    assert results.crawl_folders(tmp_path, ["b"]) == [b]
    assert results.crawl_folders(a) == [a]
    assert results.crawl_folders(a, ["a"]) == [a]
    assert results.config_of(tmp_path) == results.config_of(a) == tmp_path / "config.yaml"
    for folder, names in ((tmp_path, ["c"]), (a, ["b"]), (tmp_path / "other", []), (a / "no", [])):
        with pytest.raises(UsageError, match=str(folder)):
            results.crawl_folders(folder, names)
