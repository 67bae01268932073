"""Connections that are kept: for whom, for how long, and after which answers not."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import trio

from laion_hpc.web import connection
from laion_hpc.web.answer import Answer
from laion_hpc.web.client import open_client
from tests.web.hostile import PAYLOAD, response
from tests.web.test_client import SETTINGS

SMUGGLED = response(b"not what was asked for")
Talk = Callable[[socket.socket, int, str], bytes | None]
"""Connection, number of the request on it and path to the answer; None hangs up."""


class Keeper:
    """A server that keeps its connections open; `served` is the paths by connection."""

    def __init__(self, talk: Talk) -> None:
        self._talk = talk
        self.served: list[list[str]] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                accepted, _ = self._listener.accept()
                paths: list[str] = []
                self.served.append(paths)
                threading.Thread(target=self._serve, args=(accepted, paths), daemon=True).start()

    def _serve(self, accepted: socket.socket, paths: list[str]) -> None:
        with accepted, contextlib.suppress(OSError):
            while head := accepted.recv(65_536):
                path = head.split(b" ", 2)[1].decode()
                paths.append(path)
                answer = self._talk(accepted, len(paths), path)
                if answer is None:
                    return
                accepted.sendall(answer)


@contextmanager
def keep(talk: Talk) -> Iterator[Keeper]:
    keeper = Keeper(talk)
    try:
        yield keeper
    finally:
        keeper.close()


def ask(keeper: Keeper, paths: list[str], pause: float = 0.0) -> list[Answer]:
    """One request after the other, robots.txt before the first."""
    answers = []

    async def main() -> None:
        async with open_client(replace(SETTINGS, retries=0)) as client:
            for path in paths:
                async with client.get(keeper.url + path) as answer:
                    answers.append(replace(answer, body=bytes(answer.body)))
                await trio.sleep(pause)

    trio.run(main)
    return answers


def plain(_connection: socket.socket, _number: int, path: str) -> bytes:
    if path == "/robots.txt":
        return response(b"no such page", status="404 Not Found")
    return response(PAYLOAD + path.encode())


def test_a_host_costs_one_connection() -> None:
    with keep(plain) as keeper:
        answers = ask(keeper, ["/a", "/b", "/c"])
    assert [answer.body for answer in answers] == [PAYLOAD + p for p in (b"/a", b"/b", b"/c")]
    assert keeper.served == [["/robots.txt", "/a", "/b", "/c"]]


def test_not_for_longer_than_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "IDLE_SECONDS", 0.05)
    with keep(plain) as keeper:
        ask(keeper, ["/a", "/b"], pause=0.1)
    assert keeper.served == [["/robots.txt", "/a"], ["/b"]]


def test_not_more_than_a_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "IDLE_CONNECTIONS", 0)
    with keep(plain) as keeper:
        assert all(not answer.reason for answer in ask(keeper, ["/a", "/b"]))
    assert keeper.served == [["/robots.txt"], ["/a"], ["/b"]]


def test_a_server_that_hangs_up_between_two_requests() -> None:
    def talk(accepted: socket.socket, number: int, path: str) -> bytes | None:
        if number == 2:
            return None
        return plain(accepted, number, path)

    with keep(talk) as keeper:
        answers = ask(keeper, ["/a", "/b"])
    # No fault of the image's: it is asked for once more, at once.
    assert [(answer.reason, answer.attempts) for answer in answers] == [("", 1), ("", 1)]
    assert keeper.served == [["/robots.txt", "/a"], ["/a", "/b"], ["/b"]]


@pytest.mark.parametrize("late", [False, True])
def test_an_answer_that_nobody_asked_for_is_not_believed(late: bool) -> None:
    def talk(accepted: socket.socket, number: int, path: str) -> bytes:
        answer = plain(accepted, number, path)
        if path == "/a":
            accepted.sendall(answer + (b"" if late else SMUGGLED))
            if late:
                time.sleep(0.05)
                return SMUGGLED
            return b""
        return answer

    with keep(talk) as keeper:
        answers = ask(keeper, ["/a", "/b"], pause=0.2)
    assert [answer.body for answer in answers] == [PAYLOAD + b"/a", PAYLOAD + b"/b"]
    assert keeper.served == [["/robots.txt", "/a"], ["/b"]]


@pytest.mark.parametrize(
    "page",
    [
        response(PAYLOAD, "Connection: close"),
        response(b"x" * 2_000_000),
        response(b"a", length=100, status="404 Not Found"),
        b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
    ],
)
def test_not_after_an_answer_that_was_not_read_to_its_end(page: bytes) -> None:
    def talk(accepted: socket.socket, number: int, path: str) -> bytes | None:
        if path == "/a":
            accepted.sendall(page)
            accepted.shutdown(socket.SHUT_WR)
            return b""
        return plain(accepted, number, path)

    with keep(talk) as keeper:
        answers = ask(keeper, ["/a", "/b"])
    assert answers[1].body == PAYLOAD + b"/b"
    assert keeper.served == [["/robots.txt", "/a"], ["/b"]]
