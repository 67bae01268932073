"""Which URL is asked: the one given, or the one that a redirect leads to."""

from __future__ import annotations

import re

import httpx

from laion_hpc.web.faults import Fault

_HOST = re.compile(rb"[A-Za-z0-9._~-]+|[0-9A-Fa-f:.]+(%[0-9A-Za-z%._~-]+)?")
"""A name, or what stood in the brackets of an IPv6 address."""


def port_of(at: httpx.URL) -> int:
    """The port of a URL, or its scheme's."""
    default = 443 if at.scheme == "https" else 80
    return default if at.port is None else at.port


def parse(url: str, *, otherwise: str) -> httpx.URL:
    """An http(s) URL with a host, without fragment and userinfo; else Fault(otherwise)."""
    try:
        at = httpx.URL(url.strip())
        if at.scheme not in ("http", "https") or not _HOST.fullmatch(at.raw_host):
            raise Fault(otherwise)
        if at.fragment or at.userinfo:
            at = at.copy_with(fragment=None, userinfo=b"")
        return at
    except (httpx.InvalidURL, ValueError, TypeError):
        raise Fault(otherwise) from None


def redirected(at: httpx.URL, location: str) -> httpx.URL:
    """Where a Location header leads; else Fault("bad_redirect")."""
    try:
        there = httpx.URL(location.strip())
        # Joined, `http://` without a host would be the page itself again.
        target = location if there.scheme else str(at.join(there))
    except (httpx.InvalidURL, ValueError):
        raise Fault("bad_redirect") from None
    return parse(target, otherwise="bad_redirect")
