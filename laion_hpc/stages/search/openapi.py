"""The OpenAPI description of the service, made from the models that check requests."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from laion_hpc import __version__
from laion_hpc.stages.search.clip_retrieval import KnnRequest, MetadataRequest
from laion_hpc.stages.search.export import FORMATS
from laion_hpc.stages.search.queries import ExportRequest, SearchRequest

Json = dict[str, Any]
REQUESTS = (SearchRequest, ExportRequest, KnnRequest, MetadataRequest)
_REFERENCE = "#/components/schemas/{model}"


def description() -> Json:
    """The document of `/openapi.json`."""
    _, schemas = models_json_schema(
        [(kind, "validation") for kind in REQUESTS], ref_template=_REFERENCE
    )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "laion-hpc search",
            "version": __version__,
            "description": "Search an index of images by words, images, examples and vectors. "
            "A client that asks too often is told 429 and when to come back.",
        },
        "paths": _paths(),
        "components": {"schemas": {**schemas["$defs"], **_answers_of_ours()}},
    }


def _paths() -> Json:
    return {
        "/api/search": _post("Search, or sample at random", SearchRequest, _json(_ref("Results"))),
        "/api/histograms": _post(
            "How the numbers of the best results are spread", SearchRequest, _json(_ref("Spread"))
        ),
        "/api/export": _post(
            "Write items, or what a query finds, to a file",
            ExportRequest,
            {kind.partition(";")[0]: {"schema": {}} for kind in FORMATS.values()},
        ),
        "/api/item/{id}": _get("One item", _json(_ref("Item")), _ID, _INDEX),
        "/api/indices": _get("The indices served", _json(_array(_ref("Index")))),
        "/image/{index}/{id}": _get(
            "Stored image of an item",
            {f"image/{kind}": {"schema": {}} for kind in ("jpeg", "png", "webp")},
            _path("index", {"type": "string", "maxLength": 200}),
            _ID,
        ),
        "/knn-service": _post(
            "clip-retrieval's search", KnnRequest, _json(_array(_ref("KnnResult")))
        ),
        "/metadata": _post(
            "clip-retrieval's metadata", MetadataRequest, _json(_array(_ref("Metadata")))
        ),
        "/indices-list": _get(
            "clip-retrieval's list of indices", _json(_array({"type": "string"}))
        ),
        "/config.json": _get("The config of clip-retrieval's front end", _json({"type": "object"})),
        "/metrics": _get("Prometheus metrics", {"text/plain": {"schema": {"type": "string"}}}),
        "/openapi.json": _get("This description", _json({"type": "object"})),
    }


def _answers_of_ours() -> Json:
    count: Json = {"type": "integer", "minimum": 0}
    number: Json = {"type": ["number", "null"]}
    text: Json = {"type": "string"}
    return {
        "Item": _object(
            "An item of the index with the columns of its metadata.",
            {
                "id": count,
                "score": number | {"description": "Cosine with the query; null without one."},
                "image": text | {"description": "Path of its stored image; or empty."},
                "key": text,
                "url": text,
                "caption": text,
            },
        ),
        "Results": _object(
            "A page of results.",
            {
                "index": text,
                "results": _array(_ref("Item")),
                "more": {"type": "boolean", "description": "There are further results."},
                "where": text | {"description": "The filter as SQL, for `laion-hpc subset`."},
            },
        ),
        "Bars": _object(
            "A histogram: n + 1 ends and n counts.",
            {
                "edges": _array({"type": "number"}),
                "counts": _array(count),
            },
        ),
        "Spread": _object(
            "Histograms of the best results, by column; `size` is the shorter side.",
            {
                "index": text,
                "counted": count,
                "columns": {"type": "object", "additionalProperties": _ref("Bars")},
            },
        ),
        "Index": _object(
            "An index and what can be asked of it.",
            {
                "name": text,
                "count": count,
                "dimension": count,
                "model": text,
                "text": text | {"description": "loading, ready, or why there is no model."},
                "columns": _array(text),
                "safe_mode": {"type": "boolean"},
                "thumbnails": {"type": "boolean"},
                "max_results": count,
                "max_export": count,
                "max_body_bytes": count,
                "similarity": _array({"type": "number"}),
                "languages": _array({"type": "array"}),
                "licenses": _array({"type": "array"}),
            },
        ),
        "KnnResult": {
            "type": "object",
            "description": "With metadata up to num_images, without after.",
            "required": ["id", "similarity"],
            "properties": {"id": count, "similarity": {"type": "number"}},
        },
        "Metadata": _object(
            "The metadata of an id.", {"id": count, "metadata": {"type": "object"}}
        ),
        "Error": _object("Why it was refused.", {"error": text}),
    }


def _ref(name: str) -> Json:
    return {"$ref": _REFERENCE.format(model=name)}


def _json(schema: Json) -> Json:
    return {"application/json": {"schema": schema}}


def _array(items: Json) -> Json:
    return {"type": "array", "items": items}


def _object(meaning: str, properties: Json) -> Json:
    return {
        "type": "object",
        "description": meaning,
        "required": list(properties),
        "properties": properties,
    }


def _path(name: str, schema: Json) -> Json:
    return {"name": name, "in": "path", "required": True, "schema": schema}


_ID = _path("id", {"type": "integer", "minimum": 0, "maximum": 2**53 - 1})
_INDEX: Json = {
    "name": "index",
    "in": "query",
    "description": "Name of the index; left out: the first.",
    "schema": {"type": "string", "maxLength": 200},
}


def _answers(content: Json) -> Json:
    def refused(why: str) -> Json:
        return {"description": why, "content": _json(_ref("Error"))}

    return {
        "200": {"description": "Done.", "content": content},
        "400": refused("The request makes no sense; the field at fault is named."),
        "403": refused("Images by URL are switched off."),
        "404": refused("There is no such index, item or stored image."),
        "413": refused("The request, or an image in it, is too large."),
        "415": refused("That is not an image."),
        "422": refused("The image could not be fetched."),
        "429": refused("Too many requests; Retry-After tells the seconds to wait."),
        "503": refused("No model to embed the query."),
    }


def _get(summary: str, content: Json, *parameters: Json) -> Json:
    answers = _answers(content)
    kept = {status: answers[status] for status in ("200", "404", "429")}
    return {"get": {"summary": summary, "parameters": list(parameters), "responses": kept}}


def _post(summary: str, body: type[BaseModel], content: Json) -> Json:
    return {
        "post": {
            "summary": summary,
            "requestBody": {"required": True, "content": _json(_ref(body.__name__))},
            "responses": _answers(content),
        }
    }
