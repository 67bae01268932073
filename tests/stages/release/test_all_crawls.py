"""One release over several crawls: the same rows, counted as one, no copies."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest
import yaml

from laion_hpc.cli import main
from laion_hpc.files import ledger
from tests.stages.release.blocks import samples, write_block

CRAWLS = ("CC-A", "CC-B")


def command(root: Path, *words: Path | str) -> int:
    return main(["release", *map(str, words), "--config", str(root / "config.yaml")])


@pytest.fixture
def results(tmp_path: Path) -> Path:
    config = {"dataset": {"blocks": 1}, "release": {"rows_per_part": 40}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    for number, crawl in enumerate(CRAWLS):
        folder = tmp_path / crawl
        embedded, tags = write_block(folder, samples(90 + number, number), number * 0)
        release = folder / "release"
        end = ["--output", release]
        assert command(tmp_path, "block", embedded, tags, "--block", "0", *end) == 0
        assert command(tmp_path, "gather", release, *end) == 0
    return tmp_path


def gather(results: Path) -> Path:
    releases = [results / crawl / "release" for crawl in CRAWLS]
    assert command(results, "together", *releases, "--output", results / "release") == 0
    return results / "release"


def statistics(release: Path) -> dict[str, Any]:
    return dict(json.loads((release / "statistics.json").read_text())["datasets"])


def test_all_rows_as_one_without_copies(results: Path) -> None:
    whole = gather(results)
    parts = [results / crawl / "release" for crawl in CRAWLS]
    for folder in ("laion-en", "laion-multi-joined", "subsets/high-resolution"):
        alone = [p for one in parts for p in sorted((one / folder).glob("*.parquet"))]
        linked = sorted((whole / folder).glob("*.parquet"))
        assert [path.stat().st_ino for path in linked] == [path.stat().st_ino for path in alone]
        rows = duckdb.sql(f"SELECT count(*) FROM '{whole}/{folder}/*.parquet'").fetchall()[0][0]
        assert rows == sum(pq.read_metadata(path).num_rows for path in alone) > 10
    book = ledger.read(whole / "manifest.json")
    assert (book.kept, book.inputs) == (181, 181)
    for entry in book.files:
        assert ledger.describe(whole / entry.name, rows=entry.rows, root=whole) == entry
    for line in (whole / "SHA256SUMS").read_text().splitlines():
        recorded, name = line.split("  ")
        assert hashlib.sha256((whole / name).read_bytes()).hexdigest() == recorded


def test_statistics_are_those_of_all_rows(results: Path) -> None:
    whole, (first, second) = statistics(gather(results)), (
        statistics(results / crawl / "release") for crawl in CRAWLS
    )  # fmt: skip
    for name, numbers in whole.items():
        assert numbers["count"] == first[name]["count"] + second[name]["count"]
    hosts = {one["host"]: one["count"] for one in whole["all"]["hosts"]}
    for one in first["all"]["hosts"]:
        other = {row["host"]: row["count"] for row in second["all"]["hosts"]}
        assert hosts[one["host"]] == one["count"] + other.get(one["host"], 0)
    widths = sorted(
        row["original_width"] for number in (0, 1) for row in samples(90 + number, number)
    )
    assert whole["all"]["quantiles"]["width"]["0.50"] == widths[len(widths) // 2]
    card = (results / "release" / "README.md").read_text()
    assert "laion-en/*.parquet" in card


def test_again_and_after_a_crawl_has_shrunk(results: Path) -> None:
    whole = gather(results)
    before = {p.name: p.read_bytes() for p in whole.rglob("*") if p.is_file()}
    gather(results)
    assert {p.name: p.read_bytes() for p in whole.rglob("*") if p.is_file()} == before
    release = results / CRAWLS[1] / "release"
    embedded, tags = write_block(results / CRAWLS[1], samples(30, 1), 0)
    assert command(results, "block", embedded, tags, "--block", "0", "--output", release) == 0
    assert command(results, "gather", release, "--output", release) == 0
    gather(results)
    assert ledger.read(whole / "manifest.json").kept == 120
    rows = duckdb.sql(f"SELECT count(*) FROM '{whole}/laion-*-joined/*.parquet'").fetchall()
    assert rows == [(120,)]


def test_a_changed_release_is_named(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    releases = [results / crawl / "release" for crawl in CRAWLS]
    next((releases[0] / "laion-en").iterdir()).unlink()
    end = ["--output", results / "release"]
    assert command(results, "together", *releases, *end) == 1
    assert "missing or different from its manifest" in capsys.readouterr().err
    assert command(results, "together", releases[1], releases[1], *end) == 2
