"""How the page looks and reads: light, dark, on a phone, to a screen reader."""

import re

import pytest

from tests.browser.conftest import Visit
from tests.browser.steps import search

PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}


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
