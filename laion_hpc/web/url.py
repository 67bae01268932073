"""URLs as browsers read them: references resolved, hosts and paths normalised (WHATWG URL).

The parser is Ada, the one in Node.js and ClickHouse, through `can_ada`: it takes less than a
microsecond a URL, so plain and odd ones go the same way. RFC 3986 alone would not do: real pages
hold back slashes, tabs, spaces, umlauts in hosts and paths, `http:image.jpg`, default ports.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import can_ada
import xxhash

Fault = Literal["data_url", "not_http", "bad_url"]
"""Why a reference is not the URL of an image on the web; names of ledger reasons."""

_STRIPPED = "".join(map(chr, range(0x21)))
"""What the URL standard strips from both ends: C0 controls and space."""


class Base:
    """What relative references of a page are resolved against.

    `Base(page_url, base_href)` follows HTML: `<base href>` is itself resolved against the page's
    URL, and is ignored if it is broken or not http(s). Raises ValueError if the page's URL is
    itself broken.
    """

    __slots__ = ("_url",)

    def __init__(self, page_url: str, base_href: str = "") -> None:
        self._url = can_ada.parse(page_url)
        if base_href:
            try:
                base = self._url + base_href
            except (ValueError, TypeError):
                return
            if base.protocol in ("http:", "https:"):
                self._url = base

    def prefixes(self) -> tuple[str, str, str] | None:
        """What goes before plain references `//host/x`, `/x` and `x`: scheme, origin, directory.

        Each begins with the one before. None if there is more to it than joining: the base is
        not http(s), or carries a user name.
        """
        href: str = self._url.href
        if not href.startswith(("https://", "http://")) or self._url.has_credentials():
            return None
        path = href.partition("#")[0].partition("?")[0]
        host = path.index("://") + 3
        origin = path[: path.index("/", host)]
        return origin[: host - 2], origin, path[: path.rindex("/") + 1]

    def resolve(self, reference: str) -> tuple[str, Fault | None]:
        """The absolute http(s) URL of a reference and None, or an empty string and the fault.

        The URL has a lower-case ASCII host, no default port, no dot segments, no fragment and
        no user name or password (a browser loads no image from a URL that carries them, and a
        dataset must not publish them). An empty reference or a mere fragment, which would be
        the page itself, is a bad URL. `reference` must not hold lone surrogates.
        """
        if reference[:5] == "data:":  # spares parsing what may be kilobytes
            return "", "data_url"
        try:
            url = self._url + reference
        except ValueError:
            return "", "bad_url"
        href: str = url.href
        if not href.startswith(("https://", "http://")):
            return "", "data_url" if href.startswith("data:") else "not_http"
        if "#" in href:
            href = href[: href.index("#")]
        if url.has_credentials():
            url.username = url.password = ""
            href = url.href.partition("#")[0]
        if not reference.strip(_STRIPPED).partition("#")[0]:
            return "", "bad_url"
        return href, None


def extension_of(url: str) -> str:
    """The lower-case extension of the last segment of a URL's path, without the dot, or empty."""
    path = url.partition("?")[0]
    name = path[path.rfind("/") + 1 :]
    return name[name.rfind(".") + 1 :].lower() if "." in name else ""


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
