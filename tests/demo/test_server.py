"""The demo's servers, over real sockets on loopback: each does to our client what it should."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import trio

from laion_hpc.demo import faults, server, table
from laion_hpc.demo.sites import DEAD_HOST, HOSTS, PRODUCT
from laion_hpc.demo.web import Asset, plan
from laion_hpc.web.client import open_client
from laion_hpc.web.settings import Settings, guard_for
from tests import patience
from tests.demo.conftest import Built
from tests.demo_runs import free_port

LATER = {"not_an_image", "too_small", "too_many_pixels", "undecodable", "aspect_ratio"}
"""Reasons that need a look at the body: for the client these are good answers."""


@contextmanager
def serving(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """The server as a child, ready."""
    child = subprocess.Popen(
        [sys.executable, "-m", "laion_hpc", "demo", "serve", "--folder", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert child.stdout is not None
        line = child.stdout.readline()
        assert line.startswith("serving"), line
        yield child
    finally:
        child.terminate()
        patience.output(child)


@pytest.fixture(scope="module")
def served(built: Built) -> Iterator[Built]:
    with serving(built.folder):
        yield built


@pytest.fixture(scope="module")
def assets(built: Built) -> tuple[Asset, ...]:
    parameters = built.parameters
    return plan(parameters.pages, parameters.seed, parameters.port).assets


def fetch_all(urls: list[str]) -> dict[str, tuple[str, bytes]]:
    """Reason and body of each URL, as our own client gets them."""
    agent = f"{PRODUCT}/0.1"
    settings = Settings(
        agent,
        guard=guard_for(agent, ("127.0.0.0/8",), ""),
        deadline_seconds=3.0,
        max_bytes=faults.LARGE_BYTES - 1,
    )
    answers: dict[str, tuple[str, bytes]] = {}

    async def main() -> None:
        async with open_client(settings) as client, trio.open_nursery() as nursery:

            async def one(url: str) -> None:
                async with client.get(url) as answer:
                    answers[url] = (answer.reason, bytes(answer.body))

            for url in urls:
                nursery.start_soon(one, url)

    trio.run(main)
    return answers


def test_every_image_meets_its_fate_and_the_same_one_again(
    served: Built, assets: tuple[Asset, ...]
) -> None:
    assert {asset.behaviour.name for asset in assets} == {b.name for b in faults.BEHAVIOURS}
    expected = {
        asset.url: "" if asset.behaviour.reason in LATER else asset.behaviour.reason
        for asset in assets
    }
    for _ in range(2):
        answers = fetch_all(list(expected))
        assert {url: reason for url, (reason, _) in answers.items()} == expected
        for asset in assets:
            if asset.picture is not None and not expected[asset.url]:
                body = (served.folder / asset.picture.file).read_bytes()
                assert answers[asset.url][1] == body, asset.behaviour.name


def test_pages_are_those_of_the_crawl(served: Built) -> None:
    place, (_, offset) = next(iter(table.read_table(served.folder / table.TABLE).pages.items()))
    host, path = place.split(" ")
    assert offset > 0
    with httpx.Client(trust_env=False) as client:
        page = client.get(f"http://{host}:{served.parameters.port}{path}")
        front = client.get(f"http://{host}:{served.parameters.port}/")
    assert page.status_code == front.status_code == 200
    assert "<img " in page.text
    assert path.replace("&", "&amp;") in front.text


def test_what_is_not_there_is_not_found(served: Built) -> None:
    port = served.parameters.port
    with httpx.Client(trust_env=False) as client:
        assert client.get(f"http://{HOSTS[0]}:{port}/no/such/image.jpg").status_code == 404
        statuses = Counter(
            client.get(f"http://{host}:{port}/robots.txt").status_code for host in HOSTS
        )
    assert statuses == {200: 8, 404: 32}


def test_the_dead_host_refuses(served: Built) -> None:
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((DEAD_HOST, served.parameters.port), timeout=60)


def test_rubbish_does_not_end_it(served: Built) -> None:
    address = (HOSTS[0], served.parameters.port)
    for rubbish in (b"", b"\r\n\r\n", b"GET\r\n\r\n", b"\xff" * 70_000, b"POST / HTTP/1.1\r\n\r\n"):
        with socket.create_connection(address, timeout=60) as connection:
            connection.sendall(rubbish)
    with httpx.Client(trust_env=False) as client:
        assert client.get(f"http://{HOSTS[0]}:{served.parameters.port}/").status_code == 200


def test_a_port_in_use_is_told(served: Built) -> None:
    command = [sys.executable, "-m", "laion_hpc", "demo", "serve", "--folder", str(served.folder)]
    second = patience.run(command)
    assert second.returncode == 1
    assert f"{HOSTS[0]}:{served.parameters.port} is in use" in second.stderr
    assert "Traceback" not in second.stderr


def test_another_port_than_it_was_built_for_is_refused(built: Built) -> None:
    command = [sys.executable, "-m", "laion_hpc", "demo", "serve", "--folder", str(built.folder)]
    done = patience.run([*command, "--port", "9"])
    assert done.returncode == 2
    assert "build them again" in done.stderr


def test_without_a_build_it_says_how_to_make_one(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "laion_hpc", "demo", "serve", "--folder", str(tmp_path)]
    done = patience.run(command)
    assert done.returncode == 1
    assert "laion-hpc demo build" in done.stderr


def test_every_behaviour_has_its_method() -> None:
    for behaviour in faults.BEHAVIOURS:
        if behaviour.name not in ("refused", "private", "redirect_chain"):
            assert callable(getattr(server.Server, f"_{behaviour.name}", None)), behaviour.name


def test_it_ends_quietly_when_told(tmp_path: Path, built: Built) -> None:
    other = table.read_table(built.folder / table.TABLE)
    table.write_table(table.Table(free_port(), other.entries, {}, {}), tmp_path / table.TABLE)
    (tmp_path / "demo.json").write_text((built.folder / "demo.json").read_text())
    with serving(tmp_path) as child:
        silent = next(p for p, entry in other.entries.items() if entry.behaviour == "silent")
        host, path = silent.split(" ")
        port = table.read_table(tmp_path / table.TABLE).port
        with socket.create_connection((host, port), timeout=60) as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\n\r\n".encode())
            child.terminate()
            _, errors = patience.output(child)
    assert (child.returncode, errors) == (0, "")
