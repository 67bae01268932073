"""The table of routes is the only place that knows them."""

from __future__ import annotations

from laion_hpc.stages.search.http.handlers import Handlers
from laion_hpc.stages.search.http.metrics import COUNTED, OTHER
from laion_hpc.stages.search.http.openapi import description
from laion_hpc.stages.search.http.routes import COSTS, ROUTES


def test_every_route_has_a_handler_of_its_own_and_every_handler_a_route() -> None:
    named = [route.handler for route in ROUTES]
    public = [name for name in vars(Handlers) if not name.startswith("_")]
    assert sorted(named) == sorted(public)


def test_the_description_and_the_metrics_know_every_route() -> None:
    paths = {
        (path, method) for path, methods in description()["paths"].items() for method in methods
    }
    assert paths == {(route.path, route.method.lower()) for route in ROUTES}
    assert {route.path for route in ROUTES} | {OTHER} == set(COUNTED)


def test_a_page_of_pictures_costs_a_request_and_an_export_many() -> None:
    assert 48 * COSTS["/image/{index}/{id}"] < 1 < COSTS["/api/export"]
    assert COSTS["/metrics"] == COSTS["/openapi.json"] == 0
