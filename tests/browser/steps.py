"""What every visitor of the page does, step by step."""

from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import Page, expect

from tests import patience

PAGE_SILENCE = 120.0
"""Seconds that the page may take for one step; on an idle machine each takes less than one."""

expect.set_options(timeout=1_000 * PAGE_SILENCE)


def search(page: Page, text: str) -> None:
    page.fill("#text", text)
    page.press("#text", "Enter")
    expect(page.locator("body")).to_have_attribute("data-view", "results")


def until(page: Page, expression: str) -> None:
    """Wait until it is true; playwright's own way needs eval in the page, which the CSP forbids."""

    def holds() -> bool:
        page.wait_for_timeout(50)  # in this time the page's events are taken
        return bool(page.evaluate(expression))

    patience.until(holds, expression, silence=PAGE_SILENCE, pause=0.0)


def state(page: Page) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(page.url).query).items()}
