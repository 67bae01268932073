"""The page's export and `laion-hpc subset`: the same rows, the same bytes; harmless SQL."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from laion_hpc import cli
from laion_hpc.errors import UsageError
from laion_hpc.files import ledger
from laion_hpc.files.index_folder import vector_id
from laion_hpc.stages.search.http.app import create_app
from laion_hpc.stages.search.knn.collection import Collection
from laion_hpc.stages.search.knn.filters import Filter, Selection, conditions
from laion_hpc.stages.search.knn.predicate import Predicate, as_sql
from tests.stages.search.world import World

FILTERS: list[dict[str, Any]] = [
    {},
    {"language": ["de", ""], "max_punsafe": 0.6},
    {"host": "h3.example.invalid", "min_similarity": 0.31},
    {"host": "example.invalid", "license": ["https://creativecommons.org/licenses/by/4.0/"]},
    {"min_width": 230, "min_height": 240, "max_similarity": 0.36},
    {"language_class": ["multi"], "max_pwatermark": 0.3},
    {"license": ["it's'; --"]},
]


def exported(client: TestClient, **wanted: object) -> bytes:
    answer = client.post("/api/export", content=json.dumps(wanted))
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-disposition"].startswith("attachment")
    return answer.content


@pytest.fixture
def subset(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs the command; gives the bytes of the file."""
    monkeypatch.setattr("laion_hpc.models.load", lambda model, device: world.load(model))

    def run(kind: str, *arguments: object) -> bytes:
        path = tmp_path / f"subset.{kind}"
        given = ["subset", world.index, "--to", path, "--images", *world.shards, *arguments]
        assert cli.main([str(part) for part in given]) == 0
        book = ledger.read(ledger.path_of(path))
        assert book.inputs == book.kept + sum(book.dropped.values())
        return path.read_bytes()

    return run


@pytest.mark.parametrize("kind", ["parquet", "txt", "tar"])
@pytest.mark.parametrize("wanted", FILTERS[:4])
def test_the_page_and_the_command_write_the_same_bytes(
    client: TestClient, subset: Any, kind: str, wanted: dict[str, Any]
) -> None:
    parts = [{"id": vector_id(3, 5)}, {"id": vector_id(12, 9), "weight": -0.5}]
    query = {"text": "red star", "filter": wanted, "deduplicate": True, "parts": parts}
    page = exported(client, format=kind, query=query, num=20)
    where = ["--where", as_sql(Filter(**wanted))] if wanted else []
    command = subset(
        kind, "--query", "red star", "--top", 20, "--unique",
        "--like", vector_id(3, 5), "--unlike", vector_id(12, 9), *where,
    )  # fmt: skip
    assert page == command
    assert len(page) > 100


def test_a_sample_and_all_that_fulfil_a_condition(client: TestClient, subset: Any) -> None:
    page = exported(client, format="parquet", query={"seed": 3, "safe": False}, num=30)
    assert page == subset("parquet", "--seed", 3, "--top", 30, "--unsafe")
    every = pq.read_table(io.BytesIO(subset("parquet", "--unsafe", "--where", "language = 'ja'")))
    assert every.num_rows == 24
    assert every["id"].to_pylist() == sorted(every["id"].to_pylist())
    assert set(every["language"].to_pylist()) == {"ja"}
    assert every["score"].null_count == 24


def test_the_export_holds_what_the_search_shows(client: TestClient) -> None:
    query = {"text": "blue", "filter": {"max_pwatermark": 0.5}}
    body = json.dumps(query | {"num": 25})
    shown = client.post("/api/search", content=body).json()["results"]
    table = pq.read_table(io.BytesIO(exported(client, format="parquet", query=query, num=25)))
    assert table["id"].to_pylist() == [row["id"] for row in shown]
    assert table["caption"].to_pylist() == [row["caption"] for row in shown]
    assert table["score"].to_pylist() == pytest.approx([row["score"] for row in shown], abs=1e-4)
    urls = exported(client, format="txt", query=query, num=25).decode().splitlines()
    assert urls == [row["url"] for row in shown]


def test_a_basket_keeps_its_order_and_its_images(client: TestClient, world: World) -> None:
    ids = [vector_id(12, 4), vector_id(3, 69), vector_id(3, 0)]
    data = exported(client, format="tar", ids=ids)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        members = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
    assert [name for name in members if name.endswith(".jpg")] == [
        "demo-0012-00000-00004.jpg", "demo-0003-00000-00069.jpg", "demo-0003-00000-00000.jpg",
    ]  # fmt: skip
    assert members["demo-0012-00000-00004.jpg"] == world.pictures[12][4]
    about = json.loads(members["demo-0003-00000-00069.json"])
    assert (about["id"], about["score"]) == (vector_id(3, 69), None)


def test_images_that_are_not_at_hand_are_counted(world: World) -> None:
    service = world.service(shards=world.shards[:1])
    with TestClient(create_app(service)) as client:
        body = json.dumps({"format": "tar", "ids": [vector_id(3, 0), vector_id(12, 0)]})
        answer = client.post("/api/export", content=body)
        assert (answer.headers["x-rows"], answer.headers["x-left-out"]) == ("1", "1")


@pytest.mark.parametrize(
    ("wanted", "status", "message"),
    [
        ({}, 400, "either ids or a query"),
        ({"ids": [1], "query": {}}, 400, "either ids or a query"),
        ({"ids": [vector_id(3, 1)] * 2}, 400, "twice"),
        ({"ids": [vector_id(3, 1), 7]}, 404, "no item 7"),
        ({"query": {}, "num": 51}, 400, "search.max_export"),
        ({"query": {"where": "1=1"}}, 400, "where"),
        ({"where": "1=1", "query": {}}, 400, "where"),
        ({"format": "../x", "query": {}}, 400, "format"),
    ],
)
def test_exports_that_are_refused(
    world: World, wanted: dict[str, Any], status: int, message: str
) -> None:
    with TestClient(create_app(world.service(max_export=50))) as client:
        answer = client.post("/api/export", content=json.dumps(wanted))
        assert answer.status_code == status
        assert message in answer.json()["error"]


def test_no_tar_without_shards_and_no_file_left(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with TestClient(create_app(world.service(images=False))) as client:
        for kind in ("tar", "parquet"):
            body = json.dumps({"format": kind, "query": {"text": "red"}})
            answer = client.post("/api/export", content=body)
            assert answer.status_code == (400 if kind == "tar" else 200)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def collection(world: World) -> Collection:
    return Collection(world.index, "demo")


def same_in_sql(collection: Collection, wanted: Filter) -> None:
    columns, blocks = collection.table.columns, [3, 12]
    tests = conditions(wanted, columns, safe=False, unsafe_threshold=0.5)
    where = as_sql(wanted)
    in_sql = [Predicate(where, collection.table.schema)] if where else []
    asked = Selection(collection.table, tests, blocks).ids().tolist()
    assert asked == Selection(collection.table, in_sql, blocks).ids().tolist()


@pytest.mark.parametrize("wanted", FILTERS)
def test_a_filter_in_sql_is_the_same(collection: Collection, wanted: dict[str, Any]) -> None:
    same_in_sql(collection, Filter(**wanted))


@settings(max_examples=40, deadline=None)
@given(
    st.builds(
        Filter,
        min_similarity=st.none() | st.floats(-1, 1) | st.sampled_from([0.3, 0.31, 0.33]),
        max_punsafe=st.none() | st.floats(0, 1),
        min_height=st.none() | st.integers(0, 400),
        language=st.lists(st.sampled_from(["en", "de", "", "x'y"]), max_size=2).map(tuple),
    )
)
def test_any_filter_in_sql_is_the_same(collection: Collection, wanted: Filter) -> None:
    same_in_sql(collection, wanted)


@pytest.mark.parametrize(
    "where",
    [
        "nothing = 1",
        "language = ",
        "caption",  # text, no condition
        "true; DROP TABLE batch",
        "true) UNION SELECT 1 WHERE (true",
        "true) LIMIT (3",
        "key IN (SELECT key FROM batch)",
        "EXISTS (SELECT * FROM read_text('/etc/hostname'))",
        "count(*) > 1",
        "row_number() OVER () < 3",
        "caption = getenv('HOME')",
    ],
)
def test_sql_that_is_no_condition_is_refused(collection: Collection, where: str) -> None:
    with pytest.raises(UsageError, match="--where"):
        Predicate(where, collection.table.schema)


def test_wrong_usage(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, message in (
        (["--to", tmp_path / "x.csv"], "parquet, .txt or .tar"),
        (["--to", tmp_path / "x.parquet", "--query", "red"], "--top"),
        (["--to", tmp_path / "x.tar"], "--images"),
        (["--to", tmp_path / "x.txt", "--where", "colour = 'red'"], "colour"),
        (["--to", tmp_path / "x.txt", "--like", "-1", "--top", "3"], "an id is a number"),
    ):
        assert cli.main(["subset", str(world.index), *map(str, arguments)]) == 2
        assert message in capsys.readouterr().err
    assert cli.main(["subset", str(world.index), "--like", "9", "--top", "3",
                     "--to", str(tmp_path / "x.txt")]) == 1  # fmt: skip
    assert "no item 9" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
