"""The command: folders that are no index, ports in use, models that do not load, fetching."""

import http.server
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from laion_hpc import cli
from laion_hpc.config import parse
from laion_hpc.config.sections import ModelConfig
from laion_hpc.errors import InputError
from laion_hpc.files.index_folder import vector_id
from laion_hpc.stages.search.command import _listen, _web
from laion_hpc.stages.search.faults import RequestError
from laion_hpc.stages.search.http.app import create_app
from laion_hpc.stages.search.knn.collection import open_collections
from laion_hpc.stages.search.knn.embedder import decode
from laion_hpc.stages.search.service import Service
from laion_hpc.stages.search.thumbnails import Thumbnails
from laion_hpc.web.guard import Guard, networks
from laion_hpc.web.settings import Settings
from tests import patience
from tests.stages.search.world import World


def test_port_in_use(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert cli.main(["search", str(world.index), "--port", str(port)]) == 1
    error = capsys.readouterr().err
    assert f"port {port} of 127.0.0.1 is in use" in error
    assert "--port" in error


def test_answers_are_sent_at_once() -> None:
    """asyncio sends without delay (TCP_NODELAY) only where the socket says that it is TCP."""
    with _listen("127.0.0.1", 0) as listener:
        assert listener.proto == socket.IPPROTO_TCP


def test_wrong_usage(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["search", str(tmp_path), "--port", "0"]) == 1
    assert "no index.json there" in capsys.readouterr().err
    assert cli.main(["search", str(world.index), "--port", "70000"]) == 2
    missing = str(tmp_path / "none")
    assert cli.main(["search", str(world.index), "--port", "0", "--images", missing]) == 1
    assert "--images takes folders" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["image.index", "image.ivfdata", "image.places.npy"])
def test_damaged_index(world: World, tmp_path: Path, name: str) -> None:
    shutil.copytree(world.index, tmp_path / "index")
    (tmp_path / "index" / name).unlink()
    with pytest.raises(InputError, match="run `index merge` again"):
        open_collections([tmp_path / "index"])


def test_metadata_of_another_run(world: World, tmp_path: Path) -> None:
    shutil.copytree(world.index, tmp_path / "index")
    metadata = tmp_path / "index" / "metadata"
    shutil.copy(metadata / "0012.arrow", metadata / "0003.arrow")
    with pytest.raises(InputError, match=r"0003\.arrow: 50 rows for 70 vectors"):
        open_collections([tmp_path / "index"])
    (metadata / "0003.arrow").unlink()
    with pytest.raises(InputError, match="index metadata"):
        open_collections([tmp_path / "index"])


def test_several_indices_have_names(world: World, tmp_path: Path) -> None:
    shutil.copytree(world.index, tmp_path / "second")
    folders = [world.index, tmp_path / "second", world.index]
    assert list(open_collections(folders)) == ["demo", "second", "demo-2"]


def test_measured_nprobe_is_used(world: World, tmp_path: Path) -> None:
    shutil.copytree(world.index, tmp_path / "index")
    (tmp_path / "index" / "evaluation.json").write_text('{"nprobe": 5}')
    (opened,) = open_collections([tmp_path / "index"]).values()
    assert opened.nprobe == 5


def test_without_a_model_the_rest_works(world: World) -> None:
    def load(_model: ModelConfig) -> None:
        raise InputError("models/x: no such weights; run `laion-hpc models fetch`")

    service = Service(open_collections([world.index]), parse({}).search, load=load)  # type: ignore[arg-type]
    with TestClient(create_app(service)) as client:
        answer = client.post("/api/search", content='{"text": "red"}')
        assert answer.status_code == 503
        assert "laion-hpc models fetch" in answer.json()["error"]
        body = json.dumps({"id": vector_id(3, 1)})
        assert client.post("/api/search", content=body).status_code == 200
        assert "no such weights" in client.get("/api/indices").json()[0]["text"]


def test_a_model_of_another_width_is_refused(world: World) -> None:
    class Wide:
        def embed_texts(self, texts: list[str]) -> object:
            import numpy as np

            return np.ones((len(texts), 7))

    service = Service(
        open_collections([world.index]), parse({}).search, load=lambda _: Wide()  # type: ignore[arg-type,return-value]
    )  # fmt: skip
    with TestClient(create_app(service)) as client:
        answer = client.post("/api/search", content='{"text": "red"}')
        assert "makes vectors of 7 numbers" in answer.json()["error"]


class _Pictures(http.server.BaseHTTPRequestHandler):
    body = b""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/a.jpg" else 404)
        self.send_header("content-length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def site(world: World) -> Iterator[str]:
    _Pictures.body = world.pictures[12][5]
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Pictures)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_image_url_is_fetched_through_the_guard(world: World, site: str) -> None:
    body = json.dumps({"image_url": f"{site}/a.jpg", "num": 1, "safe": False})
    opened = Settings("test/1.0", Guard(networks(["127.0.0.0/8"])), respect_robots_txt=False)
    with TestClient(create_app(world.service(web=opened))) as client:
        found = client.post("/api/search", content=body).json()
        assert found["results"][0]["id"] == vector_id(12, 5)
        missing = json.dumps({"image_url": f"{site}/b.jpg"})
        answer = client.post("/api/search", content=missing)
        assert (answer.status_code, "http_404" in answer.text) == (422, True)
    with TestClient(create_app(world.service(web=Settings("test/1.0")))) as client:
        for url in (
            f"{site}/a.jpg",
            "http://169.254.169.254/",
            "http://[::1]/",
            "http://2130706433/",
        ):
            answer = client.post("/api/search", content=json.dumps({"image_url": url}))
            assert answer.status_code == 422
            assert "forbidden_address" in answer.text


def test_networks_of_download_are_not_opened_to_strangers() -> None:
    said = {"user_agent": "ours/1.0 (+https://ours.test/)", "allow_networks": ["127.0.0.0/8"]}
    settings = _web(parse({"download": said}))
    assert isinstance(settings, Settings)
    assert settings.guard.opened == ()
    assert "user_agent" in str(_web(parse({})))
    assert "image_urls" in str(_web(parse({"search": {"image_urls": False}})))


def test_decoding_refuses_what_is_no_picture(world: World) -> None:
    whole = world.pictures[3][0]
    assert decode(whole, 10**6).size == (64, 64)
    for data in (b"", b"GIF89a", whole[:200], b"\x89PNG\r\n\x1a\n" + b"\0" * 60, b"%PDF-1.4"):
        with pytest.raises(RequestError) as refused:
            decode(data, 10**6)
        assert refused.value.status == 415


def test_bomb_is_refused_by_its_header() -> None:
    from PIL import Image

    stream = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(stream, "PNG")
    with pytest.raises(RequestError) as refused:
        decode(stream.getvalue(), 50_000_000)
    assert refused.value.status == 413


def test_shards_that_are_not_whole_have_no_images(world: World, tmp_path: Path) -> None:
    folder = tmp_path / "0003"
    shutil.copytree(world.shards[0], folder)
    (folder / "00001.parquet").unlink()
    (folder / "00002.tar").write_bytes(b"no tar")
    images = Thumbnails([folder])
    assert images.get("demo-0003-00000-00000") is not None
    assert images.get("demo-0003-00000-00030") is None  # its table is gone
    assert images.get("demo-0003-00000-00060") is None  # its tar is damaged
    assert images.get("a") is None
    assert images.get("z") is None


def test_served_for_real_until_interrupted(world: World) -> None:
    code = (
        "import sys; from laion_hpc import cli;"
        f"sys.exit(cli.main(['search', {str(world.index)!r}, '--port', '0']))"
    )
    service = subprocess.Popen(
        [sys.executable, "-c", code],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
    )
    try:
        assert service.stderr is not None
        line = ""
        while "http://" not in line:
            line = service.stderr.readline()
            assert line, "ended before it served"
        url = next(word for word in line.split() if word.startswith("http:"))

        def answer() -> str:
            with suppress(ConnectionError), urllib.request.urlopen(f"{url}/indices-list") as found:
                return str(found.read().decode())
            return ""

        assert json.loads(patience.until(answer, "an answer")) == ["demo"]
        service.send_signal(2)
        assert patience.wait(service) == 0
        assert "Traceback" not in service.stderr.read()
    finally:
        service.kill()
        service.wait()
        if service.stderr:
            service.stderr.close()
