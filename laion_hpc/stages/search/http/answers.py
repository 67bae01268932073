"""JSON schemas of answers and parameters, for the OpenAPI description."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]
REFERENCE = "#/components/schemas/{model}"


def ref(name: str) -> Json:
    """A reference to a schema by its name."""
    return {"$ref": REFERENCE.format(model=name)}


def json_body(schema: Json) -> Json:
    """A body of JSON."""
    return {"application/json": {"schema": schema}}


def array(items: Json) -> Json:
    """A list of items of one schema."""
    return {"type": "array", "items": items}


def described(meaning: str, properties: Json) -> Json:
    """An object that has all its properties."""
    return {
        "type": "object",
        "description": meaning,
        "required": list(properties),
        "properties": properties,
    }


def in_path(name: str, schema: Json) -> Json:
    """A parameter that is a part of the path."""
    return {"name": name, "in": "path", "required": True, "schema": schema}


ID = in_path("id", {"type": "integer", "minimum": 0, "maximum": 2**53 - 1})
INDEX: Json = {
    "name": "index",
    "in": "query",
    "description": "Name of the index; default: the first.",
    "schema": {"type": "string", "maxLength": 200},
}


def components() -> Json:
    """The schemas of all answers, by name."""
    count: Json = {"type": "integer", "minimum": 0}
    number: Json = {"type": ["number", "null"]}
    text: Json = {"type": "string"}
    return {
        "Item": described(
            "An item of the index with the columns of its metadata.",
            {
                "id": count,
                "score": number | {"description": "Cosine with the query; null without one."},
                "image": text | {"description": "Path of its stored image, or empty."},
                "key": text,
                "url": text,
                "caption": text,
            },
        ),
        "Results": described(
            "A page of results.",
            {
                "index": text,
                "results": array(ref("Item")),
                "more": {"type": "boolean", "description": "There are further results."},
                "where": text | {"description": "The filter as SQL, for `laion-hpc subset`."},
            },
        ),
        "Bars": described(
            "A histogram: n + 1 ends and n counts.",
            {
                "edges": array({"type": "number"}),
                "counts": array(count),
            },
        ),
        "Spread": described(
            "Histograms of the best results, by column; `size` is the shorter side.",
            {
                "index": text,
                "counted": count,
                "columns": {"type": "object", "additionalProperties": ref("Bars")},
            },
        ),
        "Index": described(
            "An index and what it can answer.",
            {
                "name": text,
                "count": count,
                "dimension": count,
                "model": text,
                "text": text | {"description": "loading, ready, or why there is no model."},
                "columns": array(text),
                "safe_mode": {"type": "boolean"},
                "thumbnails": {"type": "boolean"},
                "max_results": count,
                "max_export": count,
                "max_body_bytes": count,
                "similarity": array({"type": "number"}),
                "languages": array({"type": "array"}),
                "licenses": array({"type": "array"}),
            },
        ),
        "KnnResult": {
            "type": "object",
            "description": "The first num_images have metadata, the rest have none.",
            "required": ["id", "similarity"],
            "properties": {"id": count, "similarity": {"type": "number"}},
        },
        "Metadata": described(
            "The metadata of an id.", {"id": count, "metadata": {"type": "object"}}
        ),
        "Error": described("Why it was refused.", {"error": text}),
    }
