"""s3:// against a small server of that protocol on loopback."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from laion_hpc.cli import main
from laion_hpc.errors import InputError, UsageError
from laion_hpc.files import ledger
from laion_hpc.web import object_store
from laion_hpc.web.fetch import fetch
from tests.stages.extract.wats import some_pages, write_wat

pytest.importorskip("obstore", reason="needs pip install laion-hpc[s3]")

CONTENT = bytes(range(256)) * 20_000


class Bucket(ThreadingHTTPServer):
    """Objects by path; `failures` are what the next GETs do instead of answering in full."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.objects: dict[str, bytes] = {}
        self.failures: list[str] = []
        self.requests: list[tuple[str, str, str]] = []
        self.signed: list[bool] = []


class Handler(BaseHTTPRequestHandler):
    server: Bucket
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        asked = self.headers.get("Range", "")
        self.server.requests.append((self.command, self.path, asked))
        self.server.signed.append("Authorization" in self.headers)
        failure = self.server.failures.pop(0) if body and self.server.failures else ""
        content = self.server.objects.get(self.path)
        if self.path.startswith("/secret"):
            self.refuse(403, "AccessDenied")
            return
        if content is None:
            self.refuse(404, "NoSuchKey")
            return
        if failure == "busy":
            self.refuse(503, "SlowDown")
            return
        first = int(asked.removeprefix("bytes=").partition("-")[0] or 0)
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - first))
        self.send_header("ETag", f'"{hash(content)}"')
        self.send_header("Last-Modified", "Sat, 01 Jan 2022 00:00:00 GMT")
        self.end_headers()
        if body:
            stop = first + 2_000_000 if failure == "cut" else len(content)
            self.wfile.write(content[first:stop])
            self.close_connection = failure == "cut"

    def refuse(self, status: int, code: str) -> None:
        text = f"<Error><Code>{code}</Code></Error>".encode() if self.command == "GET" else b""
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    made = Bucket()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{made.server_port}")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    thread = threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


def test_an_object_is_fetched_whole_and_anonymously(bucket: Bucket, tmp_path: Path) -> None:
    bucket.objects["/crawl/a/b c.gz"] = CONTENT
    bucket.objects["/crawl/a/b%20c.gz"] = CONTENT
    fetch("s3://crawl/a/b c.gz", tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == CONTENT
    assert not any(bucket.signed)
    assert len(list(tmp_path.iterdir())) == 1


def test_keys_in_the_environment_sign_the_requests(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "example")
    bucket.objects["/crawl/a"] = CONTENT
    fetch("s3://crawl/a", tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == CONTENT
    assert all(bucket.signed)


def test_cut_transfers_go_on_where_they_stopped(bucket: Bucket, tmp_path: Path) -> None:
    bucket.objects["/crawl/a"] = CONTENT
    bucket.failures = ["cut", "busy", "cut"]
    waits: list[float] = []
    fetch("s3://crawl/a", tmp_path / "x", sleep=waits.append)
    assert (tmp_path / "x").read_bytes() == CONTENT
    begins = [
        int(asked.removeprefix("bytes=").partition("-")[0] or 0)
        for command, _, asked in bucket.requests
        if command == "GET"
    ]
    assert begins[0] == 0 and len(begins) == 4 == len(waits) + 1
    assert 0 < begins[1] == begins[2] < begins[3] < len(CONTENT)


def test_an_empty_object_and_one_that_was_whole_already(bucket: Bucket, tmp_path: Path) -> None:
    bucket.objects["/crawl/empty"] = b""
    fetch("s3://crawl/empty", tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == b""
    bucket.objects["/crawl/a"] = CONTENT
    aside = tmp_path / "aside"
    for before in (CONTENT, CONTENT + b"more", CONTENT[:1234]):
        aside.write_bytes(before)
        assert object_store.attempt("s3://crawl/a", aside) == ""
        assert aside.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("address", "says"),
    [("s3://crawl/absent", "no such object"), ("s3://secret/x", "anonymous reader")],
)
def test_what_cannot_be_had_is_told_at_once(
    bucket: Bucket, tmp_path: Path, address: str, says: str
) -> None:
    def never(seconds: float) -> None:
        raise AssertionError("another attempt")

    with pytest.raises(InputError, match=says):
        fetch(address, tmp_path / "x", sleep=never)
    assert not (tmp_path / "x").exists()


def test_a_store_that_stays_busy_is_given_up(bucket: Bucket, tmp_path: Path) -> None:
    bucket.objects["/crawl/a"] = CONTENT
    bucket.failures = ["busy"] * 99
    waits: list[float] = []
    with pytest.raises(InputError, match="10 times in a row"):
        fetch("s3://crawl/a", tmp_path / "x", sleep=waits.append)
    assert len(waits) == 9


@pytest.mark.parametrize("address", ["s3://", "s3://bucket", "s3://bucket/", "s3:///key"])
def test_addresses_that_name_no_object(address: str) -> None:
    with pytest.raises(UsageError, match="s3://BUCKET/KEY"):
        object_store.split(address)


def test_without_the_library_the_way_to_get_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(UsageError, match=r"laion-hpc\[s3\]"):
        object_store.check("s3://bucket/key")


@pytest.mark.parametrize("through", ["address", "lock"])
def test_extract_reads_wats_from_s3_as_from_disk(
    bucket: Bucket, tmp_path: Path, through: str
) -> None:
    wat = write_wat(tmp_path / "w.warc.wat.gz", some_pages(3))
    key = "crawl-data/C-1/segments/12.3/wat/w.warc.wat.gz"
    bucket.objects[f"/commoncrawl/{key}"] = wat.read_bytes()
    more = ["--crawl", "C-1", "--segment", "12.3", "--blocks", "3"]
    here, there = tmp_path / "here.parquet", tmp_path / "there.parquet"
    assert main(["extract", str(wat), *more, "--output", str(here)]) == 0
    if through == "lock":
        (tmp_path / "list").write_text(key)
        lock = tmp_path / "C-1.json"
        listed = ["--list", str(tmp_path / "list"), "--prefix", "s3://commoncrawl/"]
        assert main(["crawl", "C-1", *listed, "--output", str(lock)]) == 0
        given = ["--lock", str(lock)]
    else:
        given = [f"s3://commoncrawl/{key}"]
    assert main(["extract", *given, *more, "--output", str(there)]) == 0
    assert there.read_bytes() == here.read_bytes()
    books = [ledger.read(ledger.path_of(path)) for path in (here, there)]
    assert books[0].counts == books[1].counts
    assert not (tmp_path / "there.parts").exists()
