"""The client through proxies: those that forward and those that make tunnels."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace

from laion_hpc.web.client import fetch_blocking
from laion_hpc.web.guard import Guard
from tests.web.hostile import PAYLOAD, response
from tests.web.test_client import SETTINGS, get_all


@contextlib.contextmanager
def tunnel() -> Iterator[tuple[int, list[str]]]:
    """A proxy that serves http itself and leads every CONNECT to the port it names."""
    asked: list[str] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def handle(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                head += connection.recv(65_536)
            line = head.split(b"\r\n")[0].decode()
            asked.append(line)
            if not line.startswith("CONNECT"):
                missing = "robots.txt" in line
                page = response(b"" if missing else PAYLOAD)
                connection.sendall(page)
                return
            port = int(line.split()[1].rpartition(":")[2])
            if port == 443:
                connection.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")
                return
            with socket.create_connection(("127.0.0.1", port)) as target:
                connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                back = threading.Thread(target=pump, args=(target, connection), daemon=True)
                back.start()
                pump(connection, target)
                back.join()

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=handle, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield int(listener.getsockname()[1]), asked
    finally:
        listener.close()


def test_http_through_a_proxy() -> None:
    with tunnel() as (port, asked):
        settings = replace(SETTINGS, guard=Guard(), proxy=f"http://127.0.0.1:{port}")
        found = get_all(["http://images.test/a.jpg?b=1", "http://10.0.0.1/"], settings)
    answer = found["http://images.test/a.jpg?b=1"]
    assert (answer.reason, answer.url) == ("", "http://images.test/a.jpg?b=1")
    # Literal addresses are judged before the proxy is asked.
    assert found["http://10.0.0.1/"].reason == "forbidden_address"
    assert asked == [
        "GET http://images.test/robots.txt HTTP/1.1",
        "GET http://images.test/a.jpg?b=1 HTTP/1.1",
    ]


def test_a_proxy_that_refuses_a_tunnel() -> None:
    with tunnel() as (port, asked):
        settings = replace(SETTINGS, guard=Guard(), proxy=f"http://127.0.0.1:{port}")
        assert fetch_blocking("https://images.test/a.jpg", settings).reason == "unreachable"
    assert asked[0] == "CONNECT images.test:443 HTTP/1.1"
