"""The web application: the table of routes, its handlers and the frame, put together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from laion_hpc.stages.search.faults import RequestError
from laion_hpc.stages.search.http import page
from laion_hpc.stages.search.http.frame import Frame
from laion_hpc.stages.search.http.handlers import Handlers, json_response
from laion_hpc.stages.search.http.limits import Limiter
from laion_hpc.stages.search.http.metrics import Metrics
from laion_hpc.stages.search.http.routes import ROUTES, ServiceRoute
from laion_hpc.stages.search.service import Service

Endpoint = Callable[[Request], Awaitable[Response]]
OPEN = {
    "access-control-allow-origin": "*",
    "access-control-allow-methods": "GET, POST, OPTIONS",
    "access-control-allow-headers": "*",
}
"""For clip-retrieval's paths: its front end has another origin."""


def create_app(
    service: Service, *, metrics: Metrics | None = None, limiter: Limiter | None = None
) -> Starlette:
    """The application over a service, which it closes when it is shut down.

    `metrics` and `limiter` are given where several workers share them.
    """
    metrics = metrics or Metrics()
    limiter = limiter or Limiter(service.config.rate_limit)
    handlers = Handlers(service, metrics)

    @asynccontextmanager
    async def life(_app: Starlette) -> AsyncIterator[None]:
        yield
        service.close()

    routes = [_route(route, getattr(handlers, route.handler)) for route in ROUTES]
    framed = Middleware(
        Frame,
        routes=routes,
        metrics=metrics,
        limiter=limiter,
        trusted=service.config.trusted_proxies,
    )
    return Starlette(
        routes=[*routes, *page.routes()],
        lifespan=life,
        middleware=[framed],
        exception_handlers={RequestError: _refused, HTTPException: _refused, Exception: _broken},
    )


def _route(route: ServiceRoute, answer: Endpoint) -> Route:
    if route.shared:
        return Route(route.path, _shared(answer), methods=[route.method, "OPTIONS"])
    return Route(route.path, _closed(answer), methods=[route.method])


async def _refused(_request: Request, error: Exception) -> Response:
    if isinstance(error, RequestError):
        return json_response({"error": str(error)}, error.status)
    assert isinstance(error, HTTPException)
    response = json_response({"error": error.detail}, error.status_code)
    response.headers.update(error.headers or {})
    return response


async def _broken(_request: Request, _error: Exception) -> Response:
    # Details are in the log only: strangers must not read them.
    return json_response({"error": "the service failed; its log says why"}, 500)


def _closed(endpoint: Endpoint) -> Endpoint:
    async def answer(request: Request) -> Response:
        response = await endpoint(request)
        response.headers.setdefault("cache-control", "no-store")
        return response

    return answer


def _shared(endpoint: Endpoint) -> Endpoint:
    async def answer(request: Request) -> Response:
        if request.method == "OPTIONS":
            return Response(status_code=204, headers=OPEN)
        try:
            response = await endpoint(request)
        except RequestError as error:
            response = await _refused(request, error)
        response.headers.update(OPEN)
        return response

    return answer
