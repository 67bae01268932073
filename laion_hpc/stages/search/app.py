"""The web application: which path is answered by what."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from laion_hpc.errors import InputError
from laion_hpc.stages.search import clip_retrieval, export, page
from laion_hpc.stages.search.clip_retrieval import KnnRequest, MetadataRequest
from laion_hpc.stages.search.collection import Collection
from laion_hpc.stages.search.faults import RequestError
from laion_hpc.stages.search.frame import Frame
from laion_hpc.stages.search.knn import Hits
from laion_hpc.stages.search.limits import Limiter
from laion_hpc.stages.search.metrics import Metrics
from laion_hpc.stages.search.openapi import description
from laion_hpc.stages.search.queries import ExportRequest, SearchRequest, parse
from laion_hpc.stages.search.service import Service

Endpoint = Callable[[Request], Awaitable[Response]]
LANGUAGES = 60
"""Languages, and licences, that the page offers to filter by: the commonest."""
CHUNK_BYTES = 1 << 18
EXPORTS = 2
"""Exports written at the same time; who comes then waits."""
OPEN = {
    "access-control-allow-origin": "*",
    "access-control-allow-methods": "GET, POST, OPTIONS",
    "access-control-allow-headers": "*",
}
"""On clip-retrieval's paths: its front end is served from elsewhere."""


def create_app(
    service: Service, *, metrics: Metrics | None = None, limiter: Limiter | None = None
) -> Starlette:
    """The application over a service, which it closes when it is shut down.

    `metrics` and `limiter` are given where several workers share them.
    """
    metrics = metrics or Metrics()
    limiter = limiter or Limiter(service.config.rate_limit)
    api = _Api(service, metrics)

    @asynccontextmanager
    async def life(_app: Starlette) -> AsyncIterator[None]:
        yield
        service.close()

    routes = [
        Route("/api/search", _closed(api.search), methods=["POST"]),
        Route("/api/histograms", _closed(api.histograms), methods=["POST"]),
        Route("/api/export", _closed(api.exported), methods=["POST"]),
        Route("/api/item/{id}", _closed(api.item), methods=["GET"]),
        Route("/api/indices", _closed(api.indices), methods=["GET"]),
        Route("/image/{index}/{id}", _closed(api.image), methods=["GET"]),
        Route("/openapi.json", _closed(api.openapi), methods=["GET"]),
        Route("/knn-service", _opened(api.knn), methods=["POST", "OPTIONS"]),
        Route("/metadata", _opened(api.metadata), methods=["POST", "OPTIONS"]),
        Route("/indices-list", _opened(api.indices_list), methods=["GET", "OPTIONS"]),
        Route("/config.json", _opened(api.front_config), methods=["GET", "OPTIONS"]),
        Route("/metrics", _opened(api.metrics), methods=["GET", "OPTIONS"]),
    ]
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


class _Api:
    def __init__(self, service: Service, metrics: Metrics) -> None:
        self._service = service
        self._metrics = metrics
        self._exports = asyncio.Semaphore(EXPORTS)

    async def search(self, request: Request) -> Response:
        query = parse(SearchRequest, await self._body(request))
        return _json(await self._service.search(query))

    async def histograms(self, request: Request) -> Response:
        query = parse(SearchRequest, await self._body(request))
        return _json(await self._service.histograms(query))

    async def exported(self, request: Request) -> Response:
        wanted = parse(ExportRequest, await self._body(request))
        async with self._exports:
            collection, hits = await self._chosen(wanted)
            file = await self._service.in_thread(partial(self._written, wanted, collection, hits))
        stream, written = file
        name = f"{collection.name}-subset.{wanted.format}"
        return StreamingResponse(
            _chunks(stream),
            media_type=export.FORMATS[wanted.format],
            headers={
                "content-disposition": f'attachment; filename="{name}"',
                "content-length": str(os.fstat(stream.fileno()).st_size),
                "x-rows": str(written.kept),
                "x-left-out": str(sum(written.dropped.values())),
            },
        )

    async def _chosen(self, wanted: ExportRequest) -> tuple[Collection, Hits]:
        most = self._service.config.max_export
        count = len(wanted.ids) if wanted.query is None else wanted.num
        if count > most:
            raise RequestError(
                f"{count:,} rows, the most is {most:,} (search.max_export); `laion-hpc subset` "
                "writes any number"
            )
        if wanted.query is not None:
            collection = self._service.collection(wanted.query.index)
            return collection, await self._service.found(collection, wanted.query, count)
        collection = self._service.collection(wanted.index)
        return collection, self._service.basket(collection, wanted.ids)

    def _written(
        self, wanted: ExportRequest, collection: Collection, hits: Hits
    ) -> tuple[BinaryIO, export.Written]:
        """The file, open and already without a name: it is gone when it is closed, whatever
        becomes of the request."""
        with tempfile.TemporaryDirectory(prefix="laion-hpc-export-") as folder:
            path = Path(folder) / "subset"
            images = self._service.images
            try:
                written = export.write(path, wanted.format, collection, hits, images)
            except InputError as error:
                raise RequestError(str(error)) from None
            return path.open("rb"), written

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
            "max_export": self._service.config.max_export,
            "max_body_bytes": self._service.config.max_body_bytes,
            "similarity": [collection.similarity_edges[0], collection.similarity_edges[-1]],
            "languages": collection.table.survey("language").most_common(LANGUAGES),
            "licenses": collection.table.survey("license").most_common(LANGUAGES),
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
        # Behind a proxy with TLS we are asked by http, but our address is https.
        forwarded = request.headers.get("x-forwarded-proto", "")
        base = request.base_url
        if forwarded in ("http", "https"):
            base = base.replace(scheme=forwarded)
        return _json(
            {
                "defaultBackend": str(base).rstrip("/"),
                "defaultIndex": next(iter(self._service.collections)),
                "urlColumn": "url",
            }
        )

    async def metrics(self, _request: Request) -> Response:
        counts = {name: entry.count for name, entry in self._service.collections.items()}
        return Response(
            self._metrics.text(counts), media_type="text/plain; version=0.0.4; charset=utf-8"
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


def _chunks(stream: BinaryIO) -> Iterator[bytes]:
    with stream:
        while chunk := stream.read(CHUNK_BYTES):
            yield chunk


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise RequestError(f"{text[:40]!r} is not the id of an item", 404)
    return int(text)


def _json(content: Any, status: int = 200) -> Response:
    try:
        data = msgspec.json.encode(content)
    except UnicodeEncodeError:
        # An error that quotes a lone surrogate, which a request may hold and UTF-8 may not.
        data = json.dumps(content, allow_nan=False).encode()
    return Response(data, status, media_type="application/json; charset=utf-8")


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
