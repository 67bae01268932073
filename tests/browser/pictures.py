"""Makes the pictures of the search page in the documentation, from the results of the demo.

python -m tests.browser.pictures results/demo docs/images

Each picture is a state of the page that somebody could be in; it is reached by clicking and
typing. The demo's web need not run: the images come from its shards.
"""

from __future__ import annotations

import shutil
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import uvicorn
from playwright.sync_api import Browser, Page, sync_playwright

from laion_hpc.config.sections import SearchConfig
from laion_hpc.models import load
from laion_hpc.stages.search.http.app import create_app
from laion_hpc.stages.search.knn.collection import open_collections
from laion_hpc.stages.search.service import Service
from laion_hpc.stages.search.thumbnails import Thumbnails
from tests.browser.conftest import ARGUMENTS, NAMES

DESKTOP = {"viewport": {"width": 1280, "height": 800}}
PHONE = {"viewport": {"width": 390, "height": 800}, "has_touch": True, "is_mobile": True}
QUERY = "/?q=ein+roter+Pilz+im+Schnee"


def start(_page: Page) -> None:
    """The first thing one sees."""


def settle(page: Page) -> None:
    """Wait for results and for the pictures that are in sight."""
    page.wait_for_selector("#grid:not([aria-busy]) .tile")
    page.wait_for_timeout(900)


def open_filters(page: Page) -> None:
    page.click("#filters-toggle")
    page.wait_for_selector('[data-bars="similarity"] rect', state="attached")
    page.locator("#watermark").fill("0.5")
    page.locator("#watermark").dispatch_event("change")
    settle(page)
    page.wait_for_selector(".bars rect.out", state="attached")


def combine(page: Page) -> None:
    page.locator(".tile").nth(0).focus()
    page.keyboard.press("+")
    settle(page)
    page.locator(".tile").nth(3).focus()
    page.keyboard.press("-")
    settle(page)
    page.locator(".tile").nth(1).hover()
    page.wait_for_timeout(500)


def look(page: Page) -> None:
    page.locator(".tile").nth(1).click()
    page.wait_for_selector("#details[open]")
    page.wait_for_timeout(500)


def collect(page: Page) -> None:
    for number in (0, 1, 2, 4, 5, 7, 8):
        page.locator(".tile").nth(number).focus()
        page.keyboard.press("b")
    page.click("#basket-open")
    page.wait_for_timeout(700)


def none_found(page: Page) -> None:
    page.wait_for_selector("#message:not([hidden])")


STATES: list[tuple[str, dict[str, object], str, Callable[[Page], None]]] = [
    ("search", DESKTOP, QUERY, start),
    ("search-start", DESKTOP, "/?seed=11", start),
    ("search-filters", DESKTOP, "/?q=a+boat+on+the+sea", open_filters),
    ("search-combine", DESKTOP, "/?q=a+yellow+fish", combine),
    ("search-details", DESKTOP, QUERY, look),
    ("search-basket", DESKTOP, "/?q=a+blue+heart", collect),
    ("search-dark", DESKTOP | {"color_scheme": "dark"}, "/?q=un+champignon+rouge", start),
    ("search-phone", PHONE, QUERY, start),
    ("search-phone-details", PHONE, QUERY, look),
    ("search-empty", DESKTOP, "/?q=a+boat&size=2048&watermark=0.05", none_found),
]


def picture(browser: Browser, site: str, state: tuple[object, ...], folder: Path) -> Path:
    name, settings, address, act = state
    context = browser.new_context(base_url=site, **settings)  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(str(address))
    if act is not none_found:
        settle(page)
    act(page)  # type: ignore[operator]
    path = folder / f"{name}.jpg"
    page.screenshot(path=path, type="jpeg", quality=82)
    context.close()
    return path


def main(results: Path, folder: Path) -> None:
    service = Service(
        open_collections([results / "index"]),
        SearchConfig(rate_limit=0),
        load=lambda model: load(model, device="cpu"),
        images=Thumbnails(sorted((results / "filter").iterdir())),
    )
    browser_path = next(found for name in NAMES if (found := shutil.which(name)))
    with socket.create_server(("127.0.0.1", 0)) as listener, sync_playwright() as playwright:
        server = uvicorn.Server(uvicorn.Config(create_app(service), log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started or "loading" in [
            service.embedder(entry).state for entry in service.collections.values()
        ]:
            time.sleep(0.05)
        site = f"http://127.0.0.1:{listener.getsockname()[1]}"
        browser = playwright.chromium.launch(executable_path=browser_path, args=ARGUMENTS)
        try:
            for state in STATES:
                print(picture(browser, site, state, folder))
        finally:
            browser.close()
            server.should_exit = True
            thread.join()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
