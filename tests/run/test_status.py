import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laion_hpc import config as settings
from laion_hpc.cli import main
from laion_hpc.files.crawl_lock import Lock, write_lock
from laion_hpc.files.ledger import Ledger
from laion_hpc.run.slurm import State
from laion_hpc.run.status import (
    Expected,
    StageStatus,
    crawl_status,
    end_of_log,
    per_hour,
    show,
)
from laion_hpc.runtime import console


def done(crawl: Path, name: str, at: float = 1_000_000.0) -> None:
    path = crawl / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Ledger("x", "samples", 1, 1).write(path)
    os.utime(path, (at, at))


def log(crawl: Path, name: str, text: str) -> None:
    path = crawl / "logs" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def by_name(statuses: list[StageStatus]) -> dict[str, StageStatus]:
    return {status.name: status for status in statuses}


@pytest.fixture
def crawl(tmp_path: Path) -> Path:
    crawl = tmp_path / "results" / "mine"
    done(crawl, "extract/1.2.ledger.json")
    for number in range(3):
        done(crawl, f"shuffle/000{number}.ledger.json", 1000.0 + 1800 * number)
    done(crawl, "download/0000/manifest.json")
    done(crawl, "download/0001/00000.ledger.json")
    done(crawl, "download/0001/00001.ledger.json")
    log(crawl, "download/0000.log", "laion-hpc: error: of an earlier attempt\n")
    log(crawl, "download/0001.log", "download 0001: 2/5 shards in 9 s\n")
    log(crawl, "download/0002.log", "working\nlaion-hpc: error: 0002: no space left\n\n")
    log(crawl, "index/merge.log", "Traceback (most recent call last):\nKeyError: 'x'\n")
    log(crawl, "index/add-0001.log", "adding\n")
    return crawl


def test_what_is_done_what_runs_and_what_failed(crawl: Path) -> None:
    statuses = by_name(crawl_status(crawl, Expected(blocks=4, segments=2)))
    assert (statuses["extract"].done, statuses["extract"].expected) == (1, 2)
    assert statuses["shuffle"].done == 3
    assert statuses["shuffle"].per_hour == pytest.approx(2)
    assert statuses["shuffle"].hours_left == pytest.approx(0.5)
    download = statuses["download"]
    assert (download.done, download.expected) == (1, 4)
    assert [(one.unit, one.state, one.shards) for one in download.troubles] == [
        ("0001", "running?", 2),
        ("0002", "failed", 0),
    ]
    assert download.troubles[1].last_line == "laion-hpc: error: 0002: no space left"
    assert download.troubles[1].log == crawl / "logs" / "download" / "0002.log"
    assert [one.unit for one in statuses["index"].troubles] == ["add-0001"]
    whole = statuses["index, whole"]
    assert [(one.unit, one.state) for one in whole.troubles] == [("merge", "failed")]
    assert whole.troubles[0].last_line == "KeyError: 'x'"
    assert (statuses["report"].done, statuses["report"].expected) == (0, 1)


def test_the_queue_has_the_say_on_what_runs(crawl: Path) -> None:
    queue = {
        ("mine", "download", "0002"): State("pending", "job 5, Priority"),
        ("mine", "download", "0003"): State("failed", "job 4, TIMEOUT"),
        ("mine", "download", "0000"): State("failed", "job 1, TIMEOUT"),
        ("other", "download", "0004"): State("running", "job 6"),
    }
    statuses = by_name(crawl_status(crawl, Expected(), queue))
    assert [(one.unit, one.state, one.last_line) for one in statuses["download"].troubles] == [
        ("0001", "running?", "download 0001: 2/5 shards in 9 s"),
        ("0002", "pending", "job 5, Priority: laion-hpc: error: 0002: no space left"),
        ("0003", "failed", "job 4, TIMEOUT"),
    ]
    assert statuses["download"].expected is None
    assert statuses["download"].hours_left is None


def test_the_command_line(crawl: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = crawl.parent.parent
    config = root / "config.yaml"
    config.write_text(
        f"crawls: [mine, later]\ncrawl_folder: {root}/locks\ndataset: {{blocks: 4}}\n"
    )
    write_lock(Lock("mine", "", {"1.2": ("a",), "1.3": ("b",)}), root / "locks" / "mine.json")
    assert main(["status", str(crawl.parent), "--config", str(config)]) == 0
    mine, later = capsys.readouterr().out.split("later\n")
    cells = {row.split()[0]: row.split()[1:] for row in mine.splitlines() if row[:2] == "  "}
    assert cells["extract"] == ["1", "2", "50%"]
    assert cells["shuffle"] == ["3", "4", "75%", "2.0", "30", "min"]
    assert cells["download"] == ["1", "4", "25%", "1", "1"]
    assert f"see {crawl}/logs/download/0002.log" in mine
    assert "download 0001: running? (2 shards are finished): download 0001: 2/5 shards" in mine
    assert ["extract", "0", "?"] in [row.split() for row in later.splitlines()]
    assert main(["status", str(root / "nothing")]) == 2


def test_a_finished_run_with_texts_and_images_has_nothing_under_way(crawl: Path) -> None:
    for log, output in {
        "index/text-train.log": "index/text/trained.ledger.json",
        "index/text-add-0000.log": "index/text/blocks/0000.ledger.json",
        "index/text-merge.log": "index/text/manifest.json",
        "index/text-evaluate.log": "index/text/evaluation.json",
        "release/images-0000.log": "release/image-blocks/0000.ledger.json",
        "index/metadata-0000.log": "index/metadata/0000.arrow",
    }.items():
        for path in (crawl / "logs" / log, crawl / output):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    statuses = by_name(crawl_status(crawl, Expected(blocks=1, segments=1)))
    for row in ("index of texts", "index of texts, whole", "release of images"):
        assert (statuses[row].done, statuses[row].expected, statuses[row].troubles) == (1, 1, [])
    units = [one.unit for status in statuses.values() for one in status.troubles]
    assert not [unit for unit in units if unit.startswith(("text", "images", "metadata"))]
    (crawl / "index/text/blocks/0000.ledger.json").unlink()
    troubles = by_name(crawl_status(crawl, Expected()))["index of texts"].troubles
    assert [(one.unit, one.state) for one in troubles] == [("text-add-0000", "running?")]


def test_rows_are_those_that_the_config_asks_for(crawl: Path) -> None:
    def rows(**data: Any) -> set[str]:
        config = settings.parse({"crawls": ["mine"]} | data)
        return set(by_name(crawl_status(crawl, Expected(config=config))))

    plain = rows()
    assert not {"index of texts", "release of images"} & plain
    assert rows(index={"text": True}) - plain == {"index of texts", "index of texts, whole"}
    assert rows(release={"laion400m_layout": True}) - plain == {"release of images"}


def test_more_than_the_config_has_is_told_and_not_two_hundred_percent(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show("crawl", [StageStatus("filter", 4, 2)])
    out = capsys.readouterr().out
    assert "100%" in out and "200%" not in out
    assert "filter: 4 are there, but the config has 2" in out


def test_the_end_of_a_long_log_is_enough(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.write_bytes(b"laion-hpc: error: old\n" + b"line \xff\n" * 10_000 + b"last\n\n")
    assert end_of_log(path) == ("", "last")
    path.write_bytes(b"")
    assert end_of_log(path) == ("", "")


@given(st.lists(st.floats(0, 1e9), max_size=5))
def test_a_rate_needs_two_moments(times: list[float]) -> None:
    rate = per_hour(times)
    if len(set(times)) < 2:
        assert rate is None
    else:
        assert rate is not None
        assert rate > 0


@pytest.mark.parametrize(
    ("hours", "text"),
    [(None, ""), (0.01, "36 s"), (0.2, "12 min"), (3.5, "3.5 h"), (50.4, "2.1 d")],
)
def test_durations(hours: float | None, text: str) -> None:
    assert console.duration(hours) == text
