"""Several workers, for real: they share a port and their counts, are replaced, and end together."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from contextlib import suppress
from pathlib import Path

import psutil

from tests import patience
from tests.stages.search.world import World


def ask(url: str, path: str) -> str:
    def answer() -> str:
        with suppress(OSError), urllib.request.urlopen(f"{url}{path}", timeout=60) as found:
            return str(found.read().decode())
        return ""

    return patience.until(answer, f"an answer to {path}")


def test_workers(world: World, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("w") as stream:
        service = subprocess.Popen(
            [sys.executable, "-m", "laion_hpc", "search", str(world.index),
             "--port", "0", "--workers", "2", "--embeddings", *map(str, world.embeddings)],
            stderr=stream,
            env=os.environ | {"HF_HUB_OFFLINE": "1"},
        )  # fmt: skip
    try:
        patience.until(
            lambda: service.poll() is not None or "http://" in log.read_text(),
            "the address of the service",
            sign=lambda: patience.worked(service.pid),
            tail=log.read_text,
        )
        assert service.poll() is None, log.read_text()
        url = next(word for word in log.read_text().split() if word.startswith("http://"))
        # Both are up once each has been asked: the kernel hands out the connections.
        for _ in range(21):
            assert json.loads(ask(url, "/indices-list")) == ["demo"]
        # Whichever worker tells, it tells of both.
        for _ in range(5):
            counted = ask(url, "/metrics")
            assert 'requests_total{route="/indices-list",status="200"} 21' in counted
            assert "laion_hpc_search_workers 2" in counted
        workers = psutil.Process(service.pid).children()
        assert len(workers) == 2
        workers[0].kill()
        patience.until(
            lambda: "starting another one" in log.read_text(),
            "word of another worker",
            tail=log.read_text,
        )
        assert json.loads(ask(url, "/indices-list")) == ["demo"]
        service.send_signal(signal.SIGTERM)
        assert patience.wait(service, log) == 0
        assert "Traceback" not in log.read_text()
        assert not any(worker.is_running() for worker in workers)
    finally:
        service.kill()
        service.wait()


def test_a_fault_that_all_workers_share_ends_the_service(world: World, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "laion_hpc", "search", tmp_path, "--port", "0"]
    ended = patience.run([*command, "--workers", "2"])
    assert ended.returncode == 1
    assert "no index.json there" in ended.stderr
    assert "Traceback" not in ended.stderr
