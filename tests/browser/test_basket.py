"""Collecting results on the page and exporting them, in a real browser."""

from pathlib import Path

import pyarrow.parquet as pq
from playwright.sync_api import expect

from laion_hpc.files.shards import read_shard
from tests.browser.conftest import Visit
from tests.stages.search.world import World


def test_basket_is_kept_and_exported(visit: Visit, tmp_path: Path) -> None:
    page = visit.go("/?q=red&safe=0")
    first = visit.ids()[0]
    page.locator(f'.tile[data-id="{first}"]').focus()
    page.keyboard.press("b")
    expect(page.locator("#basket-count")).to_have_text("1")
    page.goto("/?q=blue&safe=0")
    expect(page.locator("#basket-count")).to_have_text("1")
    second = next(number for number in visit.ids() if number != first)
    page.locator(f'.tile[data-id="{second}"]').click()
    page.click("#d-collect")
    expect(page.locator("#d-collect")).to_have_attribute("aria-pressed", "true")
    page.reload()
    visit.ids()
    page.keyboard.press("Escape")
    expect(page.locator("#basket-count")).to_have_text("2")
    page.click("#basket-open")
    expect(page.locator("#basket-items li")).to_have_count(2)
    for kind in ("parquet", "txt", "tar"):
        page.check(f"input[value={kind}]")
        with page.expect_download() as download:
            page.click("#export-go")
        download.value.save_as(tmp_path / f"subset.{kind}")
        expect(page.locator("#export-said")).to_have_text(f"2 rows in demo-subset.{kind}.")
    ids = [int(first), int(second)]
    assert pq.read_table(tmp_path / "subset.parquet")["id"].to_pylist() == ids
    assert len((tmp_path / "subset.txt").read_text().splitlines()) == 2
    assert [set(s.members) for s in read_shard(tmp_path / "subset.tar")] == [
        {"jpg", "txt", "json"}
    ] * 2
    page.click("#basket-clear")
    expect(page.locator("#basket-empty")).to_be_visible()
    expect(page.locator("#from-basket")).to_be_disabled()


def test_a_whole_query_is_exported(visit: Visit, world: World, tmp_path: Path) -> None:
    page = visit.go("/?q=red&lang=de&unique=1&safe=0")
    page.click("#basket-open")
    page.fill("#export-num", "15")
    expect(page.locator("#export-command-text")).to_have_text(
        "laion-hpc subset INDEX_DIR --query 'red' --where 'language IN ('\\''de'\\'')' "
        "--unsafe --unique --top 15 --to subset.parquet"
    )
    with page.expect_download() as download:
        page.click("#export-go")
    download.value.save_as(tmp_path / "subset.parquet")
    table = pq.read_table(tmp_path / "subset.parquet")
    assert [str(number) for number in table["id"].to_pylist()] == visit.ids()[:15]
    page.route("**/api/export", lambda route: route.abort())
    page.click("#export-go")
    expect(page.locator("#export-said.error")).to_contain_text("does not answer")
    visit.complaints.clear()


def test_all_that_is_shown_is_collected(visit: Visit) -> None:
    page = visit.go("/?q=red")
    shown = len(visit.ids())
    page.click("#collect")
    expect(page.locator("#basket-count")).to_have_text(str(shown))
    expect(page.locator("li.collected")).to_have_count(shown)
