"""A take-down before the tables of links are made, and after: the same bytes."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from laion_hpc import config as settings
from laion_hpc.cli import main
from laion_hpc.files import ledger, takedown_list, tombstones
from tests.stages.extract.wats import some_pages, write_wat

CRAWL = "C-1"
BLOCKS = 3
HOST = "h3.example.org"


def config_of(folder: Path) -> str:
    """Two segments, three blocks, small shards; links of the same URL with different texts."""
    path = folder / "config.yaml"
    data: dict[str, Any] = {
        "takedown_list": str(folder / "takedowns.txt"),
        "results": str(folder / "results"),
        "dataset": {"blocks": BLOCKS, "samples_per_shard": 20},
    }
    path.write_text(yaml.safe_dump(data))
    return str(path)


def build(folder: Path, wats: Path) -> Path:
    """Extract and shuffle into `folder/results/C-1`; returns that folder."""
    config, crawl = config_of(folder), folder / "results" / CRAWL
    parts = []
    for segment in ("1.1", "2.2"):
        parts.append(str(crawl / "extract" / f"{segment}.parquet"))
        command = ["extract", *map(str, sorted((wats / segment).iterdir())), "--crawl", CRAWL]
        assert (
            main([*command, "--segment", segment, "--config", config, "--output", parts[-1]]) == 0
        )
    for block in range(BLOCKS):
        name = crawl / "shuffle" / f"{block:04d}"
        command = ["shuffle", *parts, "--crawl", CRAWL, "--block", str(block), "--config", config]
        command += ["--seen-after", f"{name}.seen", "--output", f"{name}.parquet"]
        assert main(command) == 0
    return crawl


@pytest.fixture(scope="module")
def wats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("wats")
    for segment in ("1.1", "2.2"):
        for number in range(2):
            pages = some_pages(8, seed=number)
            for page in pages:  # the segments show the same images under different texts
                for link in page["Envelope"]["Payload-Metadata"]["HTTP-Response-Metadata"][
                    "HTML-Metadata"
                ]["Links"]:
                    if "alt" in link:
                        link["alt"] += f" in {segment}"
            write_wat(root / segment / f"{segment}-{number}.warc.wat.gz", pages)
    return root


@pytest.fixture(scope="module")
def built(wats: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built")
    build(folder, wats)
    return folder


@pytest.fixture
def site(built: Path, tmp_path: Path) -> Path:
    """A copy of the built results with the config pointing to it."""
    shutil.copytree(built / "results", tmp_path / "results")
    config_of(tmp_path)
    return tmp_path


def rows(site: Path, block: int) -> list[dict[str, Any]]:
    return pq.read_table(site / f"results/{CRAWL}/shuffle/{block:04d}.parquet").to_pylist()


def take_down(site: Path, *lines: str) -> int:
    (site / "requests.txt").write_text("# please\n" + "".join(f"{line}\n" for line in lines))
    config = str(site / "config.yaml")
    return main(["takedown", str(site / "requests.txt"), "--config", config])


def contents(crawl: Path) -> dict[str, Any]:
    """All files; of the ledgers of shuffle not the digest of the segments' whole files."""
    found: dict[str, Any] = {}
    for path in sorted(crawl.rglob("*")):
        if path.is_file():
            found[path.relative_to(crawl).as_posix()] = path.read_bytes()
            if path.match("shuffle/*.ledger.json"):
                found[path.relative_to(crawl).as_posix()] = json.loads(path.read_bytes()) | {
                    "source": ""
                }
    return found


def test_before_or_after_the_same_bytes(site: Path, wats: Path, tmp_path: Path) -> None:
    target = rows(site, 1)[3]
    assert take_down(site, target["url"], rows(site, 0)[0]["key"], HOST) == 0
    anew = tmp_path / "anew"
    anew.mkdir()
    shutil.copy(site / "takedowns.txt", anew)
    build(anew, wats)
    assert contents(anew / "results" / CRAWL) == contents(site / "results" / CRAWL)
    again = contents(site / "results" / CRAWL)
    assert take_down(site, target["url"], HOST) == 0
    assert contents(site / "results" / CRAWL) == again


def test_the_others_keep_their_keys_and_all_else(site: Path) -> None:
    before = {block: rows(site, block) for block in range(BLOCKS)}
    seen = (site / f"results/{CRAWL}/shuffle/0001.seen").read_bytes()
    target = before[1][3]
    assert take_down(site, target["url"]) == 0
    assert rows(site, 0) == before[0]
    after = rows(site, 1)
    assert after[:3] + after[4:] == before[1][:3] + before[1][4:]
    grave = after[3]
    assert (grave["key"], grave["crawl"]) == (target["key"], CRAWL)
    assert grave["url"] == tombstones.PREFIX + hashlib.sha256(target["url"].encode()).hexdigest()
    assert not any(value for name, value in grave.items() if name not in ("key", "url", "crawl"))
    assert (site / f"results/{CRAWL}/shuffle/0001.seen").read_bytes() == seen


def test_ledgers_vouch_for_the_new_tables_and_times_stay(site: Path) -> None:
    tables = sorted(site.glob("results/*/*/*.parquet"))
    times = {path: path.stat().st_mtime_ns for path in tables}
    assert take_down(site, HOST) == 0
    gone = 0
    for path in tables:
        assert path.stat().st_mtime_ns == times[path]
        book = ledger.read(ledger.path_of(path))
        assert ledger.describe(path, rows=pq.read_metadata(path).num_rows) in book.files
        urls = pq.read_table(path)["url"].to_pylist()
        assert not any(HOST in url for url in urls)
        if book.stage == "shuffle":
            here = sum(url.startswith(tombstones.PREFIX) for url in urls)
            assert sum(book.counts["kept_by_class"].values()) == len(urls) - here
            gone += here
    assert gone > 5


def test_the_list_holds_hashes_only(site: Path) -> None:
    target = rows(site, 2)[0]
    assert take_down(site, target["url"], HOST, rows(site, 0)[5]["key"], "a" * 32) == 0
    text = (site / "takedowns.txt").read_text()
    assert "example" not in text and target["key"] not in text
    found = takedown_list.read(site / "takedowns.txt")
    assert hashlib.sha256(target["url"].encode()).hexdigest() in found.urls
    assert hashlib.sha256(HOST.encode()).hexdigest() in found.hosts
    assert found.images == {"a" * 32}
    made = takedown_list.numbering(settings.load(site / "config.yaml"))
    assert {(sample.crawl, sample.kept, sample.numbering) for sample in found.samples} == {
        (CRAWL, False, made)
    }
    # A block without any of them is told apart: its jobs need not run.
    assert take_down(site, rows(site, 1)[0]["url"]) == 0
    more = takedown_list.read(site / "takedowns.txt")
    assert more.digest(CRAWL, 1, made) != found.digest(CRAWL, 1, made)
    assert more.digest(CRAWL, 2, made) == found.digest(CRAWL, 2, made)
    assert more.digest("other", 1, made) == ""


def test_a_link_that_shuffle_had_dropped_gets_no_place(site: Path, wats: Path) -> None:
    """It is taken out of the segments; the block has no hole, now or when it is made again."""
    config = site / "config.yaml"
    data = yaml.safe_load(config.read_text())
    data["shuffle"] = {"blocked_hosts": [HOST]}
    shutil.rmtree(site / "results" / CRAWL / "shuffle")
    config.write_text(yaml.safe_dump(data))
    parts = sorted(map(str, site.glob("results/*/extract/*.parquet")))

    def shuffle(name: str) -> list[dict[str, Any]]:
        output = site / "results" / CRAWL / "shuffle" / name
        command = ["shuffle", *parts, "--crawl", CRAWL, "--block", "1", "--config", str(config)]
        assert main([*command, "--output", str(output)]) == 0
        return pq.read_table(output).to_pylist()

    before = shuffle("0001.parquet")
    assert take_down(site, HOST) == 0
    assert not takedown_list.read(site / "takedowns.txt").samples
    assert not any(HOST in str(pq.read_table(part)["url"].to_pylist()) for part in parts)
    assert shuffle("0001.parquet") == before
    book = ledger.read(site / "results" / CRAWL / "shuffle" / "0001.ledger.json")
    assert book.dropped["taken_down"] > 0 and "blocked_host" not in book.dropped


def test_killed_between_ledger_and_table_it_goes_on(
    site: Path, built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = rows(site, 1)[3]
    before = contents(site / "results" / CRAWL)
    replace = Path.replace

    def killed(self: Path, other: Path) -> Path:
        if str(other).endswith("0001.parquet"):
            raise KeyboardInterrupt
        return replace(self, other)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        assert take_down(site, target["url"]) == 130
    assert not (site / "takedowns.txt").exists(), "the workflow must not hear of it yet"
    assert contents(site / "results" / CRAWL) != before
    assert main(["takedown", "--config", str(site / "config.yaml")]) == 0
    sample = next(iter(takedown_list.read(site / "takedowns.txt").samples))
    assert sample.key == hashlib.sha256(target["key"].encode()).hexdigest()
    killed_and_done = contents(site / "results" / CRAWL)
    shutil.rmtree(site / "results")
    shutil.copytree(built / "results", site / "results")
    assert take_down(site, target["url"]) == 0
    assert contents(site / "results" / CRAWL) == killed_and_done


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("http://[broken", "requests.txt:2: 'http://[broken' is not a URL"),
        ("ftp://example.org/x.jpg", "is not a URL"),
        ("a boat", "is not a URL, host, hash"),
        ("abc123", "is not a URL, host, hash"),
    ],
)
def test_lines_that_nobody_understands_are_named(
    site: Path, line: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert take_down(site, line) == 2
    assert words in capsys.readouterr().err
    assert not (site / "takedowns.txt").exists()


def test_a_damaged_list_is_named(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (site / "takedowns.txt").write_text("url nothex\n")
    assert take_down(site, HOST) == 2
    assert "takedowns.txt:1: not an entry" in capsys.readouterr().err


def test_urls_are_understood_as_extract_writes_them(site: Path) -> None:
    target = rows(site, 1)[3]["url"]
    odd = target.replace("http://", "HTTP://").replace(".example", ".EXAMPLE") + "#top"
    assert take_down(site, odd) == 0
    assert target not in [row["url"] for row in rows(site, 1)]
