"""Commands of the demo in a folder of their own."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

from laion_hpc.demo.sites import HOSTS
from tests import patience

ROOT = Path(__file__).parents[1]


def free_port() -> int:
    """A port that is free on the demo's first host, and most likely on the others."""
    with socket.socket() as probe:
        probe.bind((HOSTS[0], 0))
        return int(probe.getsockname()[1])


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "laion_hpc", *arguments]


def whole(port: int, cores: int) -> list[str]:
    """Arguments of a whole run."""
    return ["demo", "run", "--port", str(port), "--cores", str(cores)]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def run(folder: Path, *arguments: str, code: int = 0) -> str:
    """A command of ours in a folder; all that it says. Fails unless it ends with `code`."""
    return finished(command(*arguments), folder, code=code)


def finished(command: list[str], folder: Path, code: int = 0) -> str:
    """Any command in a folder; all that it says. Fails unless it ends with `code`."""
    done = patience.run(command, cwd=folder, env=environment(), merged=True)
    assert done.returncode == code, done.stdout[-5_000:]
    return done.stdout
