"""The test cluster, started once for all tests that ask for it; the demo on another one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.slurm.cluster import Cluster, unavailable
from tests.slurm.documented import Newcomer


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A running SLURM; where there can be none the tests are skipped, in CI they fail."""
    demand_cluster()
    with Cluster() as running:
        yield running


@pytest.fixture(scope="session", autouse=True)
def newcomer(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Newcomer | None]:
    """The demo on SLURM, made from the first of these tests on, if any of them asks for it."""
    if unavailable() or not any(map(_of_demo, request.session.items)):
        yield None
        return
    running = Newcomer(tmp_path_factory.mktemp("newcomer"))
    yield running
    running.close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Its own tests come last: by then it is there."""
    items.sort(key=_of_demo)


def _of_demo(item: pytest.Item) -> bool:
    return item.path == Path(__file__).with_name("test_demo.py")


def demand_cluster() -> None:
    """Skip, or in CI fail, where there can be no cluster."""
    if reason := unavailable():
        if os.environ.get("CI") == "true":
            pytest.fail(f"in CI the SLURM tests must run, but this machine {reason}")
        pytest.skip(f"no test cluster: {reason}")
