"""A browser and a served index. Without a browser these tests are skipped, but not in CI."""

from __future__ import annotations

import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import uvicorn

from laion_hpc.stages.search.http.app import create_app
from tests.browser.steps import PAGE_SILENCE
from tests.stages.search.world import World, make_world

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    "--disable-component-update",
    "--disable-sync",
    # Pages of the test data lie on hosts that do not exist: nothing is to look for them.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]


# Not for the session: playwright's event loop runs in this thread until it is closed, and commands
# that start one of their own in a later test would fail.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = next((found for name in NAMES if (found := shutil.which(name))), None)
    if path is None:
        reason = "needs Chromium: `apt-get install chromium`"
        if os.environ.get("CI", "").lower() in ("1", "true"):
            pytest.fail(reason)
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"), size=96)


@pytest.fixture(scope="session")
def site(world: World) -> Iterator[str]:
    """The address of the page, served in a thread."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(create_app(world.service()), log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join()


class Visit:
    """A page and what it complained of."""

    def __init__(self, browser: Browser, site: str, **context: object) -> None:
        settings = {"viewport": {"width": 1280, "height": 860}} | context
        self.context = browser.new_context(base_url=site, **settings)  # type: ignore[arg-type]
        self.context.set_default_timeout(1_000 * PAGE_SILENCE)
        self.page: Page = self.context.new_page()
        self.complaints: list[str] = []
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on(
            "console",
            lambda entry: (
                self.complaints.append(entry.text) if entry.type in ("error", "warning") else None
            ),
        )

    def go(self, path: str = "/") -> Page:
        self.page.goto(path)
        self.page.wait_for_selector(".tile, #message:not([hidden])")
        return self.page

    def ids(self) -> list[str]:
        self.page.wait_for_selector("#grid:not([aria-busy])")
        found: list[str] = self.page.eval_on_selector_all(
            ".tile", "tiles => tiles.map(tile => tile.dataset.id)"
        )
        return found


@pytest.fixture
def visit(browser: Browser, site: str, request: pytest.FixtureRequest) -> Iterator[Visit]:
    """A fresh visit; parametrise indirectly with settings of the browser's context."""
    visit = Visit(browser, site, **getattr(request, "param", {}))
    yield visit
    visit.context.close()
    assert visit.complaints == []


@pytest.fixture
def picture(world: World, tmp_path: Path) -> Path:
    path = tmp_path / "mine.jpg"
    path.write_bytes(world.pictures[3][11])
    return path
