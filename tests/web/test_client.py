"""The client against servers that misbehave, on real sockets of loopback."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
import trio

from laion_hpc.web import client, connect, politeness, retry
from laion_hpc.web.answer import Answer
from laion_hpc.web.client import Settings, fetch_blocking, open_client
from laion_hpc.web.guard import Guard, networks
from tests.web.hostile import PAYLOAD, Server, response, serve

SETTINGS = Settings(
    "laion-hpc/test (+https://example.org)",
    guard=Guard(networks(["127.0.0.0/8", "::1/128"])),
    deadline_seconds=2.0,
    retries=2,
    max_bytes=1_000_000,
    connections_per_host=100,
)


def get_all(urls: list[str], settings: Settings = SETTINGS) -> dict[str, Answer]:
    answers = {}

    async def main() -> None:
        async with open_client(settings) as client, trio.open_nursery() as nursery:

            async def one(url: str) -> None:
                async with client.get(url) as answer:
                    answers[url] = replace(answer, body=bytes(answer.body))

            for url in urls:
                nursery.start_soon(one, url)

    trio.run(main)
    return answers


EXPECTED = {
    "/good": "",
    "/private/but-this": "",
    "/chunked": "",
    "/until-closed": "",
    "/gzip": "",
    "/deflate": "",
    "/brotli": "",
    "/bare-deflate": "",
    "/odd-encoding": "",
    "/heals": "",
    "/third": "",
    "/redirect": "",
    "/redirect-303-relative": "",
    "/empty": "",
    "/declared-short": "",
    "/noindex-for-other": "",
    "/private/x": "robots_txt",
    "/slow-header": "timeout",
    "/slow-body": "timeout",
    "/silent": "timeout",
    "/endless-body": "too_large",
    "/endless-chunks": "too_large",
    "/huge-declared": "too_large",
    "/gzip-bomb": "too_large",
    "/gzip-twice": "bad_encoding",
    "/brotli-bomb": "too_large",
    "/cut-brotli": "bad_encoding",
    "/bad-brotli": "bad_encoding",
    "/bad-gzip": "bad_encoding",
    "/cut-gzip": "bad_encoding",
    "/declared-long": "truncated",
    "/cut-chunks": "truncated",
    "/bad-chunks": "protocol",
    "/loop": "too_many_redirects",
    "/to-private": "forbidden_address",
    "/to-metadata": "forbidden_address",
    "/to-decimal": "forbidden_address",
    "/to-hexadecimal": "forbidden_address",
    "/to-mapped": "forbidden_address",
    "/to-nat64": "forbidden_address",
    "/to-file": "bad_redirect",
    "/to-nothing": "bad_redirect",
    "/to-mail-port": "bad_url",
    "/no-location": "http_302",
    "/not-http": "protocol",
    "/garbage-status": "protocol",
    "/two-lengths": "protocol",
    "/big-header": "protocol",
    "/reset": "reset",
    "/closes": "reset",
    "/half-a-header": "protocol",
    "/404": "http_404",
    "/500": "http_500",
    "/204": "http_204",
    "/noai": "opted_out",
    "/noindex-for-us": "opted_out",
    "/tdm": "opted_out",
}
HEALING = {"/500", "/reset", "/closes", "/declared-long", "/cut-chunks"}


@pytest.fixture(scope="module")
def answers() -> Iterator[tuple[dict[str, Answer], Server, list[str]]]:
    """All misbehaviours at once: each must end by its deadline, whatever the others do."""
    with pytest.MonkeyPatch.context() as monkeypatch, serve() as server:
        addresses: list[str] = []
        real = connect._connect

        async def watched(address: str, port: int) -> trio.SocketStream:
            addresses.append(address)
            assert address == "127.0.0.1", address
            return await real(address, port)

        monkeypatch.setattr(connect, "_connect", watched)
        # Two pauses must fit into the deadline, by a margin that a busy machine does not use up.
        monkeypatch.setattr(retry, "FIRST_PAUSE", 0.05)
        found = get_all([server.url + path for path in EXPECTED])
    yield {url.removeprefix(server.url): a for url, a in found.items()}, server, addresses


def test_each_misbehaviour_has_its_reason(
    answers: tuple[dict[str, Answer], Server, list[str]],
) -> None:
    found, server, addresses = answers
    assert {path: answer.reason for path, answer in found.items()} == EXPECTED
    assert set(addresses) == {"127.0.0.1"}
    assert server.seen["/robots.txt"] == 1
    assert server.seen["/private/x"] == 0


def test_only_what_can_heal_is_tried_again(
    answers: tuple[dict[str, Answer], Server, list[str]],
) -> None:
    found, server, _ = answers
    for path, answer in found.items():
        if path in HEALING:
            assert answer.attempts == server.seen[path] == 3, path
        elif path not in ("/heals", "/third", "/loop", "/good"):
            assert answer.attempts == 1, path
            assert server.seen[path] <= 1, path
    assert found["/heals"].attempts == 2
    assert found["/third"].attempts == 3
    assert server.seen["/loop"] == SETTINGS.max_redirects + 1


def test_bodies_addresses_and_types(
    answers: tuple[dict[str, Answer], Server, list[str]],
) -> None:
    found, server, _ = answers
    for path in (
        "/good",
        "/gzip",
        "/deflate",
        "/brotli",
        "/bare-deflate",
        "/odd-encoding",
        "/until-closed",
    ):
        assert found[path].body == PAYLOAD, path
    assert found["/chunked"].body == b"abcdefg"
    assert found["/declared-short"].body == PAYLOAD[:1_000]
    assert found["/redirect"].url == f"{server.url}/good"
    assert found["/redirect"].content_type == "image/jpeg"
    assert (found["/noai"].opt_out, found["/tdm"].opt_out) == ("noai", "tdm-reservation")
    assert found["/endless-body"].received == SETTINGS.max_bytes
    # What a timeout or a reset had seen before it depends on the moment: nothing is told.
    for path in ("/slow-body", "/slow-header", "/reset"):
        answer = found[path]
        assert (answer.status, answer.url, answer.received) == (0, "", 0)


def test_the_request_is_honest(answers: tuple[dict[str, Answer], Server, list[str]]) -> None:
    _, server, _ = answers
    head = next(h for h in server.heads if h.startswith("GET /good "))
    assert f"User-Agent: {SETTINGS.user_agent}\r\n" in head
    assert "Accept-Encoding: identity\r\n" in head
    assert f"Host: 127.0.0.1:{server.port}\r\n" in head


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://10.0.0.1/x.jpg", "forbidden_address"),
        ("http://169.254.169.254/latest/meta-data/", "forbidden_address"),
        ("http://2852039166/", "forbidden_address"),
        ("http://0x0a.1/", "forbidden_address"),
        ("http://[fe80::1%25lo]/", "bad_url"),
        ("http://no-such-name.invalid/", "dns"),
        ("http://" + "a" * 70 + ".invalid/", "bad_url"),
        ("http://127.0.0.1:22/", "bad_url"),
        ("http://127.0.0.1:99999/", "bad_url"),
        ("http://", "bad_url"),
        ("", "bad_url"),
        ("file:///etc/passwd", "bad_url"),
        ("data:image/png;base64,xxxx", "bad_url"),
        ("javascript:alert(1)", "bad_url"),
        ("http://exa mple/", "bad_url"),
        ("http://a..b/", "bad_url"),
        ("//host/x", "bad_url"),
        ("http://\ud800/", "bad_url"),
    ],
)
def test_urls_that_lead_nowhere(url: str, reason: str, contacted: list[str]) -> None:
    answer = fetch_blocking(url, replace(SETTINGS, respect_robots_txt=False))
    assert answer.reason == reason
    assert contacted == []


def test_a_name_that_resolves_to_a_forbidden_address(
    monkeypatch: pytest.MonkeyPatch, contacted: list[str]
) -> None:
    """DNS rebinding: the address that is connected to is the one that was checked."""
    turns = iter([("10.0.0.1", "169.254.169.254"), ("127.0.0.1",)])
    monkeypatch.setattr(connect, "_getaddrinfo", lambda _host: next(turns))
    answer = fetch_blocking("http://evil.test:1234/", SETTINGS)
    assert answer.reason == "forbidden_address"
    assert contacted == []


def test_of_several_addresses_only_allowed_ones_are_used(
    monkeypatch: pytest.MonkeyPatch, contacted: list[str]
) -> None:
    monkeypatch.setattr(connect, "_getaddrinfo", lambda _host: ("10.0.0.1", "127.0.0.1"))
    with serve() as server:
        answer = fetch_blocking(f"http://mixed.test:{server.port}/good", SETTINGS)
    assert answer.reason == "" and set(contacted) == {"127.0.0.1"}


def test_a_name_is_looked_up_once(monkeypatch: pytest.MonkeyPatch, contacted: list[str]) -> None:
    asked = []

    def look_up(host: str) -> tuple[str, ...]:
        asked.append(host)
        return ("127.0.0.1",)

    monkeypatch.setattr(connect, "_getaddrinfo", look_up)
    with serve() as server:
        urls = [f"http://many.test:{server.port}/good?{n}" for n in range(20)]
        server.pages["*"] = response(PAYLOAD)
        found = get_all(urls)
    assert all(not answer.reason for answer in found.values())
    assert asked == ["many.test"]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def test_a_closed_port_is_refused(contacted: list[str]) -> None:
    answer = fetch_blocking(f"http://127.0.0.1:{free_port()}/x", SETTINGS)
    assert (answer.reason, answer.attempts) == ("refused", 1)


def test_retry_after_is_respected(contacted: list[str]) -> None:
    resting = response(b"", "Retry-After: 3600", status="503 Service Unavailable")
    pages = {"/a": resting, "/b": response(PAYLOAD)}
    with Server(dict(pages), address="127.0.0.3") as server:
        settings = replace(SETTINGS, connections_per_host=1)
        found = get_all([f"{server.url}/a", f"{server.url}/b"], settings)
        # An hour is beyond any deadline: neither is the same asked again, nor another one.
        assert {answer.reason for answer in found.values()} <= {"http_503", ""}
        assert found[f"{server.url}/a"].reason == "http_503"
        assert server.seen["/a"] == 1


def test_per_host_limit(contacted: list[str]) -> None:
    with serve() as server:
        server.pages["*"] = response(PAYLOAD)
        settings = replace(SETTINGS, connections_per_host=3, respect_robots_txt=False)
        found = get_all([f"{server.url}/n{n}" for n in range(40)], settings)
        assert all(not answer.reason for answer in found.values())
        assert server.most_open <= 3


def test_waiting_for_ones_turn_is_not_the_servers_fault(contacted: list[str]) -> None:
    """Six requests of 0.2 s, one at a time, take longer than the deadline of each."""

    def slow(server: Server, connection: socket.socket) -> None:
        threading.Event().wait(0.2)
        connection.sendall(response(PAYLOAD))

    with Server({"*": slow, "/robots.txt": response(b"")}) as server:
        settings = replace(SETTINGS, connections_per_host=1, deadline_seconds=0.8)
        found = get_all([f"{server.url}/n{n}" for n in range(6)], settings)
    assert all(not answer.reason for answer in found.values())


def test_a_host_that_drips_costs_a_few_deadlines_only(contacted: list[str]) -> None:
    with serve() as server:
        server.pages["*"] = server.pages["/slow-body"]
        settings = replace(SETTINGS, deadline_seconds=0.3, connections_per_host=2)
        found = get_all([f"{server.url}/{n}" for n in range(30)], settings)
        assert {answer.reason for answer in found.values()} == {"timeout"}
        asked = server.seen.total() - server.seen["/robots.txt"]
    assert politeness.STALLS <= asked <= politeness.STALLS + settings.connections_per_host


def test_a_body_that_hardly_grows_is_given_up_early(
    contacted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "PACE_SECONDS", 0.5)

    def steady(server: Server, connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\n")
        for _ in range(20):
            threading.Event().wait(0.05)
            connection.sendall(bytes(1_000))

    with serve() as server:
        server.pages["/steady"] = steady
        settings = replace(SETTINGS, deadline_seconds=60)
        found = get_all([f"{server.url}/slow-body", f"{server.url}/steady"], settings)
    assert found[f"{server.url}/slow-body"].reason == "timeout"
    assert found[f"{server.url}/slow-body"].attempts == 1
    assert len(found[f"{server.url}/steady"].body) == 20_000


def test_large_bodies_take_turns(contacted: list[str]) -> None:
    body = bytes(3_000_000)
    with Server({"*": response(body), "/robots.txt": response(b"")}) as server:
        settings = replace(SETTINGS, max_bytes=5_000_000, large_bodies=2, deadline_seconds=10)
        held = most = 0

        async def main() -> None:
            async with open_client(settings) as client, trio.open_nursery() as nursery:

                async def one(number: int) -> None:
                    nonlocal held, most
                    async with client.get(f"{server.url}/{number}") as answer:
                        held += 1
                        most = max(most, held)
                        assert len(answer.body) == len(body)
                        await trio.sleep(0.02)
                        held -= 1

                for number in range(8):
                    nursery.start_soon(one, number)

        trio.run(main)
    assert most == 2
