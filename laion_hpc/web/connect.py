"""Resolve, check, connect: the network under the HTTP client, for trio.

Names are resolved here and every address is put to the guard; the socket is then connected to
the address that was checked, so there is no second look-up that could say something else.
"""

# ruff: noqa: ARG002 (httpcore decides the parameters)

from __future__ import annotations

import socket
import ssl
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import httpcore
import trio

from laion_hpc.web.faults import Fault
from laion_hpc.web.guard import Guard

DNS_LOOKUPS = 96
"""Look-ups at the same time: 256 unknown hosts at once overwhelm many resolvers."""
DNS_SECONDS = 300.0
"""How long an answer is believed."""
DNS_FAILED_SECONDS = 60.0
DNS_TEMPORARY_SECONDS = 3.0
DNS_ENTRIES = 100_000
CONNECT_SECONDS = 10.0
"""For one address: TCP gives up only after minutes."""
ADDRESSES_TRIED = 3
SILENT_CONNECTS = 3
"""So many time-outs and no connection ever: the host is taken for dead for a while."""
SILENT_SECONDS = 120.0
SILENT_HOSTS = 20_000


@dataclass
class _Entry:
    known: trio.Event = field(default_factory=trio.Event)
    addresses: tuple[str, ...] = ()
    fault: tuple[str, bool] | None = None
    expires: float = float("inf")


class Resolver:
    """Host names to addresses: the system's resolver in threads, cached, with its own limit.

    trio's own default allows 40 threads for everything, which one slow name server fills.
    """

    def __init__(self, nursery: trio.Nursery) -> None:
        # A look-up outlives the task that asked first: others may be waiting for it.
        self._nursery = nursery
        self._limiter = trio.CapacityLimiter(DNS_LOOKUPS)
        self._cache: OrderedDict[str, _Entry] = OrderedDict()

    async def addresses(self, host: str) -> tuple[str, ...]:
        """The addresses of a host, IPv4 first, at least one. Raises Fault("dns")."""
        entry = self._cache.get(host)
        if entry is None or entry.expires < trio.current_time():
            entry = self._cache[host] = _Entry()
            self._cache.move_to_end(host)
            while len(self._cache) > DNS_ENTRIES:
                self._cache.popitem(last=False)
            self._nursery.start_soon(self._look_up, host, entry)
        await entry.known.wait()
        if entry.fault is not None:
            reason, temporary = entry.fault
            raise Fault(reason, temporary=temporary)
        return entry.addresses

    async def _look_up(self, host: str, entry: _Entry) -> None:
        lasts = DNS_FAILED_SECONDS
        try:
            entry.addresses = await trio.to_thread.run_sync(
                _getaddrinfo, host, limiter=self._limiter, abandon_on_cancel=True
            )
            if entry.addresses:
                lasts = DNS_SECONDS
            else:
                entry.fault = ("dns", False)
        except socket.gaierror as error:
            temporary = error.errno == socket.EAI_AGAIN
            entry.fault = ("dns", temporary)
            lasts = DNS_TEMPORARY_SECONDS if temporary else DNS_FAILED_SECONDS
        except (OSError, UnicodeError):
            entry.fault = ("dns", False)
        finally:
            entry.expires = trio.current_time() + lasts
            entry.known.set()


def _getaddrinfo(host: str) -> tuple[str, ...]:
    found = socket.getaddrinfo(host.encode("ascii"), None, type=socket.SOCK_STREAM)
    # IPv4 first: many compute nodes have IPv6 addresses that lead nowhere.
    found.sort(key=lambda info: info[0] != socket.AF_INET)
    return tuple(dict.fromkeys(str(info[4][0]) for info in found))


class EnoughError(Exception):
    """The rest of the answer is not wanted; ends httpcore's generators from within."""


class Network:
    """What all connections of a client share: names and the hosts that stay silent."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.resolver = Resolver(nursery)
        self._silent: OrderedDict[tuple[str, int], tuple[int, float]] = OrderedDict()

    def is_silent(self, host: str, port: int) -> bool:
        """True if several connections to it timed out lately and none was ever made."""
        times, until = self._silent.get((host, port), (0, 0.0))
        return times >= SILENT_CONNECTS and trio.current_time() < until

    def note(self, host: str, port: int, *, answered: bool) -> None:
        """A connection was made, or timed out. A host that was reached once is never silent."""
        times = -SILENT_HOSTS if answered else self._silent.get((host, port), (0, 0.0))[0] + 1
        self._silent[host, port] = (times, trio.current_time() + SILENT_SECONDS)
        self._silent.move_to_end((host, port))
        while len(self._silent) > SILENT_HOSTS:
            self._silent.popitem(last=False)


class Backend(httpcore.AsyncNetworkBackend):
    """httpcore's way to the network for one request; it remembers how the connection ended.

    Without a guard (towards a proxy, whose address the user gave) it connects anywhere.
    """

    def __init__(self, network: Network, guard: Guard | None) -> None:
        self._network = network
        self._guard = guard
        self.received = 0
        self.ended = False
        self._opened: trio.SocketStream | None = None
        self.enough = False
        """Set it to end the reading: the next read raises EnoughError."""

    def fault(self, *, in_body: bool) -> Fault:
        """What it means that the peer broke HTTP's rules, in the headers or in the body."""
        if not self.ended:
            return Fault("protocol")
        if in_body:
            return Fault("truncated", temporary=True)
        return Fault("protocol") if self.received else Fault("reset", temporary=True)

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to a checked address of the host; raises Fault."""
        addresses = await self._network.resolver.addresses(host)
        if self._guard is not None:
            addresses = tuple(a for a in addresses if self._guard.allows(a))
            if not addresses:
                raise Fault("forbidden_address")
        if self._network.is_silent(host, port):
            raise Fault("timeout")
        fault = Fault("unreachable")
        for address in addresses[:ADDRESSES_TRIED]:
            try:
                with trio.fail_after(CONNECT_SECONDS):
                    self._opened = await _connect(address, port)
                self._network.note(host, port, answered=True)
                return Stream(self._opened, self)
            except trio.TooSlowError:
                fault = Fault("timeout", temporary=True)
            except ConnectionRefusedError:
                fault = Fault("refused")
            except ConnectionResetError:
                fault = Fault("reset", temporary=True)
            except OSError:
                fault = Fault("unreachable")
        if fault.reason == "timeout":
            self._network.note(host, port, answered=False)
        raise fault

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Never: no URL of the web names one."""
        raise Fault("forbidden_address")

    def close(self) -> None:
        """Close the connection, whatever state TLS and HTTP on top of it are in.

        At once and without a farewell, which a hostile peer could drag out.
        """
        if self._opened is not None:
            self._opened.socket.close()

    async def sleep(self, seconds: float) -> None:
        """Sleep."""
        await trio.sleep(seconds)


async def _connect(address: str, port: int) -> trio.SocketStream:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    connection = trio.socket.socket(family, socket.SOCK_STREAM)
    try:
        await connection.connect((address, port))
    except BaseException:
        connection.close()
        raise
    return trio.SocketStream(connection)


class Stream(httpcore.AsyncNetworkStream):
    """A connection that tells its backend how it ended: `reset`, `truncated` or `protocol`.

    No timeouts of single operations: one deadline over the whole request does more, and a
    server that drips a byte a second meets none of them.
    """

    def __init__(self, stream: trio.abc.Stream, backend: Backend) -> None:
        self._stream = stream
        self._backend = backend

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Up to `max_bytes`; b"" at the end. Raises Fault("reset"), EnoughError."""
        if self._backend.enough:
            raise EnoughError
        try:
            data = bytes(await self._stream.receive_some(max_bytes))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise Fault("reset", temporary=True) from None
        self._backend.received += len(data)
        self._backend.ended = not data
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send all. A server that has stopped reading may still have answered: httpcore looks."""
        try:
            await self._stream.send_all(buffer)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise httpcore.WriteError from error

    async def aclose(self) -> None:
        """Close at once."""
        self._backend.close()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Shake hands, verifying the certificate. Raises Fault: tls or reset."""
        secured = trio.SSLStream(
            self._stream, ssl_context, server_hostname=server_hostname, https_compatible=True
        )
        try:
            await secured.do_handshake()
        except trio.BrokenResourceError as error:
            if isinstance(error.__cause__, ssl.SSLError):
                raise Fault("tls") from error
            raise Fault("reset", temporary=True) from error
        except (ssl.SSLError, ValueError) as error:
            raise Fault("tls") from error
        # What the proxy said before is not the server's answer.
        self._backend.received = 0
        return Stream(secured, self._backend)

    def get_extra_info(self, info: str) -> Any:
        """Nothing that the client needs."""
        return None
