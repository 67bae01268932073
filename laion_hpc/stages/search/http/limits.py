"""How often one client may ask: one table of arrival times, shared by all workers."""

from __future__ import annotations

import hashlib
import mmap
import os
import time
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import numpy as np

SLOTS = 1 << 18
"""A salted hash of this many values identifies a client: 2 MB. A client among 1,000 shares its
slot, and so its rate, with another in one case of 250."""


class Limiter:
    """Requests per minute and client, by the generic cell rate algorithm (ITU-T I.371).

    It keeps one number for each client: when its next request is due if it asks steadily. Make it
    before the workers are forked, then all of them share the numbers. They take no lock: of two
    requests at the same instant, one may not be counted.
    """

    def __init__(self, per_minute: int) -> None:
        """`per_minute` requests, all at once after a quiet minute; 0: no limit."""
        self._interval = 60.0 / per_minute if per_minute else 0.0
        self._due = np.frombuffer(mmap.mmap(-1, SLOTS * 8), np.float64)
        self._salt = os.urandom(16)
        self.limits = per_minute > 0

    def wait(self, client: str, cost: float = 1.0, *, now: float | None = None) -> float:
        """Seconds that the client must wait; 0: go ahead, and `cost` requests are counted."""
        if not self._interval:
            return 0.0
        now = time.monotonic() if now is None else now
        digest = hashlib.blake2b(client.encode(), key=self._salt, digest_size=8).digest()
        slot = int.from_bytes(digest, "little") % SLOTS
        due = max(float(self._due[slot]), now) + cost * self._interval
        early = due - now - max(60.0, cost * self._interval)
        if early > 0:
            return early
        self._due[slot] = due
        return 0.0


@lru_cache
def _networks(trusted: tuple[str, ...]) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ip_network(network) for network in trusted)


def client_of(peer: str, forwarded: str, trusted: Sequence[str]) -> str:
    """Who asks: the peer, or the address that trusted proxies vouch for.

    `forwarded` is X-Forwarded-For: each proxy adds the address it was asked from, so the last
    address that is not our proxy is the client. The client may have invented the ones before it. An
    IPv6 client is its network (/64), because one customer has all of it.
    """
    networks = _networks(tuple(trusted))
    chain = [part.strip() for part in forwarded.split(",") if part.strip()] + [peer]
    found = peer
    for text in reversed(chain):
        try:
            address = ip_address(text.strip("[]"))
        except ValueError:
            break  # not an address: the proxy that added it is the client
        if isinstance(address, IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        found = str(address)
        if not any(address in network for network in networks):
            break
    try:
        address = ip_address(found)
    except ValueError:
        return found
    return str(ip_network((address, 64), strict=False)) if address.version == 6 else found
