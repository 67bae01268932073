"""The HTTP client: one deadline over redirects, retries and body; every address checked.

`open_client` keeps caches and limits for many requests (trio); `fetch` makes a single one and
`fetch_blocking` does so from code without an event loop. They never raise for what the web
does: an `Answer` has a reason when it is not a whole body with status 200.

Connections are opened, and kept for the host's next request, by `connection`: robots.txt and the
first image of a host cost one connection and one TLS handshake.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace

import trio

from laion_hpc.web import politeness, retry, robots
from laion_hpc.web.answer import Answer
from laion_hpc.web.body import Body
from laion_hpc.web.connect import Network
from laion_hpc.web.connection import Connection, Connections, Route
from laion_hpc.web.faults import Fault
from laion_hpc.web.guard import port_allowed
from laion_hpc.web.settings import Proxies, Settings, tls_context
from laion_hpc.web.url import Base, Url, UrlError

__all__ = ["Answer", "Client", "Settings", "fetch", "fetch_blocking", "open_client"]

REDIRECTS = frozenset([301, 302, 303, 307, 308])
ROBOTS_ENTRIES = 50_000
PACE_BYTES, PACE_SECONDS = 1_000, 5.0
"""A body that grows by less in that time is given up: it would take more than the deadline, and a
server that drips costs the less the sooner it is left."""
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


@dataclass
class _Task:
    """What a request takes on its way: its deadline, its permit and how it is to be read."""

    scope: trio.CancelScope
    permit: _Permit
    max_bytes: int
    for_robots: bool = False
    """For robots.txt itself no robots rules, turns and opt-outs count, and a long one is cut."""
    asking: str = ""
    """The host whose answer is being waited for."""
    attempts: int = 0
    """How many were begun."""

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
        self._agent = (b"User-Agent", settings.user_agent.encode("ascii"))
        self._token = robots.product_token(settings.user_agent)
        self._proxies = Proxies(settings.proxy, settings.guard)
        self._connections = Connections(Network(nursery), settings.guard, tls_context)
        self._hosts = politeness.Hosts(
            connections=settings.connections_per_host,
            interval=settings.host_interval_seconds,
            patience=settings.deadline_seconds,
        )
        self._large = trio.CapacityLimiter(settings.large_bodies)
        self._robots: OrderedDict[str, _Rules] = OrderedDict()

    def close(self) -> None:
        """Close the connections that are kept."""
        self._connections.close()

    @asynccontextmanager
    async def get(self, url: str) -> AsyncIterator[Answer]:
        """Fetch; the body counts against the memory for large ones until the context is left."""
        permit = _Permit(self._large)
        try:
            yield await self._by_deadline(url, permit)
        finally:
            permit.release()

    async def _by_deadline(self, url: str, permit: _Permit) -> Answer:
        with trio.move_on_after(self._settings.deadline_seconds) as scope:
            task = _Task(scope, permit, self._settings.max_bytes)
            answer = await self._persist(url, task)
        if scope.cancelled_caught and task.asking:
            self._hosts.timed_out(task.asking)
        if scope.cancelled_caught or answer.reason == "timeout":
            # How far a slow server got depends on the moment; the same run must give the
            # same rows, so a timeout tells nothing else.
            return Answer("timeout", attempts=task.attempts)
        return replace(answer, attempts=task.attempts)

    async def _persist(self, url: str, task: _Task) -> Answer:
        """The answer of the last attempt: another is too late, or would not help."""
        while True:
            task.attempts += 1
            answer = await self._follow(url, task)
            if task.attempts > self._settings.retries or not answer.may_heal:
                return answer
            wait = retry.pause(
                task.attempts, answer.retry_after, random.random(), first=retry.FIRST_PAUSE
            )
            if wait >= task.left():
                return answer
            task.permit.release()
            await trio.sleep(wait)

    async def _follow(self, url: str, task: _Task) -> Answer:
        """One attempt, over all its redirects."""
        answer = Answer()
        try:
            at = _target(url)
            for _ in range(self._settings.max_redirects + 1):
                answer, location = await self._hop(at, task)
                if location is None:
                    return answer
                at = _redirected(at, location)
        except Fault as fault:
            # Status and address are those of the redirect that led here, if any.
            return replace(answer, reason=fault.reason, temporary=fault.temporary)
        return replace(answer, reason="too_many_redirects")

    async def _hop(self, at: Url, task: _Task) -> tuple[Answer, str | None]:
        """One request; a redirect's target is the second value."""
        if not port_allowed(at.port):
            raise Fault("bad_url")
        if not self._settings.guard.allows_host(at.host):
            raise Fault("forbidden_address")
        if task.for_robots:
            return await self._exchange(at, task)
        if self._settings.respect_robots_txt and not await self._robots_allow(at):
            return Answer("robots_txt", url=at.href), None
        try:
            with task.standing_still():
                await self._hosts.enter(at.host)
        except politeness.HostRestsError as rests:
            return Answer(f"http_{rests.status}", rests.status, at.href), None
        try:
            answer, location = await self._watched(at, task)
        finally:
            self._hosts.leave(at.host)
        if answer.status in (429, 503):
            wait = retry.FIRST_PAUSE if answer.retry_after is None else answer.retry_after
            self._hosts.rest(at.host, answer.status, wait)
        return answer, location

    async def _watched(self, at: Url, task: _Task) -> tuple[Answer, str | None]:
        """The exchange, with an eye on whether the host answers at all."""
        if self._hosts.is_stalled(at.host):
            raise Fault("timeout")
        task.asking = at.host
        try:
            found = await self._exchange(at, task)
        except Fault as fault:
            task.asking = ""
            if fault.reason == "timeout":
                self._hosts.timed_out(at.host)
            raise
        task.asking = ""
        self._hosts.answered(at.host)
        return found

    async def _exchange(self, at: Url, task: _Task) -> tuple[Answer, str | None]:
        """Send the request, over a kept connection or a new one, and read what is wanted."""
        route = self._route(at)
        while True:
            connection = self._connections.take(route)
            if connection is None:
                connection = await self._connections.open(route, self._agent)
            kept = False
            try:
                answer = await self._ask(connection, at, task)
                kept = connection.finish()
                return answer
            except Fault:
                # The server hung up while we sent: no answer of its, and no fault either.
                if connection.fresh or connection.wire.received:
                    raise
            finally:
                if kept:
                    self._connections.give(connection)
                else:
                    connection.close()

    def _route(self, at: Url) -> Route:
        proxy = self._proxies.choose(at.scheme, at.host, at.port)
        return Route(at.scheme, at.host.strip("[]"), at.port, at.authority.encode(), proxy)

    async def _ask(self, connection: Connection, at: Url, task: _Task) -> tuple[Answer, str | None]:
        headers = [
            (b"Host", at.authority.encode()),
            self._agent,
            (b"Accept", b"image/avif,image/webp,image/*,*/*;q=0.8"),
            (b"Accept-Encoding", b"identity"),
        ]
        response = await connection.ask(at.target.encode(), headers)
        lines = [(_text(name).lower(), _text(value)) for name, value in response.headers]
        fields = dict(reversed(lines))
        answer = Answer(
            status=response.status_code,
            url=at.href,
            content_type=fields.get("content-type", "")[:200],
        )
        if answer.status in REDIRECTS and fields.get("location"):
            return answer, fields["location"]
        if answer.status != 200:
            wait = retry.retry_after(fields.get("retry-after", ""))
            return replace(answer, reason=f"http_{answer.status}", retry_after=wait), None
        if self._settings.respect_opt_out and not task.for_robots:
            word = robots.opted_out(lines, self._token)
            if word:
                return replace(answer, reason="opted_out", opt_out=word), None
        body = Body(fields, task.max_bytes, cut=task.for_robots)
        reason = body.refused or await self._take(body, connection, task)
        answer = replace(answer, reason=reason, received=body.counted)
        return answer if reason else replace(answer, body=body.data), None

    async def _take(self, body: Body, connection: Connection, task: _Task) -> str:
        read = mark = 0
        with trio.move_on_after(PACE_SECONDS) as pace:
            try:
                while (piece := await connection.piece()) is not None:
                    if body.is_large:
                        pace.deadline = float("inf")
                        with task.standing_still():
                            await task.permit.acquire()
                        mark = read - PACE_BYTES
                    if not body.feed(piece):
                        break
                    read += len(piece)
                    if read - mark >= PACE_BYTES:
                        mark = read
                        pace.deadline = trio.current_time() + PACE_SECONDS
            except Fault as fault:
                if fault.reason == "reset":
                    raise
                return fault.reason
        if pace.cancelled_caught:
            raise Fault("timeout")
        return body.finish()

    async def _robots_allow(self, at: Url) -> bool:
        """What the host's robots.txt says; raises the Fault that kept us from reading it."""
        origin = at.origin
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
        self._hosts.slow_down(at.host, rules.robots.crawl_delay)
        return rules.robots.allows(at.target)

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
        with trio.move_on_after(self._settings.deadline_seconds) as scope:
            return await self._persist(url, _Task(scope, permit, robots.MAX_BYTES, for_robots=True))
        return Answer("timeout")


@asynccontextmanager
async def open_client(settings: Settings) -> AsyncIterator[Client]:
    """A client for many requests; leaving the context stops what it still does."""
    async with trio.open_nursery() as nursery:
        client = Client(settings, nursery)
        try:
            yield client
        finally:
            client.close()
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


def _target(url: str) -> Url:
    try:
        return Url.parse(url)
    except UrlError:
        raise Fault("bad_url") from None


def _redirected(at: Url, location: str) -> Url:
    """Where a Location header leads."""
    try:
        return Base(at.href).resolve(location)
    except UrlError:
        raise Fault("bad_redirect") from None


def _text(value: bytes) -> str:
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        text = value.decode("latin-1")
    return text if text.isprintable() else "".join(c for c in text if c.isprintable())
