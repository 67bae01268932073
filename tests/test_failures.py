"""What goes wrong at a real site: a clear message, the right exit code, nothing half-written."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import patience
from tests.stages.extract.wats import some_pages, write_wat

pytestmark = pytest.mark.slow

LAION_HPC = [sys.executable, "-m", "laion_hpc"]


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return patience.run([*LAION_HPC, *map(str, arguments)])


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of 64 KB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "none", folder], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("needs the right to mount a small disk (root)")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_wrong_config(tmp_path: Path) -> None:
    config = tmp_path / "site.yaml"
    config.write_text("extract: {min_text_characters: few}")
    done = run("extract", "x.wat.gz", "--output", tmp_path / "part.parquet", "--config", config)
    assert done.returncode == 2
    assert "site.yaml: extract.min_text_characters" in done.stderr
    assert list(tmp_path.iterdir()) == [config]


def test_a_missing_wat(tmp_path: Path) -> None:
    done = run("extract", tmp_path / "gone.warc.wat.gz", "--output", tmp_path / "part.parquet")
    assert done.returncode == 1
    assert "gone.warc.wat.gz" in done.stderr
    assert not (tmp_path / "part.parquet").exists()
    assert "Traceback" not in done.stderr


def test_an_unknown_crawl(tmp_path: Path) -> None:
    lock = tmp_path / "CC-MAIN-1999-01.json"
    done = run("extract", "--lock", lock, "--segment", "1.0", "--output", tmp_path / "p.parquet")
    assert done.returncode in (1, 2)
    assert "laion-hpc crawl CC-MAIN-1999-01" in done.stderr


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("search", tmp_path, "--port", str(port))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_no_space_left(small_disk: Path, tmp_path: Path) -> None:
    wat = tmp_path / "a.warc.wat.gz"
    write_wat(wat, some_pages(1_000))
    done = run("extract", wat, "--output", small_disk / "part.parquet", "--blocks", "2")
    assert done.returncode == 1
    assert "no space left" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (small_disk / "part.parquet").exists()
    assert not list(small_disk.rglob("*.part"))


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("processes", ["1", "2"])
def test_interrupted(tmp_path: Path, signum: int, code: int, processes: str) -> None:
    wats = [tmp_path / f"{n}.warc.wat.gz" for n in range(4)]
    for wat in wats:
        write_wat(wat, some_pages(3_000))
    output = tmp_path / "part.parquet"
    command = [*LAION_HPC, "extract", *map(str, wats), "--output", str(output)]
    job = subprocess.Popen([*command, "--processes", processes], stderr=subprocess.PIPE, text=True)
    parts = tmp_path / "part.parts"
    patience.until(
        lambda: job.poll() is not None or (parts.exists() and any(parts.iterdir())),
        "the first part of the output",
        sign=lambda: patience.worked(job.pid),
        pause=0.02,
    )
    os.kill(job.pid, signum)
    _, said = patience.output(job)
    assert job.returncode == code, said
    assert "Traceback" not in said
    assert not output.exists()
    assert not list(tmp_path.rglob("*.part"))
