"""Small decisions about URLs that several stages share: block, host, is the host blocked?"""

from __future__ import annotations

from collections.abc import Iterable

import xxhash


def block_of(url: str, blocks: int) -> int:
    """The block (0 … blocks-1) that a URL belongs to; the same for ever."""
    return xxhash.xxh3_64_intdigest(url.encode("utf-8", "surrogatepass")) % blocks


def host_of(url: str) -> str:
    """The host of an absolute URL as `extract` writes them: lower case, no port, no userinfo."""
    authority = url.partition("://")[2]
    for end in "/?#":
        authority = authority.partition(end)[0]
    host = authority.rpartition("@")[2]
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0].lower()


def blocked_set(hosts: Iterable[str]) -> frozenset[str]:
    """A blocklist of hosts from a config, as `is_blocked` takes it."""
    return frozenset(host.lower().strip(".") for host in hosts)


def is_blocked(host: str, blocked: frozenset[str]) -> bool:
    """Whether a host or a domain that it belongs to is in the list."""
    while blocked:
        if host in blocked:
            return True
        _, dot, host = host.partition(".")
        if not dot:
            break
    return False
