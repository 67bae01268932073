"""The web application: which path is answered by what."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from laion_hpc.search import clip_retrieval, page
from laion_hpc.search.clip_retrieval import KnnRequest, MetadataRequest
from laion_hpc.search.collection import Collection
from laion_hpc.search.faults import RequestError
from laion_hpc.search.metrics import Metrics
from laion_hpc.search.openapi import description
from laion_hpc.search.queries import SearchRequest, parse
from laion_hpc.search.service import Service

Endpoint = Callable[[Request], Awaitable[Response]]
LANGUAGES = 60
"""Languages that the page offers to filter by: the commonest."""
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        # Images come from wherever they were found on the web, or from the shards.
        "img-src 'self' data: blob: https: http:; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    # Sites whose images are shown do not learn what was searched for.
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
OPEN = {
    "access-control-allow-origin": "*",
    "access-control-allow-methods": "GET, POST, OPTIONS",
    "access-control-allow-headers": "*",
}
"""On clip-retrieval's paths: its front end is served from elsewhere."""


def create_app(service: Service) -> Starlette:
    """The application over a service, which it closes when it is shut down."""
    api = _Api(service)

    @asynccontextmanager
    async def life(_app: Starlette) -> AsyncIterator[None]:
        yield
        service.close()

    routes: list[BaseRoute] = [
        Route("/api/search", _closed(api.search), methods=["POST"]),
        Route("/api/item/{id}", _closed(api.item), methods=["GET"]),
        Route("/api/indices", _closed(api.indices), methods=["GET"]),
        Route("/image/{index}/{id}", _closed(api.image), methods=["GET"]),
        Route("/openapi.json", _closed(api.openapi), methods=["GET"]),
        Route("/knn-service", _opened(api.knn), methods=["POST", "OPTIONS"]),
        Route("/metadata", _opened(api.metadata), methods=["POST", "OPTIONS"]),
        Route("/indices-list", _opened(api.indices_list), methods=["GET", "OPTIONS"]),
        Route("/config.json", _opened(api.front_config), methods=["GET", "OPTIONS"]),
        Route("/metrics", _opened(api.metrics), methods=["GET", "OPTIONS"]),
        *page.routes(),
    ]
    return Starlette(
        routes=routes,
        lifespan=life,
        middleware=[Middleware(_Frame, metrics=api.counted)],
        exception_handlers={RequestError: _refused, HTTPException: _refused, Exception: _broken},
    )


class _Api:
    def __init__(self, service: Service) -> None:
        self._service = service
        self.counted = Metrics()

    async def search(self, request: Request) -> Response:
        query = parse(SearchRequest, await self._body(request))
        return _json(await self._service.search(query))

    async def item(self, request: Request) -> Response:
        collection = self._service.collection(request.query_params.get("index", ""))
        number = _number(request.path_params["id"])
        return _json(await self._service.in_thread(lambda: self._service.item(collection, number)))

    async def image(self, request: Request) -> Response:
        collection = self._service.collection(request.path_params["index"])
        number = _number(request.path_params["id"])
        data, media_type = await self._service.in_thread(
            lambda: self._service.image(collection, number)
        )
        return Response(
            data, media_type=media_type, headers={"cache-control": "public, max-age=3600"}
        )

    async def indices(self, _request: Request) -> Response:
        return _json(
            [
                await self._service.in_thread(partial(self._about, collection))
                for collection in self._service.collections.values()
            ]
        )

    def _about(self, collection: Collection) -> dict[str, Any]:
        columns = collection.table.columns
        return {
            "name": collection.name,
            "count": collection.count,
            "dimension": collection.about.dimension,
            "model": collection.model.name,
            "text": self._service.embedder(collection).state,
            "columns": list(columns),
            "safe_mode": "punsafe" in columns,
            "thumbnails": self._service.images is not None,
            "max_results": self._service.config.max_results,
            "max_body_bytes": self._service.config.max_body_bytes,
            "languages": collection.table.survey("language").most_common(LANGUAGES),
        }

    async def openapi(self, _request: Request) -> Response:
        return _json(description())

    async def knn(self, request: Request) -> Response:
        query = parse(KnnRequest, await self._body(request))
        return _json(await clip_retrieval.knn(self._service, query))

    async def metadata(self, request: Request) -> Response:
        query = parse(MetadataRequest, await self._body(request))
        return _json(await clip_retrieval.metadata(self._service, query))

    async def indices_list(self, _request: Request) -> Response:
        return _json(list(self._service.collections))

    async def front_config(self, request: Request) -> Response:
        return _json(
            {
                "defaultBackend": str(request.base_url).rstrip("/"),
                "defaultIndex": next(iter(self._service.collections)),
                "urlColumn": "url",
            }
        )

    async def metrics(self, _request: Request) -> Response:
        counts = {name: entry.count for name, entry in self._service.collections.items()}
        return Response(
            self.counted.text(counts), media_type="text/plain; version=0.0.4; charset=utf-8"
        )

    async def _body(self, request: Request) -> bytes:
        most = self._service.config.max_body_bytes
        body = bytearray()
        try:
            async for chunk in request.stream():
                body += chunk
                if len(body) > most:
                    raise RequestError(f"the request is larger than {most:,} bytes", 413)
        except ClientDisconnect:
            raise RequestError("the request was broken off") from None
        return bytes(body)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise RequestError(f"{text[:40]!r} is not the id of an item", 404)
    return int(text)


def _json(content: Any, status: int = 200) -> Response:
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # Lone surrogates in captions (broken pages) cannot be sent as UTF-8.
    return Response(
        text.encode("utf-8", "replace"), status, media_type="application/json; charset=utf-8"
    )


async def _refused(_request: Request, error: Exception) -> Response:
    if isinstance(error, RequestError):
        return _json({"error": str(error)}, error.status)
    assert isinstance(error, HTTPException)
    response = _json({"error": error.detail}, error.status_code)
    response.headers.update(error.headers or {})
    return response


async def _broken(_request: Request, _error: Exception) -> Response:
    # What went wrong is in the log; strangers need not read it.
    return _json({"error": "the service made a mistake; its log tells more"}, 500)


def _closed(endpoint: Endpoint) -> Endpoint:
    async def answer(request: Request) -> Response:
        response = await endpoint(request)
        response.headers.setdefault("cache-control", "no-store")
        return response

    return answer


def _opened(endpoint: Endpoint) -> Endpoint:
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


class _Frame:
    """Around every request: the headers that keep the page safe, and the count of it."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = time.perf_counter(), 500

        async def framed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                fixed = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message.get("headers", []), *fixed]
            await send(message)

        try:
            await self._app(scope, receive, framed)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.answered(route, status, time.perf_counter() - start)
