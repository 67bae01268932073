"""The client heeds what sites ask for: robots.txt, its Crawl-delay, opt-outs."""

from __future__ import annotations

import itertools
import socket
import time
from dataclasses import replace

import pytest

from laion_hpc.web.client import fetch_blocking
from tests.web.hostile import PAYLOAD, Server, bomb, response, serve
from tests.web.test_client import SETTINGS, get_all


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        (response(b"", status="404 Not Found"), ""),
        (response(b"", status="403 Forbidden"), ""),
        (response(b"", status="500 Oh"), "robots_txt"),
        (response(b"", status="429 Slow"), "robots_txt"),
        (response(b"User-agent: *\nDisallow: /"), "robots_txt"),
        (response(b"User-agent: laion-hpc\nDisallow: /go"), "robots_txt"),
        (response(b"<html>" + b"Disallow: /\n" * 100), ""),
        (response(b"", "Location: /robots.txt", status="301 x"), ""),
        (response(bomb(), "Content-Encoding: gzip"), ""),
        (b"nonsense\r\n\r\n", "protocol"),
    ],
)
def test_what_robots_txt_comes_to(page: bytes, reason: str) -> None:
    with Server({"/robots.txt": page, "/good": response(PAYLOAD)}) as server:
        settings = replace(SETTINGS, retries=0)
        answer = fetch_blocking(f"{server.url}/good", settings)
        assert answer.reason == reason
        assert server.seen["/good"] == (0 if reason else 1)
        unasked = replace(settings, respect_robots_txt=False)
        assert fetch_blocking(f"{server.url}/good", unasked).reason == ""


def test_a_redirect_is_subject_to_its_targets_robots() -> None:
    closed = {"/robots.txt": response(b"User-agent: *\nDisallow: /"), "/x": response(PAYLOAD)}
    with Server(dict(closed), address="127.0.0.2") as target:
        moved = response(b"", f"Location: {target.url}/x", status="301 Moved")
        with Server({"/x": moved}) as server:
            assert fetch_blocking(f"{server.url}/x", SETTINGS).reason == "robots_txt"
        assert target.seen["/x"] == 0


def test_opt_outs_can_be_ignored_on_purpose() -> None:
    with serve() as server:
        answer = fetch_blocking(f"{server.url}/noai", replace(SETTINGS, respect_opt_out=False))
    assert answer.reason == "" and answer.body == PAYLOAD


def test_crawl_delay_holds() -> None:
    starts: list[float] = []

    def page(server: Server, connection: socket.socket) -> None:
        starts.append(time.monotonic())
        connection.sendall(response(PAYLOAD))

    rules = response(b"User-agent: *\nCrawl-delay: 0.2")
    with Server({"*": page, "/robots.txt": rules}) as server:
        found = get_all([f"{server.url}/{n}" for n in range(4)])
    assert all(not answer.reason for answer in found.values())
    gaps = [after - before for before, after in itertools.pairwise(sorted(starts))]
    # The server sees each a moment after its start: sooner than it should by less than that.
    assert len(gaps) == 3 and sum(gaps) > 0.4
