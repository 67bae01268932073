"""The table of the service's routes; app, OpenAPI, limits and metrics are made from it.

A new route is one line here and one method of `handlers.Handlers`.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel

from laion_hpc.stages.search.export import FORMATS
from laion_hpc.stages.search.http.answers import ID, INDEX, Json, array, in_path, json_body, ref
from laion_hpc.stages.search.http.clip_retrieval import KnnRequest, MetadataRequest
from laion_hpc.stages.search.http.queries import ExportRequest, SearchRequest


@dataclass(frozen=True)
class ServiceRoute:
    """One path of the service."""

    path: str
    """With its variables in braces."""
    handler: str
    """Method of `handlers.Handlers` that answers."""
    summary: str
    content: Json
    """Media types and schemas of a good answer."""
    request: type[BaseModel] | None = None
    """Model of the body of a POST; without one the route is a GET."""
    parameters: tuple[Json, ...] = ()
    cost: float = 1.0
    """How many requests it counts as under the rate limit; 0: none."""
    shared: bool = False
    """Pages of other origins may use it, such as clip-retrieval's front end."""

    @property
    def method(self) -> str:
        """GET or POST."""
        return "POST" if self.request else "GET"


_FILES: Json = {kind.partition(";")[0]: {"schema": {}} for kind in FORMATS.values()}
_PICTURES: Json = {f"image/{kind}": {"schema": {}} for kind in ("jpeg", "png", "webp")}
_IMAGE_OF = (in_path("index", {"type": "string", "maxLength": 200}), ID)

ROUTES = (
    ServiceRoute(
        "/api/search", "search", "Search, or sample at random", json_body(ref("Results")),
        request=SearchRequest,
    ),
    ServiceRoute(
        "/api/histograms", "histograms", "Histograms of the best results",
        json_body(ref("Spread")), request=SearchRequest,
    ),
    # An export reads thousands of rows.
    ServiceRoute(
        "/api/export", "exported", "Write items, or what a query finds, to a file", _FILES,
        request=ExportRequest, cost=20.0,
    ),
    ServiceRoute(
        "/api/item/{id}", "item", "One item", json_body(ref("Item")), parameters=(ID, INDEX)
    ),
    ServiceRoute(
        "/api/indices", "indices", "The indices served", json_body(array(ref("Index"))), cost=0.0
    ),
    # A page shows 48 pictures.
    ServiceRoute(
        "/image/{index}/{id}", "image", "Stored image of an item", _PICTURES,
        parameters=_IMAGE_OF, cost=0.02,
    ),
    ServiceRoute(
        "/openapi.json", "openapi", "This description", json_body({"type": "object"}), cost=0.0
    ),
    ServiceRoute(
        "/knn-service", "knn", "clip-retrieval's search", json_body(array(ref("KnnResult"))),
        request=KnnRequest, shared=True,
    ),
    ServiceRoute(
        "/metadata", "metadata", "clip-retrieval's metadata", json_body(array(ref("Metadata"))),
        request=MetadataRequest, shared=True,
    ),
    ServiceRoute(
        "/indices-list", "indices_list", "clip-retrieval's list of indices",
        json_body(array({"type": "string"})), cost=0.0, shared=True,
    ),
    ServiceRoute(
        "/config.json", "front_config", "The config of clip-retrieval's front end",
        json_body({"type": "object"}), cost=0.0, shared=True,
    ),
    ServiceRoute(
        "/metrics", "metrics", "Prometheus metrics",
        {"text/plain": {"schema": {"type": "string"}}}, cost=0.0, shared=True,
    ),
)  # fmt: skip

COSTS = {route.path: route.cost for route in ROUTES}
