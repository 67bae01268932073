"""A small web of the demo, built once for all tests that need one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from laion_hpc.demo import build
from tests.demo_runs import free_port


@dataclass(frozen=True)
class Built:
    """A built web: where it is and what it was built from."""

    folder: Path
    parameters: build.Parameters


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("web")
    parameters = build.parameters(pages=120, seed=5, port=free_port())
    build.build(folder, parameters, processes=1)
    return Built(folder, parameters)
