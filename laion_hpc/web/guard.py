"""Which addresses may be connected to: public ones, and networks opened on purpose.

A crawler follows links that strangers wrote. Without a guard such a link can make it talk to
the machine's own services, to a cluster's internal network or to a cloud's metadata service
(server-side request forgery). The guard classifies *addresses*; `laion_hpc.web.connect` asks it
about every address just before connecting to that very address, so neither a numeric spelling
of a host, nor a redirect, nor a DNS answer that changes between check and use gets past it.
"""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from laion_hpc.errors import UsageError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# `ipaddress.is_global` knows most special registries (RFC 6890) but calls some of these global.
_DENIED: tuple[Network, ...] = tuple(
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8",  # this network (RFC 791)
        "10.0.0.0/8",  # private (RFC 1918)
        "100.64.0.0/10",  # carrier-grade NAT (RFC 6598); a cloud's metadata at 100.100.100.200
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # Azure's virtual host: a public number, an internal service
        "169.254.0.0/16",  # link-local, with the metadata services at 169.254.169.254
        "172.16.0.0/12",  # private (RFC 1918)
        "192.0.0.0/24",  # IETF protocols; 192.0.0.192 is a cloud's metadata
        "192.0.2.0/24",  # documentation (RFC 5737)
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private (RFC 1918)
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks (RFC 2544)
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
        "::/96",  # unspecified, loopback, IPv4-compatible
        "::ffff:0:0/96",  # IPv4-mapped: judged by `_inner`, as ::ffff:0:0:0/96 below
        "::ffff:0:0:0/96",  # IPv4-translated (SIIT)
        "64:ff9b::/96",  # NAT64: reaches any IPv4 address
        "64:ff9b:1::/48",  # local NAT64
        "100::/64",  # discard
        "2001::/23",  # IETF protocols, Teredo among them
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: holds any IPv4 address
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation (RFC 9637)
        "5f00::/16",  # segment routing
        "fc00::/7",  # unique local; metadata at fd00:ec2::254
        "fe80::/10",  # link-local
        "fec0::/10",  # site-local, deprecated
        "ff00::/8",  # multicast
    )
)

# WHATWG Fetch, "bad port": ports of mail, shells and the like, that a request in the form of
# HTTP could be used to attack. https://fetch.spec.whatwg.org/#port-blocking
# fmt: off
_BAD_PORTS = frozenset({
    0, 1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101,
    102, 103, 104, 109, 110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389,
    427, 465, 512, 513, 514, 515, 526, 530, 531, 532, 540, 548, 554, 556, 563, 587, 601, 636,
    989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665,
    6666, 6667, 6668, 6669, 6679, 6697, 10080,
})
# fmt: on


@dataclass(frozen=True)
class Guard:
    """Says which addresses may be connected to.

    `opened` are networks allowed although they are not public; with `only_opened` nothing else
    is allowed, public addresses included (a crawler that has not said who it is).
    """

    opened: tuple[Network, ...] = ()
    only_opened: bool = False

    def allows(self, address: str | Address) -> bool:
        """True if a connection to this address is allowed; False too for what is not an address."""
        try:
            # A scope (fe80::1%eth0) names an interface: link-local by nature.
            parsed = ipaddress.ip_address(address) if isinstance(address, str) else address
        except ValueError:
            return False
        inner = _inner(parsed)
        if any(inner in network for network in self.opened if network.version == inner.version):
            return True
        return not self.only_opened and is_public(parsed)

    def allows_host(self, host: str) -> bool:
        """False if the canonical host of a URL is by itself an address that is not allowed.

        For requests through a proxy, which resolves names itself: a literal address and the
        names of this machine are refused before the proxy is asked.
        """
        address = literal(host)
        if address is not None:
            return self.allows(address)
        if host == "localhost" or host.endswith(".localhost"):
            return self.allows("127.0.0.1")
        return True


@functools.lru_cache(maxsize=65_536)
def is_public(address: Address) -> bool:
    """True for an address of the public internet, none of the special ones."""
    inner = _inner(address)
    if inner is not address:
        return is_public(inner)
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id:
        return False
    if any(address in network for network in _DENIED if network.version == address.version):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved)


def _inner(address: Address) -> Address:
    """The IPv4 address that an IPv4-mapped one really connects to; else the address itself."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def literal(host: str) -> Address | None:
    """The address that a canonical host is, else None.

    The spellings that the C library accepts and crawlers forget, such as `0x7f.1`, `2130706433`,
    `017700000001` and `127.1`, are plain addresses once `web.url` has read them.
    """
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None


def port_allowed(port: int) -> bool:
    """False for ports that belong to other protocols, which HTTP could be made to attack."""
    return 0 < port < 65_536 and port not in _BAD_PORTS


def networks(texts: Iterable[str], *, key: str = "allow_networks") -> tuple[Network, ...]:
    """Parse networks such as 127.0.0.0/8; UsageError names the config key at fault."""
    parsed = []
    for text in texts:
        try:
            parsed.append(ipaddress.ip_network(text))
        except ValueError as error:
            raise UsageError(
                f"{key}: {text!r} is not a network such as 10.0.0.0/8: {error}"
            ) from None
    return tuple(parsed)


def is_loopback(network: Network) -> bool:
    """True if every address of the network is this machine's own."""
    return network.network_address.is_loopback and network.broadcast_address.is_loopback
