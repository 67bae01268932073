"""The page in a real browser."""

import json
import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pyarrow.parquet as pq
import pytest
from playwright.sync_api import Page, expect

from laion_hpc.index_folder import vector_id
from laion_hpc.shards import read_shard
from tests.browser.conftest import Visit
from tests.search.world import World, words

PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}


def search(page: Page, text: str) -> None:
    page.fill("#text", text)
    page.press("#text", "Enter")
    expect(page.locator("body")).to_have_attribute("data-view", "results")


def until(page: Page, expression: str) -> None:
    """Wait until it is true; playwright's own way needs eval in the page, which the CSP forbids."""
    for _ in range(200):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"never true: {expression}")


def state(page: Page) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(page.url).query).items()}


def test_start_shows_some_pictures_and_what_to_ask(visit: Visit) -> None:
    page = visit.go()
    expect(page.locator("h1")).to_have_text("Search 120 images")
    expect(page.locator(".example").first).to_be_visible()
    until(page, "document.querySelector('.tile img').naturalWidth > 0")
    before = visit.ids()
    page.click("#shuffle")
    until(
        page, f"![undefined, '{before[0]}'].includes(document.querySelector('.tile')?.dataset.id)"
    )
    example = page.locator(".example").first.inner_text()
    page.locator(".example").first.click()
    expect(page.locator("#text")).to_have_value(example)
    expect(page.locator(".tile img").first).to_have_attribute("alt", example)


def test_search_is_an_address_to_share(visit: Visit, world: World) -> None:
    page = visit.go()
    query = " ".join(words(world.scenes[12][3]))
    best = page.locator(f'li:first-child .tile[data-id="{vector_id(12, 3)}"]')
    search(page, query)
    expect(page.locator("#summary")).to_contain_text("closest first")
    expect(best).to_be_visible()
    assert state(page) == {"q": query}
    search(page, "heart")
    expect(best).to_be_hidden()
    page.go_back()
    expect(page.locator("#text")).to_have_value(query)
    expect(best).to_be_visible()
    page.reload()
    expect(best).to_be_visible()


def test_grid_fills_as_one_scrolls(visit: Visit) -> None:
    page = visit.go("/?q=red&safe=0")
    assert len(visit.ids()) >= 48
    for _ in range(6):
        page.mouse.wheel(0, 6_000)
        visit.ids()
    expect(page.locator(".tile")).to_have_count(120)
    expect(page.locator("#more")).to_be_hidden()
    expect(page.locator("#summary")).to_have_text("120 images, the closest first")
    assert len(set(visit.ids())) == 120


def test_filters_change_results_and_address(visit: Visit) -> None:
    page = visit.go("/?q=red")
    page.click("#filters-toggle")
    expect(page.locator("#filters-toggle")).to_have_attribute("aria-expanded", "true")
    page.select_option("#language", label="German (24)")
    expect(page.locator("#summary")).to_have_text("12 images, the closest first")
    page.locator("#safe").uncheck()
    expect(page.locator("#summary")).to_have_text("24 images, the closest first")
    page.locator("#watermark").fill("0.4")
    page.locator("#watermark").dispatch_event("change")
    page.locator("#unique").check()
    assert state(page) == {
        "q": "red", "lang": "de", "safe": "0", "watermark": "0.4", "unique": "1",
    }  # fmt: skip
    expect(page.locator("#filters-count")).to_have_text("4")
    page.locator("#size").fill("5")
    page.locator("#size").dispatch_event("change")
    expect(page.locator("#message-title")).to_have_text("Nothing passes the filters")
    page.click("#message-action")
    expect(page.locator("#summary")).to_contain_text("images, the closest first")
    assert state(page) == {"q": "red"}
    expect(page.locator("#filters-count")).to_be_hidden()


def test_details_by_keyboard(visit: Visit) -> None:
    page = visit.go("/?q=red")
    ids = visit.ids()
    page.keyboard.press("/")
    expect(page.locator("#text")).to_be_focused()
    page.locator(".tile").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.locator("#details")).to_be_visible()
    expect(page.locator("#d-caption")).to_be_focused()
    facts = page.locator("#d-facts")
    second = facts.inner_text()
    page.keyboard.press("ArrowRight")
    expect(facts).not_to_have_text(second, use_inner_text=True)
    for name in ("Match", "Caption match", "Language", "Original", "Page", "Unsafe", "Key"):
        expect(facts).to_contain_text(name)
    page.keyboard.press("Escape")
    expect(page.locator("#details")).to_be_hidden()
    third = page.locator(f'.tile[data-id="{ids[2]}"]')
    expect(third).to_be_focused()
    box = third.bounding_box()
    page.keyboard.press("ArrowDown")
    below = page.evaluate("document.activeElement.getBoundingClientRect().top")
    assert box is not None
    assert below > box["y"] + 10


def test_similar(visit: Visit) -> None:
    page = visit.go("/?q=red&safe=0")
    chosen = visit.ids()[1]
    page.locator(".tile").nth(1).click()
    assert page.url.endswith(f"#{chosen}")
    page.click("#d-similar")
    expect(page.locator(".part.like")).to_have_text("More like this")
    until(page, "document.querySelector('.part img').naturalWidth > 0")
    assert state(page) == {"like": chosen, "safe": "0"}
    expect(page.locator("#summary")).to_contain_text("closest first")
    found = visit.ids()
    assert found
    assert chosen not in found
    page.get_by_label("Leave this picture out").click()
    expect(page.locator("#parts")).to_be_hidden()
    assert state(page) == {"safe": "0"}


def test_more_like_these_less_like_those(visit: Visit, world: World) -> None:
    page = visit.go("/?q=red&safe=0")
    first, second, third = visit.ids()[:3]
    page.locator(f'.tile[data-id="{first}"]').hover()
    page.locator(f'li:has([data-id="{first}"]) .act-more').click()
    expect(page.locator(".part")).to_have_count(1)
    visit.ids()
    page.locator(f'.tile[data-id="{second}"]').focus()
    page.keyboard.press("-")
    expect(page.locator(".part.unlike")).to_have_text("Less like this")
    visit.ids()
    page.locator(f'.tile[data-id="{third}"]').click()
    page.click("#d-more")
    assert state(page) == {"q": "red", "safe": "0", "like": f"{first},{third}", "unlike": second}
    expect(page.locator("#summary")).to_contain_text("closest first")
    found = visit.ids()
    page.reload()  # the address says it all
    visit.ids()
    expect(page.locator(".part")).to_have_count(3)
    assert visit.ids() == found
    page.get_by_label("Turn into: less like this").first.click()
    expect(page.locator(".part.unlike")).to_have_count(2)
    assert state(page)["unlike"] == f"{second},{first}"
    assert page.title() == "red and 3 pictures – demo"


def test_an_address_can_name_a_picture(visit: Visit) -> None:
    number = vector_id(12, 4)
    page = visit.go(f"/?q=red#{number}")
    expect(page.locator("#details")).to_be_visible()
    expect(page.locator("#d-facts")).to_contain_text("demo-0012-00000-00004")
    page.keyboard.press("Escape")
    page.wait_for_url("**/?q=red")


def test_others_at_random_have_an_address(visit: Visit) -> None:
    page = visit.go()
    page.click("#shuffle")
    page.wait_for_url("**/?seed=*")
    found = visit.ids()
    page.reload()
    assert visit.ids() == found


def test_histograms_follow_the_query_and_the_sliders(visit: Visit) -> None:
    page = visit.go("/?q=red&safe=0")
    page.click("#filters-toggle")
    bars = page.locator('[data-bars="similarity"] rect')
    expect(bars).to_have_count(10)
    counts = bars.evaluate_all("all => all.map(bar => Number(bar.dataset.count))")
    assert sum(counts) == 120
    expect(page.locator(".bars rect.out")).to_have_count(0)
    page.locator("#similarity").fill("0.35")
    page.locator("#similarity").dispatch_event("input")
    expect(page.locator('[data-bars="similarity"] rect.out')).to_have_count(5)
    page.locator("#similarity").dispatch_event("change")
    visit.ids()
    shown = page.locator(".tile").count()
    assert shown == sum(counts[5:])
    # The bars left out are still there to see, so that the slider can be set back.
    again = bars.evaluate_all("all => all.map(bar => Number(bar.dataset.count))")
    assert again == counts
    page.select_option("#language", "de")
    until(page, """[...document.querySelectorAll('[data-bars="size"] rect')]
        .reduce((sum, bar) => sum + Number(bar.dataset.count), 0) === 24""")  # fmt: skip
    expect(page.locator('[data-column="aesthetic"]')).to_be_hidden()  # this index has none


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


def test_keys_are_told(visit: Visit) -> None:
    page = visit.go("/?q=red")
    page.locator(".tile").first.focus()
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#keys")).to_be_hidden()


def test_search_with_a_picture(visit: Visit, picture: Path) -> None:
    page = visit.go("/?safe=0")
    page.click("#picture")
    expect(page.locator("#address")).to_be_focused()
    page.set_input_files("#file", picture)
    expect(page.locator(".part")).to_have_text("Your picture")
    expect(page.locator(".tile").first).to_have_attribute("data-id", str(vector_id(3, 11)))
    page.reload()  # a picture is no part of the address, but of the visit
    expect(page.locator(".tile").first).to_have_attribute("data-id", str(vector_id(3, 11)))
    expect(page.locator(".part")).to_be_visible()


def test_drop_a_picture(visit: Visit, picture: Path) -> None:
    page = visit.go("/?safe=0")
    data = page.evaluate_handle(
        """bytes => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes)], "mine.jpg", {type: "image/jpeg"}));
            return data;
        }""",
        list(picture.read_bytes()),
    )
    page.dispatch_event("body", "dragenter", {"dataTransfer": data})
    expect(page.locator("#drop")).to_be_visible()
    page.dispatch_event("body", "drop", {"dataTransfer": data})
    expect(page.locator("#drop")).to_be_hidden()
    expect(page.locator(".tile").first).to_have_attribute("data-id", str(vector_id(3, 11)))


def test_what_is_no_picture_is_told(visit: Visit, tmp_path: Path) -> None:
    page = visit.go()
    visit.ids()  # the page has come to rest
    (tmp_path / "no.jpg").write_text("no picture")
    page.set_input_files("#file", tmp_path / "no.jpg")
    expect(page.locator("#message-text")).to_contain_text("not a picture")
    expect(page.locator("#message")).to_be_in_viewport()
    page.click("#message-action")
    expect(page.locator("#message")).to_be_hidden()


def test_address_of_an_image(visit: Visit) -> None:
    page = visit.go()
    search(page, "https://somewhere.example.invalid/a.jpg")
    expect(page.locator("#message-title")).to_have_text("That did not work")
    expect(page.locator("#message-text")).to_have_text("image URLs are switched off")
    assert state(page) == {"url": "https://somewhere.example.invalid/a.jpg"}
    # The refused request, and the picture beside the words, which cannot be loaded.
    assert all(re.search("403|ERR_NAME_NOT_RESOLVED", text) for text in visit.complaints)
    visit.complaints.clear()


def test_service_that_fails_and_recovers(visit: Visit) -> None:
    page = visit.go()
    page.route("**/api/search", lambda route: route.abort())
    search(page, "red")
    expect(page.locator("#message-text")).to_contain_text("does not answer")
    page.unroute("**/api/search")
    page.click("#message-action")
    expect(page.locator(".tile").first).to_be_visible()
    expect(page.locator("#message")).to_be_hidden()
    assert all("ERR_FAILED" in text for text in visit.complaints)
    visit.complaints.clear()


def test_what_strangers_wrote_stays_text(visit: Visit) -> None:
    page = visit.page
    caption = "<img src=x onerror=\"document.title='owned'\">"
    item = {
        "id": 5, "score": 0.5, "image": "", "key": "k", "width": 10, "height": 10,
        "caption": caption, "url": "javascript:alert(1)", "page_url": "javascript:alert(1)",
        "language": "<b>", "license": "javascript:alert(1)",
    }  # fmt: skip
    answer = json.dumps({"index": "demo", "results": [item], "more": False})
    page.route("**/api/search", lambda route: route.fulfill(body=answer))
    visit.go("/?q=red")
    expect(page.locator(".tile.gone .caption")).to_have_text(caption)
    page.locator(".tile").click()
    expect(page.locator("#d-caption")).to_have_text(caption)
    expect(page.locator("#d-page")).to_be_hidden()
    expect(page.locator("#d-gone")).to_be_visible()
    assert page.locator("a[href^='javascript']").count() == 0
    assert page.title() == "red – demo"
    visit.complaints.clear()  # the browser will not load javascript: as an image


CONTRAST = """names => {
    const probe = document.createElement("i");
    document.body.append(probe);
    const light = name => {
        probe.style.color = `var(--${name})`;
        const parts = getComputedStyle(probe).color.match(/[\\d.]+/g).map(Number);
        const [r, g, b] = parts.map(c => c / 255).map(c =>
            c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    return names.map(([ink, paper]) => {
        const [a, b] = [light(ink), light(paper)].sort((x, y) => y - x);
        return (a + 0.05) / (b + 0.05);
    });
}"""
PAIRS = [
    ["ink", "paper"], ["quiet", "paper"], ["quiet", "sunk"], ["quiet", "raised"],
    ["accent", "paper"], ["accent", "raised"], ["accent-ink", "accent"], ["warn", "paper"],
    ["ink", "accent-soft"],
]  # fmt: skip


@pytest.mark.parametrize("visit", [{"color_scheme": "dark"}, {}], indirect=True)
def test_light_and_dark_are_readable(visit: Visit) -> None:
    page = visit.go()
    background = "getComputedStyle(document.body).backgroundColor"
    first = page.evaluate(background)
    ratios = page.evaluate(CONTRAST, PAIRS)
    page.click("#theme")
    other = page.evaluate(background)
    assert other != first
    ratios += page.evaluate(CONTRAST, PAIRS)
    assert min(ratios) >= 4.5  # WCAG AA
    page.reload()
    assert page.evaluate(background) == other


@pytest.mark.parametrize("visit", [PHONE], indirect=True)
def test_phone(visit: Visit) -> None:
    page = visit.go()

    def fits() -> None:
        assert page.evaluate("document.documentElement.scrollWidth") <= 360

    fits()
    page.click("#filters-toggle")
    fits()
    page.click("#filters-toggle")
    search(page, "red")
    visit.ids()
    fits()
    page.locator(".tile").nth(2).tap()
    box = page.locator("#details").bounding_box()
    assert box is not None
    assert box["width"] == 360
    page.locator("#d-close").tap()
    fits()
    small = page.eval_on_selector_all(
        "button, select, .button",
        """all => all.filter(e => e.offsetParent && e.getBoundingClientRect().height < 32
            && !e.closest('.part, .small-actions')).map(e => e.id || e.className)""",
    )
    assert small == []


def test_everything_has_a_name(visit: Visit) -> None:
    page = visit.go("/?q=red&safe=0")
    page.click("#filters-toggle")
    page.click("#picture")
    unnamed = page.eval_on_selector_all(
        "button, input, select, a, img",
        """all => all.filter(e => e.offsetParent).filter(e => {
            const label = e.labels?.length ? e.labels[0].innerText : "";
            const alt = e.getAttribute("alt") ?? "";
            const inside = e.querySelector("img")?.alt || "";
            return !(e.getAttribute("aria-label") || label || e.innerText || alt || inside);
        }).map(e => e.outerHTML.slice(0, 120))""",
    )
    assert unnamed == []
    tree = page.locator("body").aria_snapshot()
    for part in ("search", "list", "main", "status"):
        assert re.search(rf"^\s*- {part}\b", tree, re.MULTILINE), tree[:2000]


def test_nothing_comes_from_elsewhere(visit: Visit, site: str) -> None:
    asked: list[str] = []
    visit.page.on("request", lambda request: asked.append(request.url))
    visit.go("/?q=red")
    visit.ids()
    assert asked
    assert [url for url in asked if not url.startswith((site, "data:"))] == []
