"""The guard classifies addresses; nothing here opens a connection."""

from __future__ import annotations

import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laion_hpc.errors import UsageError
from laion_hpc.web.guard import Guard, is_public, literal, networks, port_allowed
from laion_hpc.web.url import Url, UrlError, canonical_host

ipv4 = st.ip_addresses(v=4)
PRIVATE = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "224.0.0.0/4",
    "240.0.0.0/4",
]


def in_network(network: str) -> st.SearchStrategy[ipaddress.IPv4Address]:
    return st.ip_addresses(network=network)  # type: ignore[return-value]


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.255.255.254",
        "0.0.0.0",
        "169.254.169.254",
        "168.63.129.16",
        "192.0.0.192",
        "100.100.100.200",
        "255.255.255.255",
        "224.0.0.1",
        "::",
        "::1",
        "fe80::1",
        "fe80::1%eth0",
        "fd00:ec2::254",
        "ff02::1",
        "64:ff9b::8.8.8.8",
        "64:ff9b:1::1",
        "2002:a00:1::",
        "2001:0:53aa:64c:0:0:0:1",
        "2001:db8::1",
        "::ffff:127.0.0.1",
        "::ffff:0:10.0.0.1",
        "::10.0.0.1",
        "fec0::1",
        "5f00::1",
        "not an address",
        "",
    ],
)
def test_special_addresses_are_refused(address: str) -> None:
    assert not Guard().allows(address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "1.1.1.1", "93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8"]
)
def test_public_addresses_are_allowed(address: str) -> None:
    assert Guard().allows(address)


@given(st.one_of([in_network(network) for network in PRIVATE]))
def test_private_ranges_in_every_ipv6_disguise(address: ipaddress.IPv4Address) -> None:
    number = int(address)
    assert not is_public(address)
    for prefix in ("::ffff:0:0", "::", "64:ff9b::", "::ffff:0:0:0"):
        assert not is_public(ipaddress.IPv6Address(int(ipaddress.IPv6Address(prefix)) + number))
    six_to_four = ipaddress.IPv6Address((0x2002 << 112) + (number << 80))
    assert not is_public(six_to_four)


@given(st.ip_addresses())
def test_what_python_calls_special_is_never_public(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    if not address.is_global or address.is_multicast or address.is_reserved:
        mapped = getattr(address, "ipv4_mapped", None)
        assert not is_public(address) or (mapped is not None and is_public(mapped))


def spellings(address: ipaddress.IPv4Address) -> list[str]:
    """What inet_aton, and so the C library's resolver, reads as this address."""
    a, b, c, d = address.packed
    number = int(address)
    return [
        str(address),
        f"{address}.",
        str(number),
        hex(number),
        oct(number).replace("0o", "0"),
        f"{a}.{b}.{(c << 8) + d}",
        f"{a}.{(b << 16) + (c << 8) + d}",
        f"{a:#x}.{b:#x}.{c:#x}.{d:#x}",
        f"0{a:o}.0{b:o}.0{c:o}.0{d:o}",
        f"0X{a:X}.{b}.{c}.{d}",
    ]


@given(ipv4)
def test_numeric_spellings_are_read_as_the_resolver_reads_them(
    address: ipaddress.IPv4Address,
) -> None:
    for spelling in spellings(address):
        host = canonical_host(spelling)
        assert literal(host) == address
        assert Guard().allows_host(host) == is_public(address)


@given(st.from_regex(r"[0-9a-fxX.]{1,20}", fullmatch=True))
def test_no_numeric_host_escapes(text: str) -> None:
    """What the system's resolver takes for a number is that number, or the host of no URL."""
    try:
        packed = socket.inet_aton(text)
        host = Url.parse(f"http://{text}/").host
    except (OSError, UrlError):
        return
    assert literal(host) == ipaddress.IPv4Address(packed)


@pytest.mark.parametrize("host", ["localhost", "x.localhost", "[::1]"])
def test_names_of_this_machine(host: str) -> None:
    assert not Guard().allows_host(host)
    assert Guard(networks(["127.0.0.0/8", "::1/128"])).allows_host(host)


@pytest.mark.parametrize("host", ["example.net", "dead.beef", "cafe", "a.b", "face.com"])
def test_names_are_left_to_the_resolver(host: str) -> None:
    assert literal(host) is None
    assert Guard().allows_host(host)


def test_opened_networks() -> None:
    guard = Guard(networks(["10.1.0.0/16"]))
    assert guard.allows("10.1.2.3") and guard.allows("::ffff:10.1.2.3")
    assert not guard.allows("10.2.0.1") and not guard.allows("127.0.0.1")
    assert guard.allows("8.8.8.8")


@given(st.ip_addresses())
def test_only_opened_allows_nothing_else(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    guard = Guard(networks(["127.0.0.0/8"]), only_opened=True)
    loopback = address in ipaddress.ip_network("127.0.0.0/8") or (
        getattr(address, "ipv4_mapped", None) is not None and address.ipv4_mapped.is_loopback  # type: ignore[union-attr]
    )
    assert guard.allows(address) == loopback


def test_networks_name_the_key() -> None:
    with pytest.raises(UsageError, match=r"allow_networks.*nonsense"):
        networks(["nonsense"])
    with pytest.raises(UsageError, match="host bits"):
        networks(["127.0.0.1/8"])


def test_ports() -> None:
    assert all(map(port_allowed, (80, 443, 8080, 8443, 50_000)))
    assert not any(map(port_allowed, (0, 22, 25, 6000, 6667, 65_536)))
