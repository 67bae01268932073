"""What is done for every request: security headers, the rate limit, the metrics."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from laion_hpc.stages.search.http.limits import Limiter, client_of
from laion_hpc.stages.search.http.metrics import OTHER, Metrics
from laion_hpc.stages.search.http.routes import COSTS

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        # Images come from any site on the web, or from the shards.
        "img-src 'self' data: blob: https: http:; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    # Sites whose images are shown do not learn what was searched for.
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}


class Frame:
    """Middleware; `routes` (by pattern) are limited and counted."""

    def __init__(
        self,
        app: ASGIApp,
        routes: Sequence[Route],
        metrics: Metrics,
        limiter: Limiter,
        trusted: Sequence[str],
    ) -> None:
        self._app, self._routes = app, tuple(routes)
        self._metrics, self._limiter, self._trusted = metrics, limiter, trusted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a client that asks too often, else pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = time.perf_counter(), 500
        route = self._route(scope)

        async def framed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                fixed = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message.get("headers", []), *fixed]
            await send(message)

        try:
            if wait := self._wait(scope, route):
                await _too_many(wait)(scope, receive, framed)
            else:
                await self._app(scope, receive, framed)
        finally:
            self._metrics.answered(route, status, time.perf_counter() - start)

    def _route(self, scope: Scope) -> str:
        for route in self._routes:
            if route.matches(scope)[0] != Match.NONE:
                return route.path
        return OTHER

    def _wait(self, scope: Scope, route: str) -> float:
        cost = 0.0 if scope["method"] == "OPTIONS" else COSTS.get(route, 0.0)
        if not cost or not self._limiter.limits:
            return 0.0
        forwarded = Request(scope).headers.getlist("x-forwarded-for")
        peer = (scope.get("client") or ("",))[0]
        client = client_of(peer, ",".join(forwarded), self._trusted)
        return self._limiter.wait(client, cost)


def _too_many(seconds: float) -> Response:
    wait = math.ceil(seconds)
    unit = "second" if wait == 1 else "seconds"
    return Response(
        json.dumps({"error": f"too many requests; try again in {wait} {unit}"}),
        429,
        media_type="application/json",
        headers={"retry-after": str(wait), "access-control-allow-origin": "*"},
    )
