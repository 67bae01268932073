"""Serves the demo's web on its loopback addresses, with all that servers do to crawlers.

Nothing is remembered between requests but how often each healing URL was asked: every second
request fails, so that each run meets the failure and the cure.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gzip
import html
import signal
import socket
import struct
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from laion_hpc.demo.faults import LARGE_BYTES, SLOW_SECONDS
from laion_hpc.demo.sites import HOSTS
from laion_hpc.demo.table import Entry, Table
from laion_hpc.errors import LaionHpcError
from laion_hpc.runtime import console

_REQUEST_SECONDS = 20.0
_PAUSE_SECONDS = 0.4
"""Between two drips."""
_BACKLOG = 256
_IDLE_SECONDS = 10.0
"""Without a request, before a server without a parent ends."""


@dataclass
class Exchange:
    """A request, and where its answer goes."""

    host: str
    path: str
    entry: Entry
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def head(self, status: str, *headers: tuple[str, str]) -> bytes:
        """Status line and headers; the connection ends with the answer."""
        lines = [f"HTTP/1.1 {status}", "Server: demo", *(f"{n}: {v}" for n, v in headers)]
        return "\r\n".join([*lines, "Connection: close", "", ""]).encode()

    async def send(self, data: bytes) -> None:
        """Send bytes; returns once the peer has room for more."""
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, status: str, kind: str, body: bytes, *more: tuple[str, str]) -> None:
        """A whole answer."""
        headers = (("Content-Type", kind), ("Content-Length", str(len(body))), *more)
        await self.send(self.head(status, *headers) + body)


@dataclass
class Server:
    """The demo's web: a table and the folder with its files."""

    table: Table
    folder: Path
    asked: Counter[str] = field(default_factory=Counter)
    requests: int = 0
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def serve(self, ready: Callable[[], None], ended: Awaitable[None]) -> None:
        """Listen on all hosts, call `ready`, and go on until `ended` is done."""
        listeners = _listen(self.table.port)
        servers = [
            await asyncio.start_server(self._accept, sock=listener, backlog=_BACKLOG)
            for listener in listeners
        ]
        try:
            ready()
            await ended
        finally:
            for server in servers:
                server.close()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A task of our own: asyncio prints a traceback for each of its own that the end cancels.
        task = asyncio.create_task(self._connected(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_REQUEST_SECONDS):
                request = await reader.readuntil(b"\r\n\r\n")
                self.requests += 1
                await self._respond(request, reader, writer)
        except (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError):
            pass  # the client has left, or says nothing: its affair
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _respond(
        self, request: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        first = request.partition(b"\r\n")[0].decode("latin-1").split(" ")
        host = str(writer.get_extra_info("sockname")[0])
        path = first[1] if len(first) == 3 else "/"
        place = f"{host} {path}"
        entry = self.table.entries.get(place)
        exchange = Exchange(host, path, entry or Entry("not_found"), reader, writer)
        if entry is not None:
            await getattr(self, f"_{entry.behaviour}")(exchange)
        elif path == "/robots.txt" and host in self.table.robots:
            await exchange.answer("200 OK", "text/plain", self.table.robots[host].encode())
        elif place in self.table.pages:
            await exchange.answer("200 OK", "text/html; charset=UTF-8", self._page(place))
        elif path == "/":
            await exchange.answer("200 OK", "text/html; charset=UTF-8", self._front(host))
        else:
            await self._not_found(exchange)

    def _body(self, exchange: Exchange) -> bytes:
        return (self.folder / exchange.entry.file).read_bytes()

    def _page(self, place: str) -> bytes:
        from warcio.archiveiterator import ArchiveIterator

        warc, offset = self.table.pages[place]
        with (self.folder / warc).open("rb") as stream:
            stream.seek(offset)
            return bytes(next(iter(ArchiveIterator(stream))).content_stream().read())

    def _front(self, host: str) -> bytes:
        paths = [place.partition(" ")[2] for place in self.table.pages if _host(place) == host]
        links = "".join(f'<li><a href="{html.escape(p)}">{html.escape(p)}</a>' for p in paths)
        others = "".join(f'<a href="http://{h}:{self.table.port}/">{h}</a> ' for h in HOSTS)
        return f"<!DOCTYPE html><title>{host}</title><ul>{links}</ul><p>{others}</p>".encode()

    # What follows is one method for each behaviour that faults.BEHAVIOURS lists.

    async def _plain(self, e: Exchange) -> None:
        await e.answer("200 OK", e.entry.content_type, self._body(e))

    # The file itself is what is odd about these.
    _robots_txt = _html = _bomb = _banner = _broken = _too_small = _plain

    async def _slow(self, e: Exchange) -> None:
        await asyncio.sleep(SLOW_SECONDS)
        await self._plain(e)

    async def _heals(self, e: Exchange) -> None:
        place = f"{e.host} {e.path}"
        self.asked[place] += 1
        if self.asked[place] % 2:
            await e.answer("500 Internal Server Error", "text/plain", b"try again\n")
        else:
            await self._plain(e)

    async def _as_text(self, e: Exchange) -> None:
        await e.answer("200 OK", "text/plain", self._body(e))

    async def _untyped(self, e: Exchange) -> None:
        body = self._body(e)
        await e.send(e.head("200 OK", ("Content-Length", str(len(body)))) + body)

    async def _chunked(self, e: Exchange) -> None:
        body = self._body(e)
        headers = (("Content-Type", e.entry.content_type), ("Transfer-Encoding", "chunked"))
        chunks = [body[start : start + 4_000] for start in range(0, len(body), 4_000)]
        data = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
        await e.send(e.head("200 OK", *headers) + data + b"0\r\n\r\n")

    async def _gzipped(self, e: Exchange) -> None:
        body = gzip.compress(self._body(e), mtime=0)
        await e.answer("200 OK", e.entry.content_type, body, ("Content-Encoding", "gzip"))

    async def _other_agent(self, e: Exchange) -> None:
        tag = ("X-Robots-Tag", e.entry.value)
        await e.answer("200 OK", e.entry.content_type, self._body(e), tag)

    _opted_out = _other_agent

    async def _redirect(self, e: Exchange) -> None:
        await e.answer("302 Found", "text/html", b"moved\n", ("Location", e.entry.value))

    _loop = _redirect_private = _redirect_scheme = _redirect

    async def _not_found(self, e: Exchange) -> None:
        await e.answer("404 Not Found", "text/html", b"<h1>Not found</h1>\n")

    async def _gone(self, e: Exchange) -> None:
        await e.answer("410 Gone", "text/plain", b"gone\n")

    async def _forbidden(self, e: Exchange) -> None:
        await e.answer("403 Forbidden", "text/plain", b"no\n")

    async def _unavailable(self, e: Exchange) -> None:
        await e.answer("503 Service Unavailable", "text/plain", b"later\n")

    async def _dripping(self, e: Exchange) -> None:
        body = self._body(e)
        await e.send(e.head("200 OK", ("Content-Length", str(len(body)))))
        for value in body:
            await e.send(bytes([value]))
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _silent(self, e: Exchange) -> None:
        await e.reader.read()  # until the client leaves

    async def _reset(self, e: Exchange) -> None:
        connection = e.writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        e.writer.transport.abort()

    async def _garbage(self, e: Exchange) -> None:
        await e.send(b"HELO THIS IS NOT THE WEB\r\n\r\n\x00\xff\xfe garbage\r\n")

    async def _truncated(self, e: Exchange) -> None:
        body = self._body(e)
        head = e.head("200 OK", ("Content-Length", str(len(body))))
        await e.send(head + body[: len(body) // 2])

    async def _brotli(self, e: Exchange) -> None:
        encoding = ("Content-Encoding", "br")
        await e.answer("200 OK", e.entry.content_type, self._body(e), encoding)

    async def _declared_too_large(self, e: Exchange) -> None:
        await e.send(e.head("200 OK", ("Content-Length", str(LARGE_BYTES))) + self._body(e))
        await e.reader.read()  # the rest need not be sent to who declines

    async def _too_large(self, e: Exchange) -> None:
        await e.send(e.head("200 OK", ("Content-Type", "image/jpeg")) + self._body(e))
        for _ in range(LARGE_BYTES // 65_536):
            await e.send(bytes(65_536))

    async def _empty(self, e: Exchange) -> None:
        await e.answer("200 OK", "image/jpeg", b"")


def _host(place: str) -> str:
    return place.partition(" ")[0]


def _listen(port: int) -> list[socket.socket]:
    """A listening socket per host; LaionHpcError says what is in the way."""
    listeners: list[socket.socket] = []
    try:
        for host in HOSTS:
            listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            listeners.append(listener)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
            listener.listen(_BACKLOG)
    except OSError as error:
        for listener in listeners:
            listener.close()
        if error.errno == errno.EADDRINUSE:
            raise LaionHpcError(
                f"{host}:{port} is in use, perhaps by another demo: end that one, or build this "
                "demo for another port (--port)"
            ) from None
        if error.errno == errno.EADDRNOTAVAIL:
            raise LaionHpcError(
                f"{host} is not an address of this machine: the demo needs all of 127.0.0.0/8, "
                "which Linux has; on macOS add them with `ifconfig lo0 alias`"
            ) from None
        raise
    return listeners


def run(table: Table, folder: Path, *, with_parent: bool) -> int:
    """Serve until SIGTERM or Ctrl-C; `with_parent`, until standard input ends and nobody asks.

    Prints one line when ready. Returns the number of requests.
    """
    server = Server(table, folder)

    def ready() -> None:
        console.out(
            f"serving {len(table.entries)} images and {len(table.pages)} pages on "
            f"http://{HOSTS[0]}:{table.port}/ … http://{HOSTS[-1]}:{table.port}/"
        )

    async def main() -> None:
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()

        def end() -> None:
            if not ended.done():
                ended.set_result(None)

        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, end)
        if with_parent:
            # Whoever started us holds the other end: however it dies, we end too. But not while
            # an orphaned download asks: it would write down that all servers refused.
            loop.add_reader(sys.stdin.fileno(), lambda: watch(loop, end))
        await server.serve(ready, ended)

    def watch(loop: asyncio.AbstractEventLoop, end: Callable[[], None]) -> None:
        loop.remove_reader(sys.stdin.fileno())
        before = server.requests

        def look() -> None:
            nonlocal before
            if server.requests == before:
                end()
            else:
                before = server.requests
                loop.call_later(_IDLE_SECONDS, look)

        loop.call_later(_IDLE_SECONDS, look)

    asyncio.run(main())
    return server.requests
