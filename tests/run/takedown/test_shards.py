"""A take-down in a block that is downloaded and filtered: what goes, and what stays as it was."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from laion_hpc.cli import main
from laion_hpc.files import ledger
from laion_hpc.files.schemas import KEYED_CANDIDATE
from laion_hpc.files.shards import read_shard
from tests.models import tiny
from tests.stages.shuffle.rows import row
from tests.web.hostile import Server, response

CRAWL = "C-1"
SIZES = (12, 12, 6)
KEPT_PER_SHARD = 5


def body(number: int) -> bytes:
    stream = io.BytesIO()
    tiny.picture(number).resize((120, 100), Image.Resampling.NEAREST).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    total = sum(SIZES)
    found = {f"/{n}.png": response(body(n), "Content-Type: image/png") for n in range(total)}
    del found["/7.png"]  # a link that leads nowhere
    with Server(found) as running:
        yield running


@pytest.fixture(scope="module")
def towers(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("towers")
    return [tiny.open_clip_folder(folder / name, seed=2).model_dump() for name in ("en", "multi")]


class Site:
    """A folder with the results of one block."""

    def __init__(self, folder: Path, towers: Any, **more: Any) -> None:
        self.folder = folder
        self.crawl = folder / "results" / CRAWL
        self.links = self.crawl / "shuffle" / "0000.parquet"
        self.download = self.crawl / "download" / "0000"
        self.filter = self.crawl / "filter" / "0000"
        self.config = str(folder / "config.yaml")
        english, multilingual = towers
        # An even threshold: about half of what random towers see.
        thresholds = dict.fromkeys(("en", "multi", "nolang"), more.pop("threshold", -1))
        data = {
            "takedown_list": str(folder / "takedowns.txt"),
            "results": str(folder / "results"),
            "dataset": {"blocks": 1, "samples_per_shard": KEPT_PER_SHARD},
            "download": {
                "allow_networks": ["127.0.0.0/8"],
                "retries": 0,
                "deadline_seconds": 3,
                "min_bytes": 1,
                "connections_per_host": 30,
            },
            "filter": {
                "english": english,
                "multilingual": multilingual,
                "zero_shot": "off",
                "batch_size": 4,
                "thresholds": thresholds,
            },
            **more,
        }
        Path(self.config).write_text(yaml.safe_dump(data))

    def run(self) -> None:
        """Download and filter."""
        for command in (
            ["download", str(self.links), "--output", str(self.download)],
            ["filter", str(self.download), "--output", str(self.filter)],
        ):
            assert main([*command, "--config", self.config]) == 0

    def take_down(self, *lines: str) -> None:
        """Ask for it; the next `run` does it."""
        requests = self.folder / "requests.txt"
        requests.write_text("\n".join(lines))
        assert main(["takedown", str(requests), "--config", self.config]) == 0

    def audit(self) -> int:
        """Exit code of the proof that no trace is left."""
        command = ["audit", str(self.crawl), "--takedown", "--checksums"]
        return main([*command, "--config", self.config])

    def kept(self) -> list[dict[str, Any]]:
        """The rows of the filtered shards, in order."""
        paths = sorted(self.filter.glob("*.parquet"))
        return [found for path in paths for found in pq.read_table(path).to_pylist()]


def write_links(site: Site, server: Server) -> None:
    """As `shuffle` writes them, with its ledger."""
    rows = [
        row(f"{server.url}/{n}.png", f"picture {n} of thing {n % 7}", record_offset=n)
        for n in range(sum(SIZES))
    ]
    site.links.parent.mkdir(parents=True)
    start = 0
    with pq.ParquetWriter(site.links, KEYED_CANDIDATE, compression="zstd") as writer:
        for shard, size in enumerate(SIZES):
            keyed = [
                {"key": f"{CRAWL}-0000-{shard:05d}-{n:05d}", **one}
                for n, one in enumerate(rows[start : start + size])
            ]
            table = pa.Table.from_pylist(keyed, KEYED_CANDIDATE)
            writer.write_table(table, row_group_size=size)
            start += size
    book = ledger.Ledger(
        "shuffle", "links", start, start,
        counts={"kept_by_class": {"en": start}},
        files=(ledger.describe(site.links, rows=start),),
    )  # fmt: skip
    book.write(ledger.path_of(site.links))
    extracted = ledger.Ledger("extract", "links", start, start)
    extracted.write(site.crawl / "extract" / "1.1.ledger.json")


@pytest.fixture(scope="module")
def built(
    server: Server, towers: Any, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, float]:
    """A whole block, cut at the median of its scores."""
    site = Site(tmp_path_factory.mktemp("built"), towers)
    write_links(site, server)
    site.run()
    scores = sorted(found["similarity"] for found in site.kept())
    threshold = scores[len(scores) // 2]
    site = Site(site.folder, towers, threshold=threshold)
    site.run()
    assert 10 < len(site.kept()) < sum(SIZES) - 5
    return site.folder, threshold


@pytest.fixture
def site(built: tuple[Path, float], towers: Any, tmp_path: Path) -> Site:
    folder, threshold = built
    shutil.copytree(folder / "results", tmp_path / "results")
    return Site(tmp_path, towers, threshold=threshold)


def contents(folder: Path) -> dict[str, Any]:
    """All that tells of no time; of ledgers not what is counted by format."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not name.endswith("_stats.json") and name != ".progress":
            found[name] = path.read_bytes()
            if name.endswith(".json"):
                data = json.loads(found[name])
                data.get("counts", {}).pop("formats", None)
                found[name] = data
    return found


def assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one.keys() == other.keys()
    assert [name for name in one if one[name] != other[name]] == []


def same(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows whose similarity may differ by what a sample's place in its batch makes."""
    return [row | {"similarity": pytest.approx(row["similarity"], abs=1e-5)} for row in rows]


def tars(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.tar"))}


def test_as_if_it_had_never_been_there(
    site: Site, server: Server, towers: Any, built: tuple[Path, float], tmp_path: Path
) -> None:
    """The same bytes as when the links had been taken down before the download."""
    kept = site.kept()
    by_image = hashlib.md5(body(17), usedforsecurity=False).hexdigest()
    site.take_down(kept[0]["url"], kept[7]["key"], by_image, f"{server.url}/7.png")
    asked = server.seen.total()
    site.run()
    assert server.seen.total() == asked
    assert site.audit() == 0

    (tmp_path / "anew").mkdir()
    anew = Site(tmp_path / "anew", towers, threshold=built[1])
    for stage in ("extract", "shuffle"):
        shutil.copytree(site.crawl / stage, anew.crawl / stage)
    shutil.copy(site.folder / "takedowns.txt", anew.folder)
    anew.run()
    assert_same(contents(anew.crawl), contents(site.crawl))
    assert site.kept() == same(
        [
            one
            for number, one in enumerate(kept)
            if number not in (0, 7) and not one["url"].endswith("/17.png")
        ]
    )


def test_only_the_shards_that_held_it_change(site: Site) -> None:
    kept, downloaded, filtered = site.kept(), tars(site.download), tars(site.filter)
    target = kept[KEPT_PER_SHARD]  # the first of the second shard
    site.take_down(target["url"])
    site.run()
    held = f"{target['key'].split('-')[-2]}.tar"
    assert {n for n, data in tars(site.download).items() if data != downloaded[n]} == {held}
    assert {n for n, data in tars(site.filter).items() if data != filtered[n]} == {"00001.tar"}
    assert len(list(read_shard(site.filter / "00001.tar"))) == KEPT_PER_SHARD - 1
    book = ledger.read(site.download / "manifest.json")
    assert book.balanced and book.dropped["taken_down"] == 1
    assert site.audit() == 0


def test_candidate_images_that_are_gone_are_not_missed(
    built: tuple[Path, float], towers: Any, tmp_path: Path, site: Site
) -> None:
    """keep.candidate_images: false: scores cannot be made again, and need not be."""
    lean = Site(site.folder, towers, threshold=built[1], keep={"candidate_images": False})
    shutil.copytree(built[0] / "results", tmp_path / "plain" / "results")
    plain = Site(tmp_path / "plain", towers, threshold=built[1])
    lean.run()
    assert not tars(lean.download)
    target = lean.kept()[3]
    for one in (lean, plain):
        one.take_down(target["url"])
        one.run()
        assert one.audit() == 0
    assert lean.kept() == same(plain.kept())
    for shard in tars(plain.filter):
        pictures = [
            [(sample.key, sample.members["jpg"]) for sample in read_shard(one.filter / shard)]
            for one in (lean, plain)
        ]
        assert pictures[0] == pictures[1]


def test_an_image_that_comes_back_under_another_address_is_not_taken(
    server: Server, towers: Any, tmp_path: Path
) -> None:
    site = Site(tmp_path, towers)
    write_links(site, server)
    digest = hashlib.sha256(body(4)).hexdigest()
    (tmp_path / "takedowns.txt").write_text(f"image {digest}\n")
    site.run()
    rows = pq.read_table(site.download / "00000.parquet").to_pylist()
    assert (rows[4]["error_message"], rows[4]["sha256"], rows[4]["caption"]) == (
        "taken_down",
        "",
        "",
    )
    assert f"{server.url}/4.png" not in str(rows)
    assert len(site.kept()) == sum(SIZES) - 2
    # Its link is still in the tables of links: the command without a file finds it there.
    assert main(["takedown", "--config", site.config]) == 0


def test_a_kill_between_tar_and_ledger_costs_no_image(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    from laion_hpc.stages.download import reuse

    target = site.kept()[2]
    site.take_down(target["url"])
    write = pq.write_table

    def killed(*arguments: Any, **more: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(reuse.pq, "write_table", killed)
        command = ["download", str(site.links), "--output", str(site.download)]
        assert main([*command, "--config", site.config]) == 130
    assert pq.write_table is write
    site.run()
    assert target["key"] not in {one["key"] for one in site.kept()}
    assert site.audit() == 0
    book = ledger.read(site.download / "manifest.json")
    assert dict(book.dropped) == {"http_404": 1, "taken_down": 1}


def test_traces_are_found_wherever_they_are(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    target = site.kept()[0]
    host = target["url"].split("/")[2].partition(":")[0]
    site.take_down(target["url"])
    assert site.audit() == 1
    said = capsys.readouterr().err
    for name in ("00000.tar", "00000.parquet", "scores/00000.parquet"):
        assert name in said
    site.run()
    assert site.audit() == 0
    places = {
        "report.html": f"<p>see {target['url'].replace('&', '&amp;')}.</p>",
        "logs/download/0000.log": f"timeout: {target['url']}, 3 attempts",
        "index/index.json": json.dumps({"example": target["key"]}),
    }
    for name, text in places.items():
        path = site.crawl / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        capsys.readouterr()
        assert site.audit() == 1
        assert f"{name}: still holds 1" in capsys.readouterr().err
        path.unlink()
    assert site.audit() == 0
    (site.crawl / "statistics.json").write_text(json.dumps({"hosts": [{"host": host}]}))
    (site.folder / "takedowns.txt").write_text(
        f"host {hashlib.sha256(host.encode()).hexdigest()}\n"
    )
    capsys.readouterr()
    assert site.audit() == 1
    assert "statistics.json: still holds 1 hosts" in capsys.readouterr().err
    (site.crawl / "statistics.json").unlink()
    pq.write_table(pa.table({"host": [host, "other.example"]}), site.crawl / "hosts.parquet")
    assert site.audit() == 1
    assert "hosts.parquet: still holds 1 hosts" in capsys.readouterr().err


def test_a_duplicate_takes_the_place_of_what_was_taken_down(towers: Any, tmp_path: Path) -> None:
    total = sum(SIZES)
    found = {f"/{n}.png": response(body(n), "Content-Type: image/png") for n in range(total)}
    # The same pixels in other bytes, which the hashes of the image do not catch.
    stream = io.BytesIO()
    with Image.open(io.BytesIO(body(3))) as image:
        image.save(stream, "PNG", compress_level=0)
    found["/20.png"] = response(stream.getvalue(), "Content-Type: image/png")
    with Server(found) as server:
        site = Site(tmp_path, towers)
        data = yaml.safe_load(Path(site.config).read_text())
        data["filter"]["duplicates"] = {"exact": True}
        Path(site.config).write_text(yaml.safe_dump(data))
        write_links(site, server)
        site.run()
        twins = {f"{CRAWL}-0000-00000-00003", f"{CRAWL}-0000-00001-00008"}
        before = {found["key"]: found for found in site.kept()}
        (stays,) = twins & before.keys()
        (other,) = twins - {stays}
        site.take_down(before[stays]["url"])
        site.run()
        after = {found["key"] for found in site.kept()}
        assert after == before.keys() - {stays} | {other}
        assert ledger.read(site.filter / "manifest.json").dropped.get("duplicate_exact", 0) == 0
        assert site.audit() == 0
