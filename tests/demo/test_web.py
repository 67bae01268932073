"""The demo's web: the plan, its WARCs and WATs, and whether its truth is what `extract` finds."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import random
import zlib
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps
from warcio.archiveiterator import ArchiveIterator

from laion_hpc import cli
from laion_hpc import config as settings
from laion_hpc.demo import build, faults, pictures, references, table, truth, warc, wat
from laion_hpc.demo.captions import distinct
from laion_hpc.demo.command import PAGES, PORT
from laion_hpc.demo.scenes import random_scene
from laion_hpc.demo.sites import HOSTS, PRODUCT
from laion_hpc.demo.web import Web, plan
from laion_hpc.errors import UsageError
from laion_hpc.files import crawl_lock
from laion_hpc.run.crawl import by_segment
from laion_hpc.web.url import Base
from tests.demo.conftest import Built

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def web() -> Web:
    return plan(PAGES, 0, PORT)


def test_it_is_as_large_and_as_mixed_as_it_should_be(web: Web) -> None:
    assert len(web.pages) >= 2_500
    assert {urlsplit(page.url).hostname for page in web.pages} == set(HOSTS)
    assert len(HOSTS) == 40
    links = [link for page in web.pages for link in page.links]
    assert 3_300 <= len(links) <= 4_500
    good = [asset for asset in web.assets if not asset.behaviour.reason]
    assert len(good) >= 2_300
    assert 0.28 < sum(not asset.right for asset in good) / len(good) < 0.38
    languages = Counter(link.caption.language for link in links if link.caption)
    assert len(languages) >= 8
    assert min(languages.values()) > 30
    assert {link.reason for link in links} == {
        "", "no_text", "text_too_short", "text_too_long", "data_url", "not_http", "bad_url",
        "url_too_long", "extension",
    }  # fmt: skip


def test_every_behaviour_of_a_server_occurs(web: Web) -> None:
    for assets in (web.assets, plan(120, 1, PORT).assets):
        counts = Counter(asset.behaviour.name for asset in assets)
        assert set(counts) == {behaviour.name for behaviour in faults.BEHAVIOURS}
        assert min(counts.values()) >= 2


def test_no_two_images_or_pages_share_a_url(web: Web) -> None:
    urls = [asset.url for asset in web.assets] + [page.url for page in web.pages]
    assert len(set(urls)) == len(urls)


def test_the_plan_follows_from_its_arguments() -> None:
    assert plan(120, 3, 9000) == plan(120, 3, 9000)
    assert plan(120, 3, 9000).pages != plan(120, 4, 9000).pages


def test_wrong_captions_are_of_another_scene(web: Web) -> None:
    for page in web.pages:
        for link in page.links:
            if link.asset and link.caption:
                same = link.asset.scene == link.caption.scene
                assert same == link.asset.right
                assert same or distinct(link.asset.scene, link.caption.scene)


def test_references_come_to_their_urls(web: Web) -> None:
    for page in web.pages:
        base = Base(page.url, page.base if page.base != page.url else "")
        for link in page.links:
            if link.url:
                assert base.resolve(link.reference).href == link.url, link.reference


@given(st.integers(0, 2**32), st.sampled_from(["/", "/a/b/", "/x.html", "/shop/item.php?id=3"]))
def test_any_spelling_of_a_url_comes_to_it(seed: int, page: str) -> None:
    rng = random.Random(seed)
    url = rng.choice(
        ("http://127.0.0.2:8765/a/gr%C3%B6%C3%9Fe/1.jpg?w=3&h=4", "http://127.0.0.3:8765/i.php?a=1")
    )
    base = f"http://127.0.0.{rng.choice((2, 3))}:8765{page}"
    assert Base(base).resolve(references.spell(url, base, rng)).href == url


@given(st.integers(0, 2**32))
def test_spread_out_texts_are_the_same_words(seed: int) -> None:
    rng = random.Random(seed)
    text = rng.choice(("A red star above a boat.", "海上的红色星星", "Sevo Puz"))
    assert " ".join(references.spread_out(text, rng).split()) == text


def test_the_lock_file_names_what_is_built() -> None:
    wats = [
        wat_file.path(Path()).relative_to("wat").as_posix()
        for wat_file in warc.crawl((), random.Random(0))
    ]
    expected = crawl_lock.Lock("demo", "build/demo/wat", by_segment(wats, "demo"))
    assert crawl_lock.read_lock(ROOT / "config/crawls/demo.json") == expected


def test_the_config_fits_the_web() -> None:
    config = settings.load(ROOT / "config/demo.yaml")
    assert config.download.user_agent.startswith(f"{PRODUCT}/")
    assert config.download.max_bytes < faults.LARGE_BYTES
    assert config.download.deadline_seconds > 3 * faults.SLOW_SECONDS
    assert len(config.release.subsets) == 2


def test_a_small_web_is_refused() -> None:
    with pytest.raises(UsageError, match="at least 100"):
        build.parameters(pages=20, seed=0, port=8765)
    with pytest.raises(UsageError, match="--port"):
        build.parameters(pages=200, seed=0, port=80)


def test_a_build_is_recognised(built: Built, capsys: pytest.CaptureFixture[str]) -> None:
    assert build.is_built(built.folder, built.parameters)
    other = build.parameters(pages=121, seed=5, port=built.parameters.port)
    assert not build.is_built(built.folder, other)
    assert not build.is_built(built.folder / "nowhere", built.parameters)
    arguments = ["demo", "build", "--output", str(built.folder), "--pages", "120", "--seed", "5"]
    assert cli.main([*arguments, "--port", str(built.parameters.port)]) == 0
    assert "built already" in capsys.readouterr().out


def test_two_processes_build_the_same_bytes(built: Built, tmp_path: Path) -> None:
    build.build(tmp_path, built.parameters, processes=2)

    def sums(folder: Path) -> dict[str, str]:
        return {
            path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in folder.rglob("*")
            if path.is_file()
        }

    assert sums(tmp_path) == sums(built.folder)


def test_pictures_keep_their_promises(built: Built) -> None:
    web = plan(built.parameters.pages, built.parameters.seed, built.parameters.port)
    seen = set()
    for asset in web.assets:
        picture = asset.picture
        if picture is None:
            continue
        data = (built.folder / picture.file).read_bytes()
        assert len(data) >= 5_000, picture
        with Image.open(io.BytesIO(data)) as image:
            if asset.behaviour.name == "broken":
                with pytest.raises((OSError, SyntaxError)):
                    image.load()
            else:
                seen.add(image.mode)
                assert ImageOps.exif_transpose(image).size == picture.shape, picture
    assert {"RGB", "L"} <= seen


@pytest.mark.parametrize("form", sorted(pictures._FORMS))
def test_every_form_of_a_picture_can_be_read(form: str) -> None:
    scene = random_scene(random.Random(1))
    for orientation in (1, 2, 3, 6, 8) if form in pictures._WITH_EXIF else (1,):
        picture = pictures.Picture(0, scene, 224, 4 / 3, form, orientation, True, False, 7)
        data = pictures.encode(pictures.draw(picture), picture)
        assert len(data) >= pictures.MIN_BYTES
        with Image.open(io.BytesIO(data)) as image:
            assert ImageOps.exif_transpose(image).size == (299, 224)


def test_warcs_and_wats_are_genuine(built: Built) -> None:
    wats = sorted(built.folder.glob("wat/segments/*/wat/*.warc.wat.gz"))
    warcs = sorted(built.folder.glob("warc/segments/*/warc/*.warc.gz"))
    assert len(wats) == len(warcs) == 6
    for path in wats[1:]:
        with path.open("rb") as stream:
            records = [(r.rec_type, r.content_stream().read()) for r in ArchiveIterator(stream)]
        assert [kind for kind, _ in records][:2] == ["warcinfo", "metadata"]
        old = "DEMO-2015" in path.name
        for _, payload in records[1:]:
            data = json.loads(payload)
            warc_path = built.folder / "warc" / "segments" / path.parents[1].name / "warc"
            with (warc_path / data["Container"]["Filename"]).open("rb") as stream:
                stream.seek(int(data["Container"]["Offset"]))
                record = next(iter(ArchiveIterator(stream)))
            header = data["Envelope"]["WARC-Header-Metadata"]
            assert record.rec_headers.get_header("WARC-Record-ID") == header["WARC-Record-ID"]
            assert ("Block-Digest" in data["Envelope"]) == old


def test_the_wat_has_the_shape_of_a_real_one(testdata: Path, built: Built) -> None:
    """Every key that the real extractor writes for a page is there, and no other."""

    def shapes(path: Path, records: int) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        with gzip.open(path) as stream:
            for number, record in enumerate(ArchiveIterator(stream)):
                if record.rec_type == "metadata" and number < records:
                    _collect(json.loads(record.content_stream().read()), "", found)
        return found

    real = shapes(testdata / "wat/current-format-1754-pages.warc.wat.gz", 600)
    ours = shapes(sorted(built.folder.glob("wat/segments/*/wat/*2025*"))[1], 600)
    for place, keys in ours.items():
        assert place in real, place
        assert keys <= real[place], place


def _collect(data: object, place: str, found: dict[str, set[str]]) -> None:
    """The keys at every place of a JSON, HTTP and WARC headers apart: these are free."""
    if isinstance(data, dict):
        if place.endswith(("Headers", "Info-Metadata", "Header-Metadata")):
            return
        found.setdefault(place, set()).update(data)
        for key, value in data.items():
            _collect(value, f"{place}/{key}", found)
    elif isinstance(data, list):
        for value in data:
            _collect(value, f"{place}[]", found)


def test_entities_are_decoded_since_2019_only() -> None:
    page = '<img src="/a?x=1&amp;y=2" alt="caf&eacute; &amp;amp; bar"><a href="#">&raquo;</a>'
    (new, _), (old, _) = (wat.html_metadata(page, old=old)["Links"] for old in (False, True))
    assert (new["url"], new["alt"]) == ("/a?x=1&y=2", "café &amp; bar")
    assert (old["url"], old["alt"]) == ("/a?x=1&amp;y=2", "caf&eacute; &amp;amp; bar")
    assert list(new) == ["path", "url", "alt"]
    assert list(old) == ["alt", "path", "url"]


def test_one_gzip_member_is_damaged(built: Built) -> None:
    rows = pq.read_table(built.folder / "truth.parquet").to_pylist()
    lost = {(row["wat"], row["record_offset"]) for row in rows if row["reason"] == truth.DAMAGED}
    assert len(lost) == 1
    name, offset = lost.pop()
    path = next(built.folder.glob(f"wat/segments/{warc.SEGMENTS[0]}/wat/{name}"))
    with pytest.raises(zlib.error):
        zlib.decompressobj(31).decompress(path.read_bytes()[offset:])


def test_extract_finds_exactly_what_the_truth_says(built: Built, tmp_path: Path) -> None:
    rows = pq.read_table(built.folder / "truth.parquet").to_pylist()
    lock = tmp_path / "demo.json"
    assert cli.main(
        ["crawl", "demo", "--folder", str(built.folder / "wat"), "--output", str(lock)]
    ) == 0  # fmt: skip
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump({"dataset": {"blocks": 2}}))
    for segment in warc.SEGMENTS:
        output = tmp_path / f"{segment}.parquet"
        arguments = ["--lock", str(lock), "--segment", segment, "--config", str(config)]
        assert cli.main(["extract", *arguments, "--output", str(output)]) == 0
        found = {
            (r["wat"], r["record_offset"], r["link_position"]): (r["url"], r["text"], r["license"])
            for r in pq.read_table(output).to_pylist()
        }
        here = [row for row in rows if row["segment"] == segment]
        assert found == {
            (r["wat"], r["record_offset"], r["link_position"]): (r["url"], r["text"], r["license"])
            for r in here
            if r["stage"] != "extract"
        }
        dropped = Counter(r["reason"] for r in here if r["stage"] == "extract")
        del dropped[truth.DAMAGED]
        book = json.loads(output.with_name(f"{segment}.ledger.json").read_text())
        assert book["dropped"] == dropped


def test_of_duplicates_the_longest_text_stays_then_the_earliest(built: Built) -> None:
    rows = pq.read_table(built.folder / "truth.parquet").to_pylist()
    by_url: dict[str, list[dict[str, object]]] = {}
    for row in rows:
        if row["stage"] != "extract":
            by_url.setdefault(row["url"], []).append(row)
    assert any(len(same) > 1 for same in by_url.values())
    for same in by_url.values():
        same.sort(key=lambda r: (-len(str(r["text"])), r["segment"], r["wat"],
                                 r["record_offset"], r["link_position"]))  # fmt: skip
        assert same[0]["stage"] != "shuffle"
        assert all(row["reason"] == "duplicate" for row in same[1:])


def test_the_table_survives_its_file(built: Built, tmp_path: Path) -> None:
    served = table.read_table(built.folder / table.TABLE)
    table.write_table(served, tmp_path / "again.json")
    assert table.read_table(tmp_path / "again.json") == served
    assert len(served.pages) == built.parameters.pages


def test_scenes_survive_their_json() -> None:
    for seed in range(20):
        scene = random_scene(random.Random(seed))
        assert truth.scene_of(truth.scene_json(scene)) == scene
