"""clip-retrieval's contract, as its `ClipClient` and its front end use it."""

import base64
import dataclasses
import json
import shutil
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from laion_hpc.files.index_folder import vector_id
from laion_hpc.stages.search.http.app import create_app
from tests.stages.index.blocks import build, config
from tests.stages.search.world import World, caption, words

DEFAULTS = {
    # What ClipClient 2.45 sends with every query.
    "text": None,
    "image": None,
    "image_url": None,
    "embedding_input": None,
    "deduplicate": True,
    "use_safety_model": True,
    "use_violence_detector": True,
    "indice_name": "demo",
    "use_mclip": False,
    "aesthetic_score": 9,
    "aesthetic_weight": 0.5,
    "modality": "image",
    "num_images": 40,
    "num_result_ids": 40,
}


def knn(client: TestClient, **query: object) -> list[dict]:
    # json.dumps as data: no JSON content type.
    answer = client.post("/knn-service", content=json.dumps(DEFAULTS | query).encode())
    assert answer.status_code == 200, answer.text
    assert answer.headers["access-control-allow-origin"] == "*"
    return answer.json()


def test_clip_client_by_text(client: TestClient, world: World) -> None:
    scene = world.scenes[3][4]
    found = knn(client, text=" ".join(words(scene)), use_safety_model=False, num_images=5)
    assert found[0]["caption"] == caption(scene)
    assert {"id", "similarity", "url", "caption"} <= set(found[0])
    assert found[0]["similarity"] > 0.9
    assert all(isinstance(row["caption"], str) for row in found[:5])


def test_clip_client_by_image_and_embedding(client: TestClient, world: World) -> None:
    picture = base64.b64encode(world.pictures[12][8]).decode()
    for query in ({"image": picture}, {"embedding_input": world.vectors[78].tolist()}):
        assert knn(client, **query, use_safety_model=False)[0]["id"] == vector_id(12, 8)


def test_modality_text_searches_the_captions(world: World, tmp_path: Path) -> None:
    index = shutil.copytree(world.index, tmp_path / "demo" / "index")
    blocks = {int(folder.name): folder for folder in world.embeddings}
    build(index / "text", blocks, config(key="IVF4,SQfp16"), modality="text")
    service = dataclasses.replace(world, index=index).service(embeddings=True)
    assert list(service.collections) == ["demo", "demo-captions"]
    with TestClient(create_app(service)) as both:
        scene = world.scenes[3][4]
        query = {"text": " ".join(words(scene)), "use_safety_model": False}
        found = knn(both, **query, modality="text", num_images=5)
        assert found[0]["caption"] == caption(scene)
        assert both.post("/knn-service", content=b'{"text": "red", "modality": "sound"}').is_error


def test_rows_past_num_images_carry_id_and_similarity_only(client: TestClient) -> None:
    found = knn(client, text="red", num_images=3, num_result_ids=3_000, deduplicate=False)
    assert len(found) == 60  # half of 120 are safe
    assert all("caption" in row for row in found[:3])
    assert all(set(row) == {"id", "similarity"} for row in found[3:])


def test_front_end_leaves_out_and_empties_fields(client: TestClient) -> None:
    body = {"text": "red", "modality": "image", "num_images": 2, "indice_name": "", "extra": 1}
    answer = client.post("/knn-service", content=json.dumps(body))
    assert len(answer.json()) == 2
    body |= {"aesthetic_score": "", "aesthetic_weight": "", "num_result_ids": 3000}
    assert client.post("/knn-service", content=json.dumps(body)).status_code == 200


def test_safety(client: TestClient) -> None:
    safe = knn(client, text="red", num_images=100, num_result_ids=100)
    every = knn(client, text="red", num_images=100, num_result_ids=100, use_safety_model=False)
    assert max(row["punsafe"] for row in safe) < 0.5
    assert len(every) > len(safe)


def test_metadata_of_ids(client: TestClient) -> None:
    ids = [vector_id(12, 3), vector_id(3, 0)]
    answer = client.post("/metadata", content=json.dumps({"ids": ids, "indice_name": "demo"}))
    rows = answer.json()
    assert [row["id"] for row in rows] == ids
    assert rows[0]["metadata"]["url"] == "https://h3.example.invalid/12/3.jpg"
    assert client.post("/metadata", content='{"ids": [7]}').status_code == 404


def test_lists_and_config(client: TestClient) -> None:
    assert client.get("/indices-list").json() == ["demo"]
    config = client.get("/config.json").json()
    assert config == {
        "defaultBackend": "http://testserver",
        "defaultIndex": "demo",
        "urlColumn": "url",
    }


def test_other_origins_may_ask(client: TestClient) -> None:
    answer = client.options(
        "/knn-service",
        headers={
            "origin": "https://front.example",
            "access-control-request-method": "POST",
            "access-control-request-headers": "content-type",
        },
    )
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == "*"
    refused = client.post("/knn-service", content=b"{}")
    assert refused.status_code == 400
    assert refused.headers["access-control-allow-origin"] == "*"


def test_metrics_count_requests(client: TestClient) -> None:
    knn(client, text="red")
    client.get("/never/heard/of")
    text = client.get("/metrics").text
    samples = dict(
        line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#")
    )
    total = 'laion_hpc_search_requests_total{route="/knn-service",status="200"}'
    assert int(samples[total]) >= 1
    assert int(samples['laion_hpc_search_requests_total{route="other",status="404"}']) >= 1
    last = samples['laion_hpc_search_request_seconds_bucket{route="/knn-service",le="+Inf"}']
    assert last == samples['laion_hpc_search_request_seconds_count{route="/knn-service"}']
    assert samples['laion_hpc_search_vectors{index="demo"}'] == "120"


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({}, 400),
        ({"text": "red", "modality": "text"}, 400),
        ({"text": "red", "indice_name": "nope"}, 404),
        ({"text": "red", "num_images": -1}, 400),
        ({"image_url": "http://127.0.0.1/"}, 403),
    ],
)
def test_refusals(client: TestClient, query: dict, status: int) -> None:
    answer = client.post("/knn-service", content=json.dumps(query))
    assert answer.status_code == status
    assert answer.json()["error"]
