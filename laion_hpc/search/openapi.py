"""The OpenAPI description of the service, made from the models that check requests."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from laion_hpc import __version__
from laion_hpc.search.clip_retrieval import KnnRequest, MetadataRequest
from laion_hpc.search.queries import SearchRequest

Json = dict[str, Any]
_REFERENCE = "#/components/schemas/{model}"


def description() -> Json:
    """The document of `/openapi.json`."""
    _, schemas = models_json_schema(
        [(kind, "validation") for kind in (SearchRequest, KnnRequest, MetadataRequest)],
        ref_template=_REFERENCE,
    )
    components: Json = {
        **schemas["$defs"],
        "Item": {
            "type": "object",
            "description": "An item of the index with the columns of its metadata.",
            "required": ["id", "score", "image", "key", "url", "caption"],
            "properties": {
                "id": {"type": "integer", "minimum": 0},
                "score": {"type": ["number", "null"], "description": "Cosine with the query."},
                "image": {"type": "string", "description": "Path of its stored image; or empty."},
                "key": {"type": "string"},
                "url": {"type": "string"},
                "caption": {"type": "string"},
            },
        },
        "Results": {
            "type": "object",
            "required": ["index", "results", "more"],
            "properties": {
                "index": {"type": "string"},
                "results": {"type": "array", "items": _ref("Item")},
                "more": {"type": "boolean"},
            },
        },
        "Error": {
            "type": "object",
            "required": ["error"],
            "properties": {"error": {"type": "string"}},
        },
    }
    array: Json = {"type": "array"}
    return {
        "openapi": "3.1.0",
        "info": {"title": "laion-hpc search", "version": __version__},
        "paths": {
            "/api/search": _post("Search, or sample at random", SearchRequest, _ref("Results")),
            "/api/item/{id}": _get("One item", _ref("Item"), _path("id", "integer"), _INDEX),
            "/api/indices": _get("The indices served", array),
            "/image/{index}/{id}": _get(
                "Stored image of an item", None, _path("index", "string"), _path("id", "integer")
            ),
            "/knn-service": _post("clip-retrieval's search", KnnRequest, array),
            "/metadata": _post("clip-retrieval's metadata", MetadataRequest, array),
            "/indices-list": _get("clip-retrieval's list of indices", array),
            "/metrics": _get("Prometheus metrics", None),
        },
        "components": {"schemas": components},
    }


_INDEX: Json = {
    "name": "index",
    "in": "query",
    "description": "Name of the index; left out: the first.",
    "schema": {"type": "string"},
}


def _ref(name: str) -> Json:
    return {"$ref": _REFERENCE.format(model=name)}


def _path(name: str, kind: str) -> Json:
    return {"name": name, "in": "path", "required": True, "schema": {"type": kind}}


def _answers(schema: Json | None) -> Json:
    done: Json = {"description": "Done."}
    if schema is not None:
        done["content"] = {"application/json": {"schema": schema}}
    refused = {"application/json": {"schema": _ref("Error")}}
    return {"200": done, "4XX": {"description": "Refused.", "content": refused},
            "503": {"description": "No model to embed the query.", "content": refused}}  # fmt: skip


def _get(summary: str, schema: Json | None, *parameters: Json) -> Json:
    return {
        "get": {"summary": summary, "parameters": list(parameters), "responses": _answers(schema)}
    }


def _post(summary: str, body: type[BaseModel], schema: Json) -> Json:
    content = {"application/json": {"schema": _ref(body.__name__)}}
    return {
        "post": {
            "summary": summary,
            "requestBody": {"required": True, "content": content},
            "responses": _answers(schema),
        }
    }
