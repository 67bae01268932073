"""URLs as browsers read them (WHATWG URL), and the one way to write a host.

The parser is Ada, the one in Node.js and ClickHouse, through `can_ada`: it takes less than a
microsecond a URL, so plain and odd ones go the same way. RFC 3986 alone would not do: real pages
have backslashes, tabs, spaces, umlauts in hosts and paths, `http:image.jpg`, default ports.

A host has one canonical form, by which blocklists, take-downs, limits and the partition of the
data know it: lower case, IDNA as browsers have it (UTS 46), addresses in their usual spelling, no
port, no trailing dot. `http://Bücher.de.:80/a` and `http://xn--bcher-kva.de/b` are of one host.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import unquote

import can_ada
import xxhash

if TYPE_CHECKING:
    from publicsuffixlist import PublicSuffixList

Fault = Literal["data_url", "not_http", "bad_url", "bad_host"]
"""Why a reference is not the URL of an image on the web; names of ledger reasons."""

_MAX_HOST, _MAX_LABEL = 253, 63
"""Characters of a name that DNS can hold, and of each part of it (RFC 1035)."""
_DEFAULT_PORTS = {"http": 80, "https": 443}

_STRIPPED = "".join(map(chr, range(0x21)))
"""What the URL standard strips from both ends: C0 controls and space."""


class UrlError(ValueError):
    """This is not an http(s) URL of a host; `reason` says why."""

    def __init__(self, reason: Fault) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Url:
    """An absolute http(s) URL, as the standard writes it.

    It has no default port, no dot segments, no fragment and no user name or password (a browser
    loads no image from a URL that carries them, and a dataset must not publish them).

    >>> url = Url.parse("HTTP://Bücher.de.:80/a/../b.jpg?c#d")
    >>> url.href, url.host
    ('http://xn--bcher-kva.de./b.jpg?c', 'xn--bcher-kva.de')
    """

    href: str
    host: str
    """Canonical; an IPv6 address in brackets."""

    @classmethod
    def parse(cls, text: str) -> Url:
        """Read an absolute URL. Raises UrlError."""
        try:
            return cls._of(can_ada.parse(text))
        except (ValueError, TypeError) as error:  # TypeError: a lone surrogate
            raise error if isinstance(error, UrlError) else UrlError("bad_url") from None

    @classmethod
    def _of(cls, url: Any) -> Url:
        href: str = url.href
        if not href.startswith(("https://", "http://")):
            raise UrlError("data_url" if href.startswith("data:") else "not_http")
        if url.has_credentials():
            url.username = url.password = ""
            href = url.href
        return cls(href.partition("#")[0], _canonical(url.hostname))

    @property
    def scheme(self) -> str:
        """`http` or `https`."""
        return self.href.partition(":")[0]

    @property
    def port(self) -> int:
        """Its port, or its scheme's."""
        digits = self.href.split("/", 3)[2].rpartition(":")[2]
        return int(digits) if digits.isdecimal() else _DEFAULT_PORTS[self.scheme]

    @property
    def authority(self) -> str:
        """The canonical host, and the port if it is not the scheme's."""
        port = self.port
        return self.host if port == _DEFAULT_PORTS[self.scheme] else f"{self.host}:{port}"

    @property
    def origin(self) -> str:
        """What a robots.txt is for: `https://example.org`, `http://example.org:8080`."""
        return f"{self.scheme}://{self.authority}"

    @property
    def target(self) -> str:
        """Path and query, as a request names them."""
        return "/" + self.href.split("/", 3)[3]


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
        not http(s), carries a user name, or its host cannot be written.
        """
        href: str = self._url.href
        if not href.startswith(("https://", "http://")) or self._url.has_credentials():
            return None
        try:
            _canonical(self._url.hostname)
        except UrlError:
            return None
        path = href.partition("#")[0].partition("?")[0]
        host = path.index("://") + 3
        origin = path[: path.index("/", host)]
        return origin[: host - 2], origin, path[: path.rindex("/") + 1]

    def resolve(self, reference: str) -> Url:
        """The URL that a reference means on the page. Raises UrlError.

        An empty reference or a mere fragment, which would be the page itself, is a bad URL.
        `reference` must not hold lone surrogates.
        """
        if reference[:5] == "data:":  # spares parsing what may be kilobytes
            raise UrlError("data_url")
        try:
            found = self._url + reference
        except ValueError:
            raise UrlError("bad_url") from None
        if not reference.strip(_STRIPPED).partition("#")[0]:
            raise UrlError("bad_url")
        return Url._of(found)


def _canonical(hostname: str) -> str:
    """The canonical form of a host as Ada writes it. UrlError("bad_host") if DNS cannot hold it."""
    host = hostname.removesuffix(".")
    if len(host) > _MAX_HOST or not all(0 < len(label) <= _MAX_LABEL for label in host.split(".")):
        raise UrlError("bad_host")
    return host


def canonical_host(text: str) -> str:
    """The host that a person or a config names, perhaps with a port; UrlError if it is invalid.

    Dots and `*.` before it are left out, for a listed host stands for its subdomains too.

    >>> canonical_host("*.Bücher.de.")
    'xn--bcher-kva.de'
    """
    name = text.strip().removeprefix("*").lstrip(".")
    if any(mark in name for mark in "/?#@\\"):
        raise UrlError("bad_host")
    return Url.parse(f"http://{name}/").host


def host_of(url: str) -> str:
    """The canonical host of an absolute http(s) URL; empty if there is none."""
    try:
        return Url.parse(url).host
    except UrlError:
        return ""


@lru_cache(maxsize=1)
def _public_suffixes() -> PublicSuffixList:
    from publicsuffixlist import PublicSuffixList

    return PublicSuffixList()


@lru_cache(maxsize=1 << 16)
def domain_of(host: str) -> str:
    """The registrable domain of a canonical host: who owns it, by the Public Suffix List.

    An address, and a host that is itself a public suffix, are their own.

    >>> domain_of("images.example.co.uk"), domain_of("anna.github.io"), domain_of("127.0.0.1")
    ('example.co.uk', 'anna.github.io', '127.0.0.1')
    """
    if host.startswith("[") or host.rpartition(".")[2].isdecimal():
        return host
    return _public_suffixes().privatesuffix(host) or host


def credentials_of(url: str) -> str:
    """`name:password` of a URL, decoded; empty without. Raises ValueError for a broken one."""
    found = can_ada.parse(url)
    if not found.has_credentials():
        return ""
    return f"{unquote(found.username)}:{unquote(found.password)}"


def extension_of(url: str) -> str:
    """The lower-case extension of the last segment of a URL's path, without the dot, or empty."""
    path = url.partition("?")[0]
    name = path[path.rfind("/") + 1 :]
    return name[name.rfind(".") + 1 :].lower() if "." in name else ""


def block_of(url: str, blocks: int) -> int:
    """The block (0 … blocks-1) that a URL belongs to; the same for ever."""
    return xxhash.xxh3_64_intdigest(url.encode("utf-8", "surrogatepass")) % blocks


def blocked_set(hosts: Iterable[str]) -> frozenset[str]:
    """The hosts that a config blocks, as `is_blocked` takes them. UrlError for an invalid one."""
    return frozenset(map(canonical_host, hosts))


def is_blocked(host: str, blocked: frozenset[str]) -> bool:
    """Whether a canonical host or a domain that it belongs to is in the list."""
    while blocked:
        if host in blocked:
            return True
        _, dot, host = host.partition(".")
        if not dot:
            break
    return False
