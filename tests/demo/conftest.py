"""A small web of the demo, built once for all tests that need one."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path

import pytest

from laion_hpc.demo import build
from laion_hpc.demo.sites import HOSTS


@dataclass(frozen=True)
class Built:
    """A built web: where it is and what it was built from."""

    folder: Path
    parameters: build.Parameters


def free_port() -> int:
    """A port that is free on the demo's first host, and most likely on the others."""
    with socket.socket() as probe:
        probe.bind((HOSTS[0], 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("web")
    parameters = build.parameters(pages=120, seed=5, port=free_port())
    build.build(folder, parameters, processes=1)
    return Built(folder, parameters)
