"""Our own API, over HTTP."""

import base64
import json

import numpy as np
import pytest
from starlette.testclient import TestClient

from laion_hpc.files.index_folder import vector_id
from laion_hpc.stages.search.http.app import create_app
from tests.stages.search.world import World, caption, words


def search(client: TestClient, **query: object) -> dict:
    answer = client.post("/api/search", content=json.dumps(query))
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(client: TestClient, **query: object) -> tuple[int, str]:
    answer = client.post("/api/search", content=json.dumps(query))
    assert answer.headers["content-type"].startswith("application/json")
    return answer.status_code, answer.json()["error"]


def everything(world: World) -> dict[int, object]:
    return {
        vector_id(block, row): scene
        for block, scenes in world.scenes.items()
        for row, scene in enumerate(scenes)
    }


def test_text_finds_what_it_names(client: TestClient, world: World) -> None:
    scene = world.scenes[12][7]
    found = search(client, text=" ".join(words(scene)), num=5, safe=False)
    assert found["results"][0]["caption"] == caption(scene)
    assert found["results"][0]["score"] > 0.9
    scores = [row["score"] for row in found["results"]]
    assert scores == sorted(scores, reverse=True)
    assert found["more"] is True


def test_same_as_exact_search(client: TestClient, world: World) -> None:
    query = world.vectors[9] + world.vectors[30]
    query = query / np.linalg.norm(query)
    exact = np.argsort(-(world.vectors.astype(np.float16).astype(np.float32) @ query))[:20]
    ids = np.array(list(everything(world)))
    found = search(client, embedding=query.tolist(), num=20, safe=False, nprobe=8)
    assert [row["id"] for row in found["results"]] == ids[exact].tolist()


def test_item_and_more_like_it(client: TestClient, world: World) -> None:
    number = vector_id(12, 4)
    item = client.get(f"/api/item/{number}").json()
    assert item["caption"] == caption(world.scenes[12][4])
    assert item["image"] == f"/image/demo/{number}"
    assert item["host"] == "h4.example.invalid"
    assert isinstance(item["hash"], str)
    found = search(client, id=number, num=3, safe=False)
    assert found["results"][0]["id"] == number
    assert found["results"][0]["score"] == pytest.approx(1, abs=1e-3)


def test_picture_finds_itself(client: TestClient, world: World) -> None:
    data = base64.b64encode(world.pictures[3][11]).decode()
    for image in (data, f"data:image/jpeg;base64,{data}"):
        found = search(client, image=image, num=1, safe=False)
        assert found["results"][0]["id"] == vector_id(3, 11)


def test_parts_of_a_query_are_averaged(client: TestClient, world: World) -> None:
    one, other = (vector_id(3, 5), world.scenes[12][9])
    found = search(client, id=one, text=" ".join(words(other)), num=6, safe=False)
    ids = [row["id"] for row in found["results"]]
    assert {one, vector_id(12, 9)} <= set(ids)


def test_less_like_that(client: TestClient, world: World) -> None:
    text = "red star"
    plain = search(client, text=text, num=100, safe=False)["results"]
    away = plain[0]["id"]
    parts = [{"text": text}, {"id": away, "weight": -0.5}]
    moved = search(client, parts=parts, num=100, safe=False)["results"]
    places = [[row["id"] for row in found].index(away) for found in (plain, moved)]
    assert places[0] == 0 < places[1]
    # Parts of weight 1 are what the same fields are without them.
    one = search(client, text=text, id=away, num=20)["results"]
    parts = [{"text": text}, {"id": away}]
    assert search(client, parts=parts, num=20)["results"] == one
    parts = [{"id": away}, {"id": away, "weight": -1}]
    assert "cancel" in refused(client, parts=parts)[1]


def test_histograms_count_the_best_results(client: TestClient) -> None:
    body = {"text": "red", "filter": {"language": ["de"]}, "safe": False}
    answer = client.post("/api/histograms", content=json.dumps(body)).json()
    rows = search(client, **body, num=100)["results"]
    assert answer["counted"] == len(rows) == 24
    assert set(answer["columns"]) == {"similarity", "punsafe", "pwatermark", "size"}
    for name, bars in answer["columns"].items():
        assert len(bars["edges"]) == len(bars["counts"]) + 1
        assert sum(bars["counts"]) == 24
        values = [min(row["width"], row["height"]) if name == "size" else row[name] for row in rows]
        start, end = bars["edges"][1], bars["edges"][2]
        assert bars["counts"][1] == sum(start <= value < end for value in values)


def test_texts_are_embedded_once(world: World) -> None:
    asked: list[list[str]] = []

    class Counting:
        def embed_texts(self, texts: list[str]) -> np.ndarray:
            asked.append(texts)
            return world.tower.embed_texts(texts)

    service = world.service()
    service._load = lambda model: Counting()  # type: ignore[assignment,return-value]
    service._embedders.clear()
    with TestClient(create_app(service)) as client:
        for offset in (0, 10, 20):
            search(client, text="red star", num=10, offset=offset)
    assert asked == [["warm up"], ["red star"]]


def test_pages_follow_each_other(client: TestClient) -> None:
    whole = search(client, text="red", num=45)["results"]
    pages = [search(client, text="red", num=15, offset=start) for start in (0, 15, 30)]
    assert [row for page in pages for row in page["results"]] == whole
    sample = search(client, num=45, seed=4)["results"]
    pages = [search(client, num=15, offset=start, seed=4) for start in (0, 15, 30)]
    assert [row for page in pages for row in page["results"]] == sample
    assert len({row["id"] for row in sample}) == 45
    assert search(client, num=45, seed=5)["results"] != sample


def test_all_are_found_in_the_end_and_then_no_more(client: TestClient, world: World) -> None:
    with TestClient(create_app(world.service(max_results=500))) as roomy:
        for query in ({"text": "red"}, {"seed": 1}):
            found = search(roomy, **query, num=300, safe=False)
            assert len({row["id"] for row in found["results"]}) == 120
            assert found["more"] is False
            assert search(roomy, **query, num=10, offset=200, safe=False)["results"] == []


CC_BY = "https://creativecommons.org/licenses/by/4.0/"
FILTERS = [
    ({"language": ["de", ""]}, lambda row: row["language"] in ("de", "")),
    ({"language_class": ["multi"]}, lambda row: row["language_class"] == "multi"),
    ({"host": "h3.example.invalid"}, lambda row: row["host"] == "h3.example.invalid"),
    ({"host": "Example.Invalid."}, lambda row: True),
    ({"min_similarity": 0.355}, lambda row: row["similarity"] >= 0.355),
    ({"max_similarity": 0.325}, lambda row: row["similarity"] <= 0.325),
    ({"max_punsafe": 0.2}, lambda row: row["punsafe"] < 0.2),
    ({"max_pwatermark": 0.3}, lambda row: row["pwatermark"] < 0.3),
    ({"min_width": 230, "min_height": 240}, lambda r: r["width"] >= 230 and r["height"] >= 240),
    ({"min_height": 3_000}, lambda row: False),
    ({"license": [CC_BY]}, lambda row: row["license"] != "?"),
    (
        {"language": ["ja"], "max_punsafe": 0.1},
        lambda row: row["language"] == "ja" and row["punsafe"] < 0.1,
    ),
]


@pytest.mark.parametrize(("wanted", "holds"), FILTERS)
@pytest.mark.parametrize("query", [{"text": "red"}, {}])
def test_filters_come_before_the_top(
    client: TestClient, wanted: dict, holds: object, query: dict
) -> None:
    every = search(client, num=100, safe=False)["results"]
    every += [
        client.get(f"/api/item/{number}").json()
        for number in [vector_id(3, r) for r in range(70)] + [vector_id(12, r) for r in range(50)]
        if number not in {row["id"] for row in every}
    ]
    expected = {row["id"] for row in every if holds(row)}  # type: ignore[operator]
    found = search(client, **query, filter=wanted, safe=False, num=100)["results"]
    assert all(holds(row) for row in found)  # type: ignore[operator]
    assert {row["id"] for row in found} <= expected
    assert len(found) == min(100, len(expected))


def test_safe_mode_hides_what_is_unsafe_unless_asked(client: TestClient) -> None:
    hidden = search(client, text="red", num=100)["results"]
    shown = search(client, text="red", num=100, safe=False)["results"]
    assert max(row["punsafe"] for row in hidden) < 0.5 <= max(row["punsafe"] for row in shown)
    assert len(hidden) == sum(round(n / 2) for n in (70, 50))


def test_duplicates_are_left_out_and_the_number_kept(client: TestClient, world: World) -> None:
    text = " ".join(words(world.scenes[3][0]))
    plain = search(client, text=text, num=40, safe=False)["results"]
    single = search(client, text=text, num=40, safe=False, deduplicate=True)["results"]
    assert {vector_id(3, 0), vector_id(3, 68)} <= {row["id"] for row in plain}
    assert len({vector_id(3, 0), vector_id(3, 68)} & {row["id"] for row in single}) == 1
    assert len(single) == 40


def test_image_is_read_from_its_tar(client: TestClient, world: World) -> None:
    for block, row in ((3, 0), (3, 29), (3, 30), (12, 49)):
        answer = client.get(f"/image/demo/{vector_id(block, row)}")
        assert answer.content == world.pictures[block][row]
        assert answer.headers["content-type"] == "image/jpeg"
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_without_shards_there_are_no_images(world: World) -> None:
    with TestClient(create_app(world.service(images=False))) as plain:
        assert search(plain, text="red", num=1)["results"][0]["image"] == ""
        assert plain.get(f"/image/demo/{vector_id(3, 0)}").status_code == 404


def test_indices_tell_what_can_be_asked(client: TestClient) -> None:
    (about,) = client.get("/api/indices").json()
    assert (about["name"], about["count"], about["text"]) == ("demo", 120, "ready")
    assert about["safe_mode"] is True
    assert about["similarity"] == [0.3, 0.4]
    assert about["max_export"] == 10_000
    assert dict(about["languages"]) == {"en": 48, "de": 24, "ja": 24, "": 24}
    assert {"punsafe", "pwatermark", "host"} <= set(about["columns"])


@pytest.mark.parametrize(
    ("query", "status", "message"),
    [
        ({"text": 3}, 400, "text"),
        ({"txt": "red"}, 400, "txt"),
        ({"num": 0}, 400, "num"),
        ({"num": 80, "offset": 21}, 400, "the most is 100"),
        ({"index": "other"}, 404, "no index 'other'"),
        ({"id": vector_id(3, 70)}, 404, "no item"),
        ({"id": vector_id(4, 0)}, 404, "no item"),
        ({"id": -1}, 400, "id"),
        ({"embedding": [1.0, 2.0]}, 400, "the index has 48"),
        ({"embedding": [0.0] * 48}, 400, "zeros"),
        ({"image": "aGVsbG8="}, 415, "not an image"),
        ({"image": "!"}, 415, "not an image"),
        ({"image_url": "http://127.0.0.1/x.jpg"}, 403, "switched off"),
        ({"filter": {"min_aesthetic": 5}}, 400, "no such column"),
        ({"filter": {"colour": "red"}}, 400, "colour"),
        ({"nprobe": 0}, 400, "nprobe"),
    ],
)
def test_refusals_say_why(client: TestClient, query: dict, status: int, message: str) -> None:
    assert refused(client, **query)[0] == status
    assert message in refused(client, **query)[1]


def test_large_requests_are_refused(world: World) -> None:
    service = world.service(max_body_bytes=5_000, max_image_pixels=1_000)
    with TestClient(create_app(service)) as small:
        assert refused(small, text="x" * 5_000)[0] == 413
        picture = base64.b64encode(world.pictures[3][0]).decode()
        status, message = refused(small, image=picture)
        assert status == 413
        assert "64 × 64 pixels" in message  # the first picture is square


def test_headers_keep_the_page_safe(client: TestClient) -> None:
    for path in ("/", "/api/indices", "/nothing"):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
    assert "access-control-allow-origin" not in client.get("/api/indices").headers


def test_nothing_else_is_served(client: TestClient) -> None:
    for path in ("/../app.py", "/static/app.js", "/%2e%2e/app.py", "/image/demo/../3", "/api"):
        assert client.get(path).status_code == 404
    answer = client.get("/nothing")
    assert answer.json() == {"error": "Not Found"}
    assert client.get("/api/search").status_code == 405


def test_page_is_not_sent_twice(client: TestClient) -> None:
    first = client.get("/")
    assert first.headers["content-type"].startswith("text/html")
    again = client.get("/", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_openapi_describes_what_is_there(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    assert document["openapi"] == "3.1.0"
    request = document["components"]["schemas"]["SearchRequest"]["properties"]
    assert {"text", "image", "image_url", "id", "embedding", "filter"} <= set(request)
    references = set(_references(document))
    assert references <= {f"#/components/schemas/{n}" for n in document["components"]["schemas"]}


def _references(part: object) -> list[str]:
    if isinstance(part, dict):
        own = [part["$ref"]] if "$ref" in part else []
        return own + [ref for value in part.values() for ref in _references(value)]
    return [ref for value in part for ref in _references(value)] if isinstance(part, list) else []
