"""HTTP/1.1 over one connection, kept open for the host's next request; h11 speaks the protocol.

h11 is the engine of httpx; the layers between the two (pool, locks, tracing) cost more CPU than
a request itself. A connection is used again only after an answer that was read to its end, with
nothing behind it, and while the server has said nothing since: what a server sends unasked must
not be taken for the answer to another request.
"""

from __future__ import annotations

import ssl
from base64 import b64encode
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import h11
import trio

from laion_hpc.web.connect import Network, Wire
from laion_hpc.web.faults import Fault
from laion_hpc.web.guard import Guard
from laion_hpc.web.url import Url

MAX_HEADER = 100 * 1024
READ_BYTES = 1 << 17
IDLE_SECONDS = 5.0
"""Shorter than most servers keep an idle connection (nginx: 75 s, Apache and Node: 5 s)."""
IDLE_CONNECTIONS = 256

Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True)
class Proxy:
    """An HTTP proxy; `tls` is for the way to the proxy itself, if that is https."""

    url: Url
    credentials: str = ""
    """`name:password`."""
    tls: ssl.SSLContext | None = None

    @property
    def host(self) -> str:
        """Its host, without the brackets of an IPv6 address."""
        return self.url.host.strip("[]")

    @property
    def headers(self) -> Headers:
        """Who we are, for the proxy."""
        if not self.credentials:
            return []
        return [(b"Proxy-Authorization", b"Basic " + b64encode(self.credentials.encode()))]


@dataclass(frozen=True)
class Route:
    """Where a request goes; connections are kept by it."""

    scheme: str
    host: str
    """ASCII, without the brackets of an IPv6 address."""
    port: int
    authority: bytes
    """Host and port, as in the URL's origin."""
    proxy: Proxy | None = None


class Connection:
    """A connection that requests can be sent over, one after the other."""

    def __init__(self, wire: Wire, route: Route) -> None:
        self.route = route
        self.wire = wire
        self.fresh = True
        """False once it has brought an answer."""
        self.idle_since = 0.0
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEADER)

    async def ask(self, target: bytes, headers: Headers) -> h11.Response:
        """Send a GET and read the answer's head. Raises Fault."""
        self.wire.received = 0
        proxy = self.route.proxy
        if proxy is not None and self.route.scheme == "http":
            # A proxy that forwards gets the whole address; a tunnel behaves like the server.
            target = b"http://" + self.route.authority + target
            headers = headers + proxy.headers
        return await self._head(b"GET", target, headers)

    async def tunnel(self, agent: tuple[bytes, bytes]) -> None:
        """Have the proxy lead to the server. Raises Fault("unreachable") if it does not."""
        proxy = self.route.proxy
        assert proxy is not None
        host = f"[{self.route.host}]" if ":" in self.route.host else self.route.host
        target = f"{host}:{self.route.port}".encode("ascii")
        headers = [(b"Host", target), agent, *proxy.headers]
        response = await self._head(b"CONNECT", target, headers)
        if not 200 <= response.status_code <= 299:
            raise Fault("unreachable")
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEADER)

    async def _head(self, method: bytes, target: bytes, headers: Headers) -> h11.Response:
        try:
            request = h11.Request(method=method, target=target, headers=headers)
            data = (self._http.send(request) or b"") + (self._http.send(h11.EndOfMessage()) or b"")
        except h11.LocalProtocolError:
            raise Fault("bad_url") from None
        await self.wire.send(data)
        while True:
            event = await self._event(in_body=False)
            if isinstance(event, h11.Response):
                return event
            if not isinstance(event, h11.InformationalResponse) or event.status_code == 101:
                raise Fault("protocol")

    async def piece(self) -> bytes | None:
        """The next piece of the answer's body, None at its end. Raises Fault."""
        event = await self._event(in_body=True)
        return event.data if isinstance(event, h11.Data) else None

    async def _event(self, *, in_body: bool) -> h11.Event | type[h11.PAUSED]:
        while True:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError:
                raise self.wire.fault(in_body=in_body) from None
            if event is not h11.NEED_DATA:
                return event  # type: ignore[return-value]
            data = await self.wire.receive(READ_BYTES)
            if not data and self._http.their_state is h11.SEND_RESPONSE:
                raise self.wire.fault(in_body=False)
            self._http.receive_data(data)

    def finish(self) -> bool:
        """True if the connection can be used again; takes what has come already, waits for nothing.

        The page of a 404 is not wanted but, as a rule, is here with its head.
        """
        try:
            for _ in range(8):
                if self._http.their_state is not h11.SEND_BODY:
                    break
                event = self._http.next_event()
                if event is h11.NEED_DATA:
                    data = self.wire.receive_nowait(READ_BYTES)
                    if not data:
                        return False
                    self._http.receive_data(data)
            if self._http.their_state is not h11.DONE or self._http.our_state is not h11.DONE:
                return False
            if self._http.trailing_data[0]:
                return False
            self._http.start_next_cycle()
        except (h11.RemoteProtocolError, h11.LocalProtocolError):
            return False
        self.fresh = False
        return True

    def close(self) -> None:
        """Close at once."""
        self.wire.close()


class Connections:
    """Opens connections, and keeps a few that are idle for a moment."""

    def __init__(self, network: Network, guard: Guard, tls: Callable[[], ssl.SSLContext]) -> None:
        self._network = network
        self._guard = guard
        self._tls = tls
        self._idle: OrderedDict[Route, list[Connection]] = OrderedDict()
        self._number = 0

    def take(self, route: Route) -> Connection | None:
        """An idle connection to use again, if there is one that still lives."""
        while kept := self._idle.get(route):
            connection = kept.pop()
            self._number -= 1
            if not kept:
                del self._idle[route]
            young = trio.current_time() - connection.idle_since < IDLE_SECONDS
            if young and connection.wire.silent():
                return connection
            connection.close()
        return None

    def give(self, connection: Connection) -> None:
        """Keep a connection that has `finish`ed."""
        now = connection.idle_since = trio.current_time()
        self._idle.setdefault(connection.route, []).append(connection)
        self._idle.move_to_end(connection.route)
        self._number += 1
        while self._idle and (self._number > IDLE_CONNECTIONS or self._is_old(now)):
            _, oldest = self._idle.popitem(last=False)
            self._number -= len(oldest)
            for one in oldest:
                one.close()

    def _is_old(self, now: float) -> bool:
        oldest = next(iter(self._idle.values()))
        return now - oldest[-1].idle_since > IDLE_SECONDS

    def close(self) -> None:
        """Close those that are idle."""
        for kept in self._idle.values():
            for connection in kept:
                connection.close()
        self._idle.clear()

    async def open(self, route: Route, agent: tuple[bytes, bytes]) -> Connection:
        """A new connection, through its proxy and with TLS where needed. Raises Fault."""
        proxy = route.proxy
        if proxy is None:
            wire = await self._network.connect(route.host, route.port, self._guard)
        else:
            # The user gave the proxy's address: no guard.
            wire = await self._network.connect(proxy.host, proxy.url.port, None)
        try:
            connection = Connection(wire, route)
            if proxy is not None and proxy.tls is not None:
                await wire.secure(proxy.tls, proxy.host)
            if route.scheme == "https":
                if proxy is not None:
                    await connection.tunnel(agent)
                await wire.secure(self._tls(), route.host)
        except BaseException:
            wire.close()
            raise
        return connection
