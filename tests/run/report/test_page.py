import re
import shutil
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from laion_hpc.cli import main
from laion_hpc.config import Config, load
from laion_hpc.run.report.data import MOST_FILES, Run, StageTotals, gather, spread
from laion_hpc.run.report.figures import FAILURES, failure_group, short_license
from laion_hpc.run.report.funnel import percent, together
from laion_hpc.run.report.language_names import language_name
from laion_hpc.run.report.page import SECTIONS, page
from laion_hpc.run.report.samples import choose, safe_keys
from tests.run.report.synthetic import CRAWL, make_run
from tests.run.report.test_charts import well_formed


@pytest.fixture(scope="module")
def crawl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("report")
    make_run(root, links=500)
    return root / CRAWL


@pytest.fixture(scope="module")
def run(crawl: Path) -> Run:
    return gather(crawl, load(None), samples=6)


def test_the_page_stands_on_its_own(run: Run) -> None:
    html = page(run)
    # Links are within the page, pictures in it; nothing is fetched.
    assert set(re.findall(r'href="(.)', html)) == {"#"}
    assert set(re.findall(r'src="([a-z]+:)', html)) == {"data:"}
    assert "@import" not in html
    assert not re.search(r"url\((?!data:)", html)
    assert "<script" not in html
    # Without the style, whose > and & mean something else.
    well_formed("<html><head>" + html.partition("</style>")[2])


def test_every_section_is_there_and_the_contents_lead_to_it(run: Run) -> None:
    html = page(run)
    for one in SECTIONS:
        assert f'<section id="{one.anchor}"><h2>{one.title}</h2>' in html
        assert f'<a href="#{one.anchor}">{one.title}</a>' in html
    assert "Missing, because" not in html


def test_the_funnel_has_every_reason_of_every_stage(run: Run) -> None:
    html = page(run)
    for totals in together(run.stages):
        assert f"{totals.inputs:,} {totals.unit} → {totals.kept:,}" in html
        for reason, count in totals.dropped.items():
            assert re.search(rf"<code>{reason}</code><span>{count:,} ", html)
    assert len(run.stages) == 8


def test_numbers_are_those_of_the_tables(crawl: Path, run: Run) -> None:
    similar: dict[str, Counter[int]] = {}
    for path in crawl.glob("filter/*/scores/*.parquet"):
        for row in pq.read_table(path, columns=["language_class", "similarity"]).to_pylist():
            counter = similar.setdefault(row["language_class"], Counter())
            counter[int(row["similarity"] * 100 // 1)] += 1
    assert run.similarity == similar
    kinds: Counter[str] = Counter()
    for path in crawl.glob("download/*/*.parquet"):
        for row in pq.read_table(path).to_pylist():
            if row["status"] == "success":
                kinds[row["content_type"].partition(";")[0]] += 1
    assert run.content_types == kinds
    assert run.benchmarks["shuffle"].jobs == 2
    assert run.benchmarks["shuffle"].seconds == pytest.approx(22)
    assert run.benchmarks["download"].max_rss_mb == 400.5
    # Of an MPI job Snakemake sees srun only: its ranks say what they used.
    assert run.benchmarks["embed"].max_rss_mb == 5_000.5
    assert run.benchmarks["embed"].cpu_seconds == pytest.approx(2_000)
    assert run.balance is not None
    assert len(run.balance.largest_shares) == run.balance.shards


@pytest.mark.parametrize("gone", ["extract", "download", "filter", "tag", "index", "release"])
def test_a_stage_that_is_not_there_leaves_its_sections_out(
    crawl: Path, tmp_path: Path, gone: str
) -> None:
    copy = shutil.copytree(crawl, tmp_path / CRAWL)
    shutil.rmtree(copy / gone)
    html = page(gather(copy, Config(), samples=4))
    missing = {
        "index": "Search index",
        "release": "Languages",
        "filter": "Similarity",
        "tag": "Samp",
    }
    if gone in missing:
        assert re.search(f"Missing, because [^<]*{missing[gone]}", html)
    assert f"<b>{gone}" not in html


def test_a_crawl_that_has_barely_begun(tmp_path: Path) -> None:
    (tmp_path / "mine" / "extract").mkdir(parents=True)
    html = page(gather(tmp_path / "mine", Config(), samples=4))
    assert "Missing, because" in html
    assert "<section" not in html


def test_captions_and_titles_cannot_break_out(run: Run) -> None:
    nasty = '<img src=x onerror="alert(1)">&amp;'
    run.pictures[0] = type(run.pictures[0])('k"', nasty, nasty, 0.3, run.pictures[0].data_uri, 1, 1)
    html = page(run)
    assert "<img src=x" not in html
    assert "&lt;img src=x onerror=&quot;alert(1)&quot;&gt;&amp;amp;" in html


def test_samples_are_safe_seeded_and_from_their_own_rows(crawl: Path) -> None:
    pictures = choose(crawl, 12, seed=3)
    assert len(pictures) == 12
    assert choose(crawl, 12, seed=3) == pictures
    assert choose(crawl, 12, seed=4) != pictures
    rows = {
        row["key"]: row
        for path in crawl.glob("filter/*/[0-9]*.parquet")
        for row in pq.read_table(path).to_pylist()
    }
    unsafe = {
        row["key"]
        for path in crawl.glob("tag/*.parquet")
        for row in pq.read_table(path).to_pylist()
        if not row["punsafe"] < 0.5 or row["nsfw"] not in ("UNLIKELY", "UNTAGGED")
    }
    assert unsafe
    for one in pictures:
        assert one.key not in unsafe
        assert one.caption == rows[one.key]["caption"]
        assert one.data_uri.startswith("data:image/jpeg;base64,")
    everything = choose(crawl, 10_000, seed=3)
    assert {one.key for one in everything} == rows.keys() - unsafe
    assert safe_keys(crawl / "tag" / "none.parquet") == set()


def test_the_command_line(crawl: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "new" / "report.html"
    assert main(["report", str(crawl), "--output", str(output), "--samples", "2"]) == 0
    assert output.read_text().count("<img ") == 2
    assert main(["report", str(crawl.parent), "--output", str(output)]) == 2
    assert f"one of {crawl}" in capsys.readouterr().err


def test_stages_that_drop_nothing_share_a_line() -> None:
    def totals(stage: str, inputs: int, dropped: int = 0) -> StageTotals:
        return StageTotals(stage, "samples", 1, inputs, inputs - dropped, Counter({"a": dropped}))

    stages = [totals("filter", 9, 4), totals("embed", 5), totals("tag", 5), totals("release", 5)]
    assert [one.stage for one in together(stages)] == ["filter", "embed, tag", "release"]
    apart = [totals("embed", 5), totals("tag", 4)]
    assert [one.stage for one in together(apart)] == ["embed", "tag"]


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [(0, 5, "0%"), (1, 0, "0%"), (1, 3, "33.3%"), (1, 300, "0.33%"), (1, 10**6, "< 0.01%")],
)
def test_shares_never_round_something_to_nothing(part: int, whole: int, text: str) -> None:
    assert percent(part, whole) == text


def test_every_reason_of_download_has_one_group() -> None:
    named = [reason for reasons in FAILURES.values() for reason in reasons]
    assert len(set(named)) == len(named)
    assert failure_group("http_404") == failure_group("bad_redirect") == "HTTP error"
    assert failure_group("dns") == "no connection"


@pytest.mark.parametrize(
    ("link", "name"),
    [
        ("https://creativecommons.org/licenses/by-sa/4.0/", "CC BY-SA 4.0"),
        ("http://creativecommons.org/licenses/by/3.0/de/", "CC BY 3.0 de"),
        ("https://creativecommons.org/publicdomain/zero/1.0/", "CC0 1.0"),
        ("https://creativecommons.org/about", "https://creativecommons.org/about"),
    ],
)
def test_licences_have_names(link: str, name: str) -> None:
    assert short_license(link) == name


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("gd", "Scottish Gaelic (gd)"),
        ("zh-Latn", "Chinese in Latin script (zh-Latn)"),
        ("xx", "xx"),
    ],
)
def test_languages_have_names(code: str, name: str) -> None:
    assert language_name(code) == name


def test_files_are_spread_evenly_and_few() -> None:
    paths = [Path(str(number)) for number in range(1000)]
    assert spread(paths[:5], 10) == paths[:5]
    chosen = spread(paths, MOST_FILES)
    assert len(chosen) == len(set(chosen)) == MOST_FILES
    assert chosen[0] == paths[0]
    assert int(chosen[-1].name) > 990
