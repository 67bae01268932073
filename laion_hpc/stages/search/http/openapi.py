"""The OpenAPI description of the service, made from the table of routes."""

from __future__ import annotations

from pydantic.json_schema import models_json_schema

from laion_hpc import __version__
from laion_hpc.stages.search.http.answers import REFERENCE, Json, components, json_body, ref
from laion_hpc.stages.search.http.routes import ROUTES, ServiceRoute


def description() -> Json:
    """The document of `/openapi.json`."""
    kinds = dict.fromkeys(route.request for route in ROUTES if route.request)
    _, schemas = models_json_schema(
        [(kind, "validation") for kind in kinds], ref_template=REFERENCE
    )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "laion-hpc search",
            "version": __version__,
            "description": "Search an index of images by words, images, examples and vectors. "
            "A client that asks too often gets a 429 and the time to come back.",
        },
        "paths": {route.path: _operation(route) for route in ROUTES},
        "components": {"schemas": {**schemas["$defs"], **components()}},
    }


def _operation(route: ServiceRoute) -> Json:
    answers = _answers(route.content)
    if route.request:
        body = {"required": True, "content": json_body(ref(route.request.__name__))}
        what: Json = {"summary": route.summary, "requestBody": body, "responses": answers}
    else:
        kept = {status: answers[status] for status in ("200", "404", "429")}
        parameters = list(route.parameters)
        what = {"summary": route.summary, "parameters": parameters, "responses": kept}
    return {route.method.lower(): what}


def _answers(content: Json) -> Json:
    def refused(why: str) -> Json:
        return {"description": why, "content": json_body(ref("Error"))}

    return {
        "200": {"description": "Done.", "content": content},
        "400": refused("The request is invalid; the message names the field."),
        "403": refused("Images by URL are switched off."),
        "404": refused("There is no such index, item or stored image."),
        "413": refused("The request, or an image in it, is too large."),
        "415": refused("That is not an image."),
        "422": refused("The image could not be fetched."),
        "429": refused("Too many requests; Retry-After tells the seconds to wait."),
        "503": refused("No model to embed the query."),
    }
