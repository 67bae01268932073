"""Whatever is sent, the answer is never a 500."""

import json
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import CHECKS, load_all_checks
from starlette.testclient import TestClient

from laion_hpc.stages.search.http.clip_retrieval import KnnRequest, MetadataRequest
from laion_hpc.stages.search.http.openapi import description
from laion_hpc.stages.search.http.queries import ExportRequest, SearchRequest
from laion_hpc.stages.search.knn.filters import Filter

PATHS = {
    "/api/search": SearchRequest,
    "/api/histograms": SearchRequest,
    "/api/export": ExportRequest,
    "/knn-service": KnnRequest,
    "/metadata": MetadataRequest,
}
NEGATIVE = schemathesis.GenerationMode.NEGATIVE
load_all_checks()
CHECKED = CHECKS.get_by_names(
    [
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_schema_conformance",
    ]
)
numbers = (
    st.integers(-(2**70), 2**70)
    | st.integers(-2, 200)
    | st.floats()
    | st.sampled_from([3 << 32, (12 << 32) + 49, (3 << 32) + 70])
)
texts = st.text(max_size=20) | st.sampled_from(
    ["red", "demo", "image", "\x00", "🦊", "iVBORw0KGgo="]
)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
bodies = st.sampled_from(sorted(PATHS)).flatmap(
    lambda path: st.tuples(
        st.just(path),
        st.dictionaries(
            st.sampled_from(sorted(PATHS[path].model_fields)),
            values
            | st.dictionaries(st.sampled_from(sorted(Filter.model_fields)), values, max_size=3),
            max_size=4,
        ),
    )
)
common = settings(
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def check(answer: Any) -> None:
    assert answer.status_code in (200, 400, 403, 404, 413, 415), answer.text
    if "content-disposition" in answer.headers:
        return  # a file
    assert answer.headers["content-type"].startswith("application/json")
    content = json.loads(answer.text, parse_constant=lambda word: 1 / 0)
    if answer.status_code != 200:
        assert content["error"]


@common
@given(bodies)
def test_wrong_values(client: TestClient, sent: tuple[str, dict[str, Any]]) -> None:
    path, body = sent
    check(client.post(path, content=json.dumps(body)))


@common
@given(st.sampled_from(sorted(PATHS)), st.binary(max_size=60))
def test_wrong_bytes(client: TestClient, path: str, body: bytes) -> None:
    check(client.post(path, content=body))


def test_deep_and_long(client: TestClient) -> None:
    for body in (
        "[" * 100_000,
        '{"id":' + "9" * 6_000 + "}",
        '{"num": 1e400}',
        '{"embedding": [NaN]}',
        '{"embedding": [' + ",".join(["1e308"] * 48) + "]}",
        '{"embedding": [' + ",".join(["5e-324"] * 48) + "]}",
        '{"text": "\\ud800"}',
        '{"text": "' + "x" * 3_000 + '"}',
    ):
        for path in PATHS:
            check(client.post(path, content=body))


@common
@given(st.sampled_from(["/image/demo/", "/api/item/"]), st.text(max_size=20))
def test_wrong_paths(client: TestClient, start: str, rest: str) -> None:
    path = "".join(f"%{byte:02x}" for byte in rest.encode("utf-8", "replace"))
    assert client.get(start + path).status_code in (200, 404)
    assert client.get(start + "9" * 5_000).status_code == 404
    assert client.get(f"/api/item/3?index={path}").status_code in (200, 404)


OPERATIONS = [
    (path, method) for path, methods in description()["paths"].items() for method in methods
]


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_as_the_description_says(client: TestClient, path: str, method: str) -> None:
    """Whatever the description allows, and what it does not: an answer that it names."""
    operation = schemathesis.openapi.from_asgi("/openapi.json", client.app)[path][method]

    @settings(
        max_examples=12,
        deadline=10_000,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy() | operation.as_strategy(generation_mode=NEGATIVE))
    def answered(case: schemathesis.Case) -> None:
        case.call_and_validate(checks=CHECKED)

    answered()
