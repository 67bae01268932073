"""Resolve, check, connect: the network under the HTTP connections, for trio.

Names are resolved here and every address is put to the guard; the socket is then connected to
the address that was checked, so that no second look-up can give another.
"""

from __future__ import annotations

import os
import select
import socket
import ssl
from collections import OrderedDict
from dataclasses import dataclass, field

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

    async def connect(self, host: str, port: int, guard: Guard | None) -> Wire:
        """Connect to an address of the host that the guard allows; raises Fault."""
        addresses = await self.resolver.addresses(host)
        if guard is not None:
            addresses = tuple(a for a in addresses if guard.allows(a))
            if not addresses:
                raise Fault("forbidden_address")
        if self.is_silent(host, port):
            raise Fault("timeout")
        fault = Fault("unreachable")
        for address in addresses[:ADDRESSES_TRIED]:
            try:
                with trio.fail_after(CONNECT_SECONDS):
                    stream = await _connect(address, port)
                self.note(host, port, answered=True)
                return Wire(stream)
            except trio.TooSlowError:
                fault = Fault("timeout", temporary=True)
            except ConnectionRefusedError:
                fault = Fault("refused")
            except ConnectionResetError:
                fault = Fault("reset", temporary=True)
            except OSError:
                fault = Fault("unreachable")
        if fault.reason == "timeout":
            self.note(host, port, answered=False)
        raise fault


async def _connect(address: str, port: int) -> trio.SocketStream:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    connection = trio.socket.socket(family, socket.SOCK_STREAM)
    try:
        await connection.connect((address, port))
    except BaseException:
        connection.close()
        raise
    return trio.SocketStream(connection)


class Wire:
    """The bytes of a connection; it knows how they ended: `reset`, `truncated` or `protocol`.

    No timeouts of single operations: one deadline over the whole request does more, and a
    server that drips a byte a second meets none of them.
    """

    def __init__(self, stream: trio.SocketStream) -> None:
        self._bottom = stream
        self._stream: trio.abc.Stream = stream
        self.received = 0
        """Bytes of the answer to the present request; set it to 0 before each."""
        self.ended = False

    def fault(self, *, in_body: bool) -> Fault:
        """What it means that the peer broke HTTP's rules, in the headers or in the body."""
        if not self.ended:
            return Fault("protocol")
        if in_body:
            return Fault("truncated", temporary=True)
        return Fault("protocol") if self.received else Fault("reset", temporary=True)

    async def receive(self, most: int) -> bytes:
        """Up to `most` bytes; b"" at the end. Raises Fault("reset")."""
        try:
            data = bytes(await self._stream.receive_some(most))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise Fault("reset", temporary=True) from None
        self.received += len(data)
        self.ended = not data
        return data

    def receive_nowait(self, most: int) -> bytes:
        """What has come already; b"" if nothing has, or if it takes TLS to know."""
        if self._stream is not self._bottom:
            return b""
        try:
            # trio's sockets do not block.
            return os.read(self._bottom.socket.fileno(), most)
        except OSError:
            return b""

    def silent(self) -> bool:
        """True if the peer has neither said anything more nor hung up."""
        poll = select.poll()
        poll.register(self._bottom.socket.fileno(), select.POLLIN | select.POLLHUP)
        return not poll.poll(0)

    async def send(self, data: bytes) -> None:
        """Send all. A server that has stopped reading may still have answered: no error here."""
        try:
            await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return

    async def secure(self, context: ssl.SSLContext, host: str) -> None:
        """Shake hands, verifying the certificate. Raises Fault: tls or reset."""
        secured = trio.SSLStream(self._stream, context, server_hostname=host, https_compatible=True)
        try:
            await secured.do_handshake()
        except trio.BrokenResourceError as error:
            if isinstance(error.__cause__, ssl.SSLError):
                raise Fault("tls") from error
            raise Fault("reset", temporary=True) from error
        except (ssl.SSLError, ValueError) as error:
            raise Fault("tls") from error
        self._stream = secured

    def close(self) -> None:
        """Close the connection, whatever state TLS and HTTP on top of it are in.

        At once and without a farewell, which a hostile peer could drag out.
        """
        self._bottom.socket.close()
