"""Small decisions about URLs that several stages share: the block and the host of a URL."""

from __future__ import annotations

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
