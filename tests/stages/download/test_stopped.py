"""The command stopped by a signal, and run again."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest

from laion_hpc.cli import main
from laion_hpc.files.shards import read_shard
from tests import patience
from tests.stages.download.web import IMAGES, digests, write_config, write_urls
from tests.web.hostile import Server, response

pytestmark = pytest.mark.slow

DEADLINE = 300


class Gate:
    """A web that answers the first so many requests for images and lets the others wait."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.close(after=10**9)

    def close(self, *, after: int) -> None:
        self.open, self.waiting, self._free = threading.Event(), threading.Event(), after

    def __call__(self, server: Server, connection: Any) -> None:
        with self._lock:
            self._free -= 1
            wait = self._free < 0
        if wait:
            self.waiting.set()
            # Twice the deadline of the download: by then nobody waits for the answer.
            self.open.wait(2 * DEADLINE)
        connection.sendall(IMAGES["/image.jpg"])


@pytest.fixture(scope="module")
def gated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gate, list[str], Path]]:
    """A gate, the arguments for four shards behind it, and what an undisturbed run makes."""
    gate = Gate()
    folder = tmp_path_factory.mktemp("gated")
    with Server({"*": gate, "/robots.txt": response(b"")}) as server:
        data = write_urls(folder / "u.parquet", [f"{server.url}/{n}.jpg" for n in range(40)])
        # Two of this one host at a time: in order, more or less, so that some shard is done
        # when the gate closes and some is not.
        config = write_config(folder, deadline_seconds=DEADLINE, connections_per_host=2)
        arguments = ["download", data, "--config", config, "--samples-per-shard", "10"]
        assert main([*arguments, "--output", str(folder / "fresh")]) == 0
        yield gate, arguments, folder / "fresh"


@pytest.mark.parametrize(
    ("number", "processes", "code"),
    [
        (signal.SIGTERM, "1", 143),
        (signal.SIGINT, "1", 130),
        (signal.SIGTERM, "2", 143),
        (signal.SIGKILL, "2", -9),
    ],
)
def test_stopped_in_the_middle_and_run_again(
    gated: tuple[Gate, list[str], Path],
    tmp_path: Path,
    number: signal.Signals,
    processes: str,
    code: int,
) -> None:
    gate, arguments, fresh = gated
    gate.close(after=33)
    output = tmp_path / "out"
    arguments = [*arguments, "--output", str(output)]
    command = [sys.executable, "-m", "laion_hpc", *arguments, "--processes", processes]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    patience.until(
        lambda: gate.waiting.is_set() or process.poll() is not None,
        "a request that has to wait",
        sign=lambda: patience.worked(process.pid),
    )
    family = psutil.Process(process.pid).children(recursive=True)
    assert family
    process.send_signal(number)
    _, errors = patience.output(process)
    assert process.returncode == code, errors
    assert b"Traceback" not in errors
    _, alive = psutil.wait_procs(family, timeout=patience.SILENCE)
    assert not alive
    assert not (output / "manifest.json").exists()
    finished = {path.name.partition(".")[0] for path in output.glob("*.ledger.json")}
    assert len(finished) < 4
    # Whatever has its final name is whole.
    for tar in output.glob("[0-9]*.tar"):
        assert len(list(read_shard(tar))) == 10
    for parquet in output.glob("[0-9]*.parquet"):
        assert pq.read_table(parquet).num_rows == 10
    if number != signal.SIGKILL:
        assert not (output / ".progress").exists()

    gate.open.set()
    assert main(arguments) == 0
    assert digests(output) == digests(fresh)
