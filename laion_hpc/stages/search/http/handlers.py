"""What each route answers: a request checked, the service asked, its answer as bytes."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse

from laion_hpc.errors import InputError
from laion_hpc.stages.search import export
from laion_hpc.stages.search.faults import RequestError
from laion_hpc.stages.search.http import clip_retrieval
from laion_hpc.stages.search.http.clip_retrieval import KnnRequest, MetadataRequest
from laion_hpc.stages.search.http.metrics import Metrics
from laion_hpc.stages.search.http.openapi import description
from laion_hpc.stages.search.http.queries import ExportRequest, SearchRequest, parse
from laion_hpc.stages.search.knn.collection import Collection
from laion_hpc.stages.search.knn.nearest import Hits
from laion_hpc.stages.search.service import Service

LANGUAGES = 60
"""The page offers this number of languages and licences, the commonest, as filters."""
CHUNK_BYTES = 1 << 18
EXPORTS = 2
"""Exports written at the same time; others wait."""


class Handlers:
    """The methods that `routes.ROUTES` names."""

    def __init__(self, service: Service, metrics: Metrics) -> None:
        self._service = service
        self._metrics = metrics
        self._exports = asyncio.Semaphore(EXPORTS)

    async def search(self, request: Request) -> Response:
        """A page of results."""
        query = parse(SearchRequest, await self._body(request))
        return json_response(await self._service.search(query))

    async def histograms(self, request: Request) -> Response:
        """Histograms of the best results."""
        query = parse(SearchRequest, await self._body(request))
        return json_response(await self._service.histograms(query))

    async def exported(self, request: Request) -> Response:
        """A file of items, streamed."""
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
        """The open file, without a name: it is deleted when it is closed, even if the request
        fails."""
        with tempfile.TemporaryDirectory(prefix="laion-hpc-export-") as folder:
            path = Path(folder) / "subset"
            images = self._service.images
            try:
                written = export.write(path, wanted.format, collection, hits, images)
            except InputError as error:
                raise RequestError(str(error)) from None
            return path.open("rb"), written

    async def item(self, request: Request) -> Response:
        """One item with its metadata."""
        collection = self._service.collection(request.query_params.get("index", ""))
        number = _number(request.path_params["id"])
        return json_response(
            await self._service.in_thread(lambda: self._service.item(collection, number))
        )

    async def image(self, request: Request) -> Response:
        """The stored image of an item."""
        collection = self._service.collection(request.path_params["index"])
        number = _number(request.path_params["id"])
        data, media_type = await self._service.in_thread(
            lambda: self._service.image(collection, number)
        )
        return Response(
            data, media_type=media_type, headers={"cache-control": "public, max-age=3600"}
        )

    async def indices(self, _request: Request) -> Response:
        """What each index can answer."""
        return json_response(
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
        """The description of this service."""
        return json_response(description())

    async def knn(self, request: Request) -> Response:
        """clip-retrieval's search."""
        query = parse(KnnRequest, await self._body(request))
        return json_response(await clip_retrieval.knn(self._service, query))

    async def metadata(self, request: Request) -> Response:
        """clip-retrieval's metadata."""
        query = parse(MetadataRequest, await self._body(request))
        return json_response(await clip_retrieval.metadata(self._service, query))

    async def indices_list(self, _request: Request) -> Response:
        """The names of the indices."""
        return json_response(list(self._service.collections))

    async def front_config(self, request: Request) -> Response:
        """The config of clip-retrieval's front end."""
        # A proxy with TLS asks us over http, but our address is https.
        forwarded = request.headers.get("x-forwarded-proto", "")
        base = request.base_url
        if forwarded in ("http", "https"):
            base = base.replace(scheme=forwarded)
        return json_response(
            {
                "defaultBackend": str(base).rstrip("/"),
                "defaultIndex": next(iter(self._service.collections)),
                "urlColumn": "url",
            }
        )

    async def metrics(self, _request: Request) -> Response:
        """Counts and times for Prometheus."""
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


def json_response(content: Any, status: int = 200) -> Response:
    """An answer in JSON."""
    try:
        data = msgspec.json.encode(content)
    except UnicodeEncodeError:
        # The error quotes a lone surrogate: valid in a request, invalid in UTF-8.
        data = json.dumps(content, allow_nan=False).encode()
    return Response(data, status, media_type="application/json; charset=utf-8")
