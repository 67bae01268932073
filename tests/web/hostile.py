"""A server on loopback with the manners of the worst of the web; a path is a misbehaviour."""

from __future__ import annotations

import contextlib
import gzip
import socket
import ssl
import struct
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Self

import brotli

Handler = Callable[["Server", socket.socket], None]
PAYLOAD = bytes(range(256)) * 64
"""16 KiB: the body of every good answer that is no image."""


def response(
    body: bytes, *headers: str, status: str = "200 OK", length: int | None = None
) -> bytes:
    """An HTTP answer; `length` lies about the body."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}"]
    return ("\r\n".join([*lines, *headers]) + "\r\n\r\n").encode("latin-1") + body


class Server:
    """Answers each path of `pages` with bytes or by a function; counts the requests."""

    def __init__(
        self,
        pages: dict[str, bytes | Handler],
        *,
        address: str = "127.0.0.1",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.pages = pages
        self.seen: Counter[str] = Counter()
        self.heads: list[str] = []
        self.open_now = self.most_open = 0
        self._tls = tls
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._listener = socket.create_server((address, 0), backlog=512)
        self.port = int(self._listener.getsockname()[1])
        self.url = f"{'https' if tls else 'http'}://{address}:{self.port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stopping.set()
        # A blocked accept() does not notice that its socket was closed: knock.
        with contextlib.suppress(OSError), socket.create_connection(self._listener.getsockname()):
            pass
        self._listener.close()

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            if self._stopping.is_set():
                connection.close()
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with self._lock:
            self.open_now += 1
            self.most_open = max(self.most_open, self.open_now)
        try:
            with contextlib.suppress(OSError), connection:
                if self._tls is None:
                    self._answer(connection)
                else:
                    with self._tls.wrap_socket(connection, server_side=True) as secured:
                        self._answer(secured)
        finally:
            with self._lock:
                self.open_now -= 1

    def _answer(self, connection: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            part = connection.recv(65_536)
            # The second: somebody says hello in TLS.
            if not part or part.startswith(b"\x16"):
                return
            head += part
        path = head.split(b" ", 2)[1].decode("latin-1")
        with self._lock:
            self.seen[path] += 1
            self.heads.append(head.decode("latin-1"))
        page = self.pages.get(path, self.pages.get("*", response(b"", status="404 Not Found")))
        if callable(page):
            page(self, connection)
        else:
            connection.sendall(page)

    def drip(self, connection: socket.socket, data: bytes) -> None:
        """A byte now and then, as long as the server runs and the other side listens."""
        while not self._stopping.wait(0.05):
            connection.sendall(data)


def slow_header(server: Server, connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
    server.drip(connection, b"x")


def slow_body(server: Server, connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    server.drip(connection, b"x")


def silent(server: Server, connection: socket.socket) -> None:
    server.drip(connection, b"")


def endless_body(server: Server, connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        connection.sendall(bytes(65_536))


def endless_chunks(server: Server, connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        connection.sendall(b"10000\r\n" + bytes(65_536) + b"\r\n")


def big_header(server: Server, connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
    for _ in range(32):
        connection.sendall(b"x" * 65_536)


def reset_in_body(server: Server, connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + bytes(5_000))
    time.sleep(0.1)
    # Linger 0: closing sends RST instead of FIN.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def closes(server: Server, connection: socket.socket) -> None:
    connection.shutdown(socket.SHUT_RDWR)


def sometimes(path: str, every: int, page: bytes, otherwise: bytes) -> Handler:
    """Every so manieth request to `path` gets the page."""

    def answer(server: Server, connection: socket.socket) -> None:
        connection.sendall(page if server.seen[path] % every == 0 else otherwise)

    return answer


def _redirect(target: str) -> bytes:
    return response(b"", f"Location: {target}", status="302 Found")


def bomb(size: int = 20_000_000) -> bytes:
    """Gzipped zeros."""
    return gzip.compress(bytes(size), compresslevel=9, mtime=0)


def _bare_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


BROKEN = "500 Internal Server Error"


def pages() -> dict[str, bytes | Handler]:
    """Path to misbehaviour; the tests say what each must come to."""
    chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    gzipped = gzip.compress(PAYLOAD, mtime=0)
    return {
        "/robots.txt": response(
            b"User-agent: *\nDisallow: /private/\nAllow: /private/but-this\n"
            b"User-agent: otherbot\nDisallow: /\n"
        ),
        "/good": response(PAYLOAD, "Content-Type: image/jpeg"),
        "/private/x": response(PAYLOAD),
        "/private/but-this": response(PAYLOAD),
        "/chunked": f"{chunked}4\r\nabcd\r\n3\r\nefg\r\n0\r\n\r\n".encode(),
        "/until-closed": b"HTTP/1.0 200 OK\r\n\r\n" + PAYLOAD,
        "/gzip": response(gzipped, "Content-Encoding: gzip"),
        "/deflate": response(zlib.compress(PAYLOAD), "Content-Encoding: deflate"),
        "/bare-deflate": response(_bare_deflate(PAYLOAD), "Content-Encoding: deflate"),
        "/odd-encoding": response(PAYLOAD, "Content-Encoding: utf-8"),
        "/heals": sometimes("/heals", 2, response(PAYLOAD), response(b"", status=BROKEN)),
        "/third": sometimes("/third", 3, response(PAYLOAD), b""),
        "/redirect": _redirect("/good#fragment"),
        "/redirect-303-relative": response(b"", "Location: good", status="303 See Other"),
        "/empty": response(b""),
        "/declared-short": response(PAYLOAD, length=1_000),
        "/slow-header": slow_header,
        "/slow-body": slow_body,
        "/silent": silent,
        "/endless-body": endless_body,
        "/endless-chunks": endless_chunks,
        "/huge-declared": response(b"x", length=10**15),
        "/gzip-bomb": response(bomb(), "Content-Encoding: gzip"),
        "/gzip-twice": response(gzip.compress(bomb()), "Content-Encoding: gzip, gzip"),
        "/brotli": response(brotli.compress(PAYLOAD), "Content-Encoding: br"),
        "/brotli-bomb": response(brotli.compress(bytes(20_000_000)), "Content-Encoding: br"),
        "/cut-brotli": response(brotli.compress(PAYLOAD)[:100], "Content-Encoding: br"),
        "/bad-brotli": response(b"\x1b\xff\xff\x07", "Content-Encoding: br"),
        "/bad-gzip": response(PAYLOAD, "Content-Encoding: gzip"),
        "/cut-gzip": response(gzipped[:200], "Content-Encoding: gzip"),
        "/declared-long": response(PAYLOAD, length=len(PAYLOAD) + 1),
        "/cut-chunks": f"{chunked}ff\r\nabcd".encode(),
        "/bad-chunks": f"{chunked}zz\r\nabcd\r\n".encode(),
        "/loop": _redirect("/loop"),
        "/to-private": _redirect("http://10.0.0.1/x.jpg"),
        "/to-metadata": _redirect("http://169.254.169.254/latest/meta-data/"),
        "/to-decimal": _redirect("http://2852039166/latest/meta-data/"),
        "/to-hexadecimal": _redirect("http://0xA9.0xfe.43518/latest"),
        "/to-mapped": _redirect("http://[::ffff:10.0.0.1]/"),
        "/to-nat64": _redirect("http://[64:ff9b::a00:1]/"),
        "/to-file": _redirect("file:///etc/passwd"),
        "/to-nothing": _redirect("http://"),
        "/to-mail-port": _redirect("http://127.0.0.1:25/"),
        "/no-location": response(b"", status="302 Found"),
        "/not-http": b"SSH-2.0-OpenSSH_9.2p1\r\n",
        "/garbage-status": b"HTTP/1.1 abc OK\r\n\r\n",
        "/two-lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "/big-header": big_header,
        "/reset": reset_in_body,
        "/closes": closes,
        "/half-a-header": b"HTTP/1.1 200 OK\r\nContent-Le",
        "/404": response(b"gone", status="404 Not Found"),
        "/500": response(b"", status=BROKEN),
        "/204": b"HTTP/1.1 204 No Content\r\n\r\n",
        "/noai": response(PAYLOAD, "X-Robots-Tag: noai"),
        "/noindex-for-us": response(PAYLOAD, "X-Robots-Tag: laion-hpc: noindex"),
        "/noindex-for-other": response(PAYLOAD, "X-Robots-Tag: otherbot: noindex, noai"),
        "/tdm": response(PAYLOAD, "TDM-Reservation: 1"),
    }


@contextlib.contextmanager
def serve(address: str = "127.0.0.1") -> Iterator[Server]:
    """The hostile server, running."""
    with Server(pages(), address=address) as server:
        yield server
