"""The HTTP client: one deadline over redirects, retries and body; every address checked.

`open_client` keeps caches and limits for many requests (trio); `fetch` makes a single one and
`fetch_blocking` does so from code without an event loop. They never raise for what the web
does: an `Answer` has a reason when it is not a whole body with status 200.

HTTP is httpcore's, the engine of httpx, with a connection per request: its pool walks over all
connections at every request, which costs more than the request itself from 256 on.
"""

from __future__ import annotations

import random
import re
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace

import httpcore
import httpx
import trio

from laion_hpc.web import politeness, robots
from laion_hpc.web.answer import Answer
from laion_hpc.web.body import Body
from laion_hpc.web.connect import Backend, EnoughError, Network
from laion_hpc.web.faults import Fault
from laion_hpc.web.guard import port_allowed
from laion_hpc.web.settings import Proxies, Settings, tls_context

__all__ = ["Answer", "Client", "Settings", "fetch", "fetch_blocking", "open_client"]

REDIRECTS = frozenset([301, 302, 303, 307, 308])
ROBOTS_ENTRIES = 50_000
_HOST = re.compile(rb"[A-Za-z0-9._~-]+|[0-9A-Fa-f:.]+(%[0-9A-Za-z%._~-]+)?")
"""A name, or what stood in the brackets of an IPv6 address."""
# fmt: off
ROBOTS_SHARED_FATES = frozenset({
    "dns", "refused", "unreachable", "tls", "timeout", "reset", "protocol", "truncated",
    "forbidden_address", "bad_url",
})
# fmt: on
"""If robots.txt meets these, the host is not reachable for us: its images get the same reason."""


class _Permit:
    """The right to hold a large body, kept until the body has been used."""

    def __init__(self, limiter: trio.CapacityLimiter) -> None:
        self._limiter = limiter
        self._held = False

    async def acquire(self) -> None:
        if not self._held:
            await self._limiter.acquire_on_behalf_of(self)
            self._held = True

    def release(self) -> None:
        if self._held:
            self._limiter.release_on_behalf_of(self)
            self._held = False


@dataclass(frozen=True)
class _Task:
    """What a request takes on its way: its deadline, its permit and how it is to be read."""

    scope: trio.CancelScope
    permit: _Permit
    max_bytes: int
    for_robots: bool = False
    """For robots.txt itself no robots rules, turns and opt-outs count, and a long one is cut."""

    def left(self) -> float:
        """Seconds before the deadline."""
        return self.scope.deadline - trio.current_time()

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """The deadline stands still while we make ourselves wait: that is not the server's."""
        left = self.left()
        self.scope.deadline = float("inf")
        try:
            yield
        finally:
            self.scope.deadline = trio.current_time() + left


@dataclass
class _Rules:
    known: trio.Event = field(default_factory=trio.Event)
    robots: robots.Robots = robots.ALLOW_ALL
    fault: Answer | None = None


class Client:
    """Fetches many URLs; made by `open_client`."""

    def __init__(self, settings: Settings, nursery: trio.Nursery) -> None:
        self._settings = settings
        self._nursery = nursery
        self._token = robots.product_token(settings.user_agent)
        self._proxies = Proxies(settings.proxy, settings.guard)
        self._network = Network(nursery)
        self._hosts = politeness.Hosts(
            connections=settings.connections_per_host,
            interval=settings.host_interval_seconds,
            patience=settings.deadline_seconds,
        )
        self._large = trio.CapacityLimiter(settings.large_bodies)
        self._robots: OrderedDict[str, _Rules] = OrderedDict()

    @asynccontextmanager
    async def get(self, url: str) -> AsyncIterator[Answer]:
        """Fetch; the body counts against the memory for large ones until the context is left."""
        permit = _Permit(self._large)
        try:
            yield await self._by_deadline(url, permit)
        finally:
            permit.release()

    async def _by_deadline(self, url: str, permit: _Permit) -> Answer:
        attempts = 0
        with trio.move_on_after(self._settings.deadline_seconds) as scope:
            task = _Task(scope, permit, self._settings.max_bytes)
            while True:
                attempts += 1
                answer = await self._follow(url, task)
                if attempts > self._settings.retries or not answer.may_heal:
                    break
                pause = politeness.pause_before(attempts, answer.retry_after, random.random())
                if pause >= task.left():
                    break
                permit.release()
                await trio.sleep(pause)
        if scope.cancelled_caught or answer.reason == "timeout":
            # How far a slow server got depends on the moment; the same run must give the
            # same rows, so a timeout tells nothing else.
            return Answer("timeout", attempts=attempts)
        return replace(answer, attempts=attempts)

    async def _follow(self, url: str, task: _Task) -> Answer:
        """One attempt, over all its redirects."""
        answer = Answer()
        try:
            at = _parse(url, otherwise="bad_url")
            for _ in range(self._settings.max_redirects + 1):
                answer, location = await self._hop(at, task)
                if location is None:
                    return answer
                at = _redirected(at, location)
        except Fault as fault:
            # Status and address are those of the redirect that led here, if any.
            return replace(answer, reason=fault.reason, temporary=fault.temporary)
        return replace(answer, reason="too_many_redirects")

    async def _hop(self, at: httpx.URL, task: _Task) -> tuple[Answer, str | None]:
        """One request; a redirect's target is the second value."""
        if not port_allowed(_port(at)):
            raise Fault("bad_url")
        if not self._settings.guard.allows_host(at.host):
            raise Fault("forbidden_address")
        if task.for_robots:
            return await self._exchange(at, task)
        if self._settings.respect_robots_txt and not await self._robots_allow(at):
            return Answer("robots_txt", url=str(at)), None
        try:
            with task.standing_still():
                await self._hosts.enter(at.host)
        except politeness.HostRestsError as rests:
            return Answer(f"http_{rests.status}", rests.status, str(at)), None
        try:
            answer, location = await self._exchange(at, task)
        finally:
            self._hosts.leave(at.host)
        if answer.status in (429, 503):
            wait = politeness.FIRST_PAUSE if answer.retry_after is None else answer.retry_after
            self._hosts.rest(at.host, answer.status, wait)
        return answer, location

    async def _exchange(self, at: httpx.URL, task: _Task) -> tuple[Answer, str | None]:
        """Send the request over a connection of its own and read what is wanted of the answer."""
        port = _port(at)
        proxy = self._proxies.choose(at.scheme, at.host, port)
        backend = Backend(self._network, self._settings.guard if proxy is None else None)
        # Never used as a pool: it knows how to make direct and proxied connections.
        maker = httpcore.AsyncConnectionPool(
            ssl_context=tls_context() if at.scheme == "https" else None,
            proxy=proxy,
            network_backend=backend,
        )
        url = httpcore.URL(scheme=at.raw_scheme, host=at.raw_host, port=at.port, target=at.raw_path)
        connection = maker.create_connection(url.origin)
        try:
            request = httpcore.Request(b"GET", url, headers=self._headers(at))
            response = await connection.handle_async_request(request)
            return await self._read(at, response, backend, task)
        except httpcore.RemoteProtocolError:
            raise backend.fault(in_body=False) from None
        except httpcore.LocalProtocolError:
            raise Fault("bad_url") from None
        except httpcore.ProxyError:
            raise Fault("unreachable") from None
        except httpcore.WriteError:
            raise Fault("reset", temporary=True) from None
        finally:
            backend.close()

    def _headers(self, at: httpx.URL) -> list[tuple[bytes, bytes]]:
        return [
            (b"Host", at.netloc),
            (b"User-Agent", self._settings.user_agent.encode("ascii")),
            (b"Accept", b"image/avif,image/webp,image/*,*/*;q=0.8"),
            (b"Accept-Encoding", b"identity"),
            (b"Connection", b"close"),
        ]

    async def _read(
        self, at: httpx.URL, response: httpcore.Response, backend: Backend, task: _Task
    ) -> tuple[Answer, str | None]:
        headers = [(_text(name).lower(), _text(value)) for name, value in response.headers]
        fields = dict(reversed(headers))
        answer = Answer(
            status=response.status, url=str(at), content_type=fields.get("content-type", "")[:200]
        )
        if response.status in REDIRECTS and fields.get("location"):
            return answer, fields["location"]
        if response.status != 200:
            wait = politeness.retry_after(fields.get("retry-after", ""))
            return replace(answer, reason=f"http_{response.status}", retry_after=wait), None
        if self._settings.respect_opt_out and not task.for_robots:
            word = robots.opted_out(headers, self._token)
            if word:
                return replace(answer, reason="opted_out", opt_out=word), None
        body = Body(fields, task.max_bytes, cut=task.for_robots)
        reason = body.refused or await self._take(body, response, backend, task)
        answer = replace(answer, reason=reason, received=body.counted)
        return answer if reason else replace(answer, body=body.data), None

    async def _take(
        self, body: Body, response: httpcore.Response, backend: Backend, task: _Task
    ) -> str:
        try:
            async for chunk in response.aiter_stream():
                if body.is_large:
                    with task.standing_still():
                        await task.permit.acquire()
                if not body.feed(chunk):
                    backend.enough = True
        except EnoughError:
            pass
        except httpcore.RemoteProtocolError:
            if not backend.enough:
                return backend.fault(in_body=True).reason
        return body.finish()

    async def _robots_allow(self, at: httpx.URL) -> bool:
        """What the host's robots.txt says; raises the Fault that kept us from reading it."""
        origin = f"{at.scheme}://{at.netloc.decode('ascii')}"
        rules = self._robots.get(origin)
        if rules is None:
            rules = self._robots[origin] = _Rules()
            if len(self._robots) > ROBOTS_ENTRIES:
                self._robots.popitem(last=False)
            self._nursery.start_soon(self._learn_rules, origin, rules)
        self._robots.move_to_end(origin)
        await rules.known.wait()
        if rules.fault is not None:
            raise Fault(rules.fault.reason)
        return rules.robots.allows(at.raw_path.decode("ascii"))

    async def _learn_rules(self, origin: str, rules: _Rules) -> None:
        """Fetch robots.txt: on its own, since the task that asked first may reach its deadline."""
        permit = _Permit(self._large)
        try:
            answer = await self._robots_answer(f"{origin}/robots.txt", permit)
            # RFC 9309: no such file, nothing forbidden; a server that fails, all forbidden.
            if not answer.reason:
                rules.robots = robots.parse(bytes(answer.body), self._token)
            elif answer.status == 429 or answer.status >= 500:
                rules.robots = robots.DISALLOW_ALL
            elif answer.reason in ROBOTS_SHARED_FATES:
                rules.fault = answer
        finally:
            permit.release()
            rules.known.set()

    async def _robots_answer(self, url: str, permit: _Permit) -> Answer:
        attempts = 0
        with trio.move_on_after(self._settings.deadline_seconds) as scope:
            task = _Task(scope, permit, robots.MAX_BYTES, for_robots=True)
            while True:
                attempts += 1
                answer = await self._follow(url, task)
                pause = politeness.pause_before(attempts, answer.retry_after, random.random())
                if not answer.may_heal or attempts > self._settings.retries or pause >= task.left():
                    return answer
                await trio.sleep(pause)
        return Answer("timeout")


@asynccontextmanager
async def open_client(settings: Settings) -> AsyncIterator[Client]:
    """A client for many requests; leaving the context stops what it still does."""
    async with trio.open_nursery() as nursery:
        yield Client(settings, nursery)
        nursery.cancel_scope.cancel()


async def fetch(url: str, settings: Settings) -> Answer:
    """Fetch one URL; never raises for what the web does. Needs trio."""
    async with open_client(settings) as client, client.get(url) as answer:
        return answer


def fetch_blocking(url: str, settings: Settings) -> Answer:
    """Fetch one URL from code without trio, such as a worker thread of another event loop.

    >>> settings = Settings("our-search/1.0 (+https://our.site/search)", max_bytes=8_000_000)
    >>> answer = fetch_blocking("https://their.site/cat.jpg", settings)  # doctest: +SKIP
    >>> image = answer.body if not answer.reason else None               # doctest: +SKIP
    """
    return trio.run(fetch, url, settings)


def _port(at: httpx.URL) -> int:
    default = 443 if at.scheme == "https" else 80
    return default if at.port is None else at.port


def _parse(url: str, *, otherwise: str) -> httpx.URL:
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


def _redirected(at: httpx.URL, location: str) -> httpx.URL:
    try:
        there = httpx.URL(location.strip())
        # Joined, `http://` without a host would be the page itself again.
        target = location if there.scheme else str(at.join(there))
    except (httpx.InvalidURL, ValueError):
        raise Fault("bad_redirect") from None
    return _parse(target, otherwise="bad_redirect")


def _text(value: bytes) -> str:
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        text = value.decode("latin-1")
    return text if text.isprintable() else "".join(c for c in text if c.isprintable())
