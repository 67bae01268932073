"""The page: a few files of the package, read once; a request never opens a file."""

from __future__ import annotations

import hashlib
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


def routes() -> list[BaseRoute]:
    """One route per file of `static/`, and `/` for index.html."""
    made: list[BaseRoute] = []
    for file in sorted(files("laion_hpc.stages.search").joinpath("static").iterdir(), key=str):
        suffix = "." + file.name.rpartition(".")[2]
        if suffix in TYPES:
            path = "/" if file.name == "index.html" else f"/{file.name}"
            made.append(_route(path, file.read_bytes(), TYPES[suffix]))
    return made


def _route(path: str, data: bytes, media_type: str) -> Route:
    tag = f'"{hashlib.sha256(data).hexdigest()[:16]}"'
    headers = {"etag": tag, "cache-control": "no-cache"}

    async def answer(request: Request) -> Response:
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(data, media_type=media_type, headers=headers)

    return Route(path, answer, methods=["GET"])
