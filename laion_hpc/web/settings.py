"""Settings of a client: who it is, what it may connect to, and its limits."""

from __future__ import annotations

import ipaddress
import os
import ssl
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field

import certifi

from laion_hpc.errors import UsageError
from laion_hpc.web.connection import Proxy
from laion_hpc.web.guard import Guard, is_loopback, literal, networks
from laion_hpc.web.url import Url, UrlError, credentials_of


@dataclass(frozen=True)
class Settings:
    """Of one client; the defaults suit a single fetch of an image."""

    user_agent: str
    guard: Guard = field(default_factory=Guard)
    proxy: str = ""
    """URL of a proxy for everything; empty: those of the environment."""
    deadline_seconds: float = 20.0
    retries: int = 1
    max_redirects: int = 5
    max_bytes: int = 25_000_000
    large_bodies: int = 8
    """Bodies above LARGE_BODY in memory at the same time."""
    connections_per_host: int = 2
    host_interval_seconds: float = 0.0
    respect_opt_out: bool = True
    respect_robots_txt: bool = True


def guard_for(user_agent: str, allow_networks: tuple[str, ...], proxy: str) -> Guard:
    """The guard of a client that calls itself so; UsageError if it may not go to the web.

    The rule: site owners must be able to see who asks and to complain. A user agent without a
    contact (a URL or a mail address), or with the placeholder example.org, may therefore talk
    to this machine only: to loopback networks in `allow_networks`, and then to nothing else,
    or to a proxy on loopback that the config names (a replay of saved pages).
    """
    opened = networks(allow_networks, key="download.allow_networks")
    if any(word in user_agent for word in ("\r", "\n")) or not user_agent.isascii():
        raise UsageError("download.user_agent: must be one line of ASCII")
    if _names_someone(user_agent):
        return Guard(opened)
    if proxy and _on_loopback(proxy):
        return Guard(opened)
    if opened and all(is_loopback(network) for network in opened):
        return Guard(opened, only_opened=True)
    raise UsageError(
        f"download.user_agent is {user_agent!r}: set it to a name of your own with a page or "
        "mail address where site owners can reach you, such as "
        "'our-crawler/1.0 (+https://YOUR.SITE/crawler)'. Without it only loopback networks in "
        "download.allow_networks, or a proxy on loopback, can be used"
    )


def _names_someone(user_agent: str) -> bool:
    contact = "http://" in user_agent or "https://" in user_agent or "@" in user_agent
    return contact and "example.org" not in user_agent and "example.com" not in user_agent


def _on_loopback(proxy: str) -> bool:
    host = proxy_url(proxy, "download.proxy").host
    address = literal(host)
    return host == "localhost" or (address is not None and address.is_loopback)


class Proxies:
    """Which proxy a request goes through: the configured one, else the environment's."""

    def __init__(
        self, configured: str, guard: Guard, environment: Mapping[str, str] | None = None
    ) -> None:
        """`environment`: proxies by scheme, and `no`; default: HTTP_PROXY, NO_PROXY …"""
        found = urllib.request.getproxies_environment() if environment is None else environment
        self._configured = _proxy(configured, "download.proxy") if configured else None
        self._guard = guard
        self._direct = tuple(
            entry.strip().lower().lstrip(".") for entry in found.get("no", "").split(",")
        )
        self._by_scheme = {
            scheme: _proxy(found.get(scheme) or found["all"], f"{scheme}_proxy")
            for scheme in ("http", "https")
            if found.get(scheme) or found.get("all")
        }

    def choose(self, scheme: str, host: str, port: int) -> Proxy | None:
        """The proxy for a target, None for a direct connection.

        An address in a network that was opened on purpose is this site's own: the
        environment's proxy, which leads out of the site, is not asked for it.
        """
        if self._configured is not None:
            return self._configured
        proxy = self._by_scheme.get(scheme)
        if proxy is None:
            return None
        address = literal(host)
        if address is not None and Guard(self._guard.opened, only_opened=True).allows(address):
            return None
        return None if self._bypassed(host, port) else proxy

    def _bypassed(self, host: str, port: int) -> bool:
        """NO_PROXY: a list of hosts, domains, networks or `*`, each perhaps with a port."""
        address = literal(host)
        for entry in self._direct:
            if entry == "*":
                return True
            if address is not None and "/" in entry:
                try:
                    network = ipaddress.ip_network(entry, strict=False)
                except ValueError:
                    continue
                if network.version == address.version and address in network:
                    return True
            elif entry and (
                entry in (host, f"{host}:{port}")
                or host.endswith(f".{entry}")
                or f"{host}:{port}".endswith(f".{entry}")
            ):
                return True
        return False


def _proxy(text: str, key: str) -> Proxy:
    url = proxy_url(text, key)
    context = tls_context() if url.scheme == "https" else None
    return Proxy(url, credentials_of(_with_scheme(text)), context)


def proxy_url(text: str, key: str) -> Url:
    """Where a proxy is; UsageError that begins with `key` if it is of a kind that is not known."""
    try:
        return Url.parse(_with_scheme(text))
    except UrlError:
        raise UsageError(
            f"{key}: {text!r}: a proxy is http://HOST:PORT or https://HOST:PORT"
        ) from None


def _with_scheme(text: str) -> str:
    return text if "://" in text else f"http://{text}"


_context: ssl.SSLContext | None = None


def tls_context() -> ssl.SSLContext:
    """The one verifying TLS context of this process: making one costs 19 ms of CPU.

    Trusts certifi's authorities, or the file that SSL_CERT_FILE names.
    """
    global _context
    if _context is None:
        authorities = os.environ.get("SSL_CERT_FILE") or certifi.where()
        _context = ssl.create_default_context(cafile=authorities)
    return _context
