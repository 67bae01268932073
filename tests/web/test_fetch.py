"""Fetching over HTTP, against a server on loopback that misbehaves as told."""

from __future__ import annotations

import gzip
import random
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from laion_hpc.cli import main
from laion_hpc.errors import InputError
from laion_hpc.files.atomic import beside
from laion_hpc.files.crawl_lock import read_lock
from laion_hpc.web.fetch import ATTEMPTS, LONGEST_WAIT, fetch
from tests.stages.extract.wats import some_pages, write_wat

CONTENT = random.Random(0).randbytes(300_000)


class Server(ThreadingHTTPServer):
    """Answers each request with the next of its `answers`, the last one again and again."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[Callable[[Handler], None]] = [whole]
        self.requests: list[tuple[str, str]] = []
        self.files = {"/x": CONTENT}
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.requests.append((self.path, self.headers.get("Range", "")))
        answers = self.server.answers
        (answers.pop(0) if len(answers) > 1 else answers[0])(self)

    def log_message(self, format: str, *args: object) -> None:
        pass

    def start(self) -> tuple[bytes, int]:
        """Send the head of a right answer; the content and where it begins."""
        content = self.server.files.get(self.path)
        if content is None:
            self.send_error(404)
            return b"", 0
        begin = self.headers.get("Range", "").removeprefix("bytes=").removesuffix("-")
        first = int(begin or 0)
        if begin and first >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return b"", 0
        self.send_response(206 if begin else 200)
        if begin:
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - first))
        self.end_headers()
        return content, first


def whole(handler: Handler) -> None:
    content, first = handler.start()
    handler.wfile.write(content[first:])


def cut(handler: Handler) -> None:
    content, first = handler.start()
    handler.wfile.write(content[first : first + 100_000])
    handler.close_connection = True


def no_ranges(handler: Handler) -> None:
    del handler.headers["Range"]
    whole(handler)


def busy(status: int, retry_after: str = "") -> Callable[[Handler], None]:
    def answer(handler: Handler) -> None:
        handler.send_response(status)
        if retry_after:
            handler.send_header("Retry-After", retry_after)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    made = Server()
    thread = threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


@pytest.fixture
def waits() -> list[float]:
    return []


def test_a_file_is_fetched_whole(server: Server, tmp_path: Path) -> None:
    fetch(f"{server.url}/x", tmp_path / "sub" / "x")
    assert (tmp_path / "sub" / "x").read_bytes() == CONTENT
    assert len(list((tmp_path / "sub").iterdir())) == 1


def test_cut_transfers_go_on_where_they_stopped(
    server: Server, tmp_path: Path, waits: list[float]
) -> None:
    server.answers = [cut, busy(503), cut, whole]
    fetch(f"{server.url}/x", tmp_path / "x", sleep=waits.append)
    assert (tmp_path / "x").read_bytes() == CONTENT
    ranges = [asked for _, asked in server.requests]
    assert ranges == ["", "bytes=100000-", "bytes=100000-", "bytes=200000-"]


def left(path: Path, content: bytes, *, by: str = "nobody.0") -> Path:
    """What `by` (HOST.PID) has fetched of a file and left; nobody: a process that gave up."""
    file = path.with_name(f".{path.name}.{by}.0123abcd.fetching")
    file.write_bytes(content)
    return file


def test_a_later_process_goes_on_too(server: Server, tmp_path: Path, waits: list[float]) -> None:
    server.answers = [cut, busy(503), whole]
    with pytest.raises(InputError, match="HTTP 503"):
        fetch(f"{server.url}/x", tmp_path / "x", attempts=1, sleep=waits.append)
    fetch(f"{server.url}/x", tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == CONTENT
    assert server.requests[-1] == ("/x", "bytes=100000-")
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_the_most_of_what_was_left_is_built_on(server: Server, tmp_path: Path) -> None:
    left(tmp_path / "x", CONTENT[:1_000])
    with subprocess.Popen(["true"]) as process:
        pass
    here = beside(tmp_path / "x", "").name.split(".")[2]
    left(tmp_path / "x", CONTENT[:123_456], by=f"{here}.{process.pid}")
    fetch(f"{server.url}/x", tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == CONTENT
    assert server.requests == [("/x", "bytes=123456-")]
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_what_another_node_may_be_fetching_is_left_alone(server: Server, tmp_path: Path) -> None:
    other = left(tmp_path / "x", CONTENT[:10], by="elsewhere.17")
    fetch(f"{server.url}/x", tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == CONTENT
    assert other.read_bytes() == CONTENT[:10]
    assert server.requests == [("/x", "")]


def test_two_that_fetch_the_same_do_not_meet(
    server: Server, tmp_path: Path, waits: list[float]
) -> None:
    inner: list[float] = []

    def meanwhile(seconds: float) -> None:
        fetch(f"{server.url}/x", tmp_path / "x", sleep=inner.append)
        assert (tmp_path / "x").read_bytes() == CONTENT
        waits.append(seconds)

    server.answers = [cut, whole]
    fetch(f"{server.url}/x", tmp_path / "x", sleep=meanwhile)
    assert len(waits) == 1 and not inner
    assert (tmp_path / "x").read_bytes() == CONTENT
    assert [asked for _, asked in server.requests] == ["", "", "bytes=100000-"]
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_all_there_but_not_renamed(server: Server, tmp_path: Path) -> None:
    left(tmp_path / "x", CONTENT)
    fetch(f"{server.url}/x", tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == CONTENT


def test_what_is_left_of_another_file_is_thrown_away(
    server: Server, tmp_path: Path, waits: list[float]
) -> None:
    left(tmp_path / "x", b"z" * 400_000)
    fetch(f"{server.url}/x", tmp_path / "x", sleep=waits.append)
    assert (tmp_path / "x").read_bytes() == CONTENT


def test_a_server_without_ranges(server: Server, tmp_path: Path, waits: list[float]) -> None:
    server.answers = [cut, no_ranges]
    fetch(f"{server.url}/x", tmp_path / "x", sleep=waits.append)
    assert (tmp_path / "x").read_bytes() == CONTENT


def test_busy_servers_are_left_in_peace(server: Server, tmp_path: Path, waits: list[float]) -> None:
    server.answers = [busy(429, "17"), busy(503), busy(403), whole]
    fetch(f"{server.url}/x", tmp_path / "x", sleep=waits.append)
    assert 17 <= waits[0] <= 17 * 1.25
    assert 2 <= waits[1] <= 6 and 4 <= waits[2] <= 12


def test_giving_up(server: Server, tmp_path: Path, waits: list[float]) -> None:
    server.answers = [busy(503)]
    with pytest.raises(InputError, match=r"HTTP 503, 10 times"):
        fetch(f"{server.url}/x", tmp_path / "x", sleep=waits.append)
    assert len(server.requests) == ATTEMPTS
    assert max(waits) <= LONGEST_WAIT * 1.25


def test_what_is_not_there_is_not_asked_for_again(server: Server, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="/y: HTTP 404"):
        fetch(f"{server.url}/y", tmp_path / "y")
    assert len(server.requests) == 1


def test_nobody_listens(server: Server, tmp_path: Path, waits: list[float]) -> None:
    server.shutdown()
    server.server_close()
    with pytest.raises(InputError, match="ConnectError"):
        fetch(f"{server.url}/x", tmp_path / "x", sleep=waits.append)


def test_extract_over_http_gives_the_bytes_of_local_files(server: Server, tmp_path: Path) -> None:
    wats = [write_wat(tmp_path / f"w{n}.warc.wat.gz", some_pages(3, seed=n)) for n in range(2)]
    server.files |= {f"/wat/{path.name}": path.read_bytes() for path in wats}
    urls = [f"{server.url}/wat/{path.name}" for path in wats]
    near, far = tmp_path / "near.parquet", tmp_path / "far.parquet"
    assert main(["extract", *map(str, wats), "--blocks", "3", "--output", str(near)]) == 0
    assert main(["extract", *urls, "--blocks", "3", "--output", str(far)]) == 0
    assert far.read_bytes() == near.read_bytes()
    assert not list(tmp_path.glob("*.parts"))
    absent = f"{server.url}/wat/absent.warc.wat.gz"
    assert main(["extract", absent, "--output", str(tmp_path / "a.parquet")]) == 1


def test_the_lock_of_a_crawl_is_made_from_its_published_list(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = "crawl-data/C-1/segments/1.2/wat/a-00000.warc.wat.gz"
    server.files["/crawl-data/C-1/wat.paths.gz"] = gzip.compress(f"{path}\n".encode())
    output = tmp_path / "C-1.json"
    assert main(["crawl", "C-1", "--prefix", server.url, "--output", str(output)]) == 0
    assert read_lock(output).wats("1.2") == (f"{server.url}/{path}",)
    assert main(["crawl", "C-2", "--prefix", server.url, "--output", str(output)]) == 1
    assert "Is C-2 one of" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["C-1.json"]
