"""What every visitor of the page does, step by step."""

from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import Page, expect


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
