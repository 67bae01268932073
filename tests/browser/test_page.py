"""Searching on the page, in a real browser."""

import json

from playwright.sync_api import expect

from laion_hpc.files.index_folder import vector_id
from tests import patience
from tests.browser.conftest import Visit
from tests.browser.steps import PAGE_SILENCE, search, state, until
from tests.stages.search.world import World, words


def test_start_shows_some_pictures_and_what_to_ask(visit: Visit) -> None:
    page = visit.go()
    expect(page.locator("h1")).to_have_text("Search 120 images")
    expect(page.locator(".example").first).to_be_visible()
    until(page, "document.querySelector('.tile img').naturalWidth > 0")
    before = visit.ids()
    page.click("#shuffle")
    # All of them are compared: the first one is the same again in one of 120 samples.
    patience.until(lambda: visit.ids() not in ([], before), "another sample", silence=PAGE_SILENCE)
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
    page.get_by_label("Remove this picture").click()
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
    page.get_by_label("Change to: less like this").first.click()
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


def test_keys_are_told(visit: Visit) -> None:
    page = visit.go("/?q=red")
    page.locator(".tile").first.focus()
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#keys")).to_be_hidden()


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
