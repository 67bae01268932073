"""What every test may use."""

from __future__ import annotations

import ctypes
import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

from tests.demo_runs import free_port, run, whole

# Continuous integration tries the same examples each time: a change is judged by itself.
settings.register_profile("ci", derandomize=True, deadline=None)
settings.register_profile("here", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "here")

# In the background of a shell script Ctrl-C is ignored, and the commands that tests start and
# interrupt would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


LANES = {
    "cluster": {"cluster", "newcomer"},
    "browser": {"browser"},
    "demo": {"demo_run"},
}
"""Markers, and the fixtures that put a test into their lane."""


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test is in the lane of what it asks for, whoever wrote it.

    One process runs a whole lane, so that there is one demo and one browser.
    """
    for item in items:
        asked = set(getattr(item, "fixturenames", ()))
        for lane, fixtures in LANES.items():
            if asked & fixtures:
                item.add_marker(lane)
                item.add_marker(pytest.mark.xdist_group(lane))


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown() -> None:
    """What faiss has printed belongs to the test that made it, not below the summary of all.

    C keeps lines for a pipe or a file until its buffer is full or the process ends, when pytest
    listens no longer.
    """
    ctypes.CDLL(None).fflush(None)


@pytest.fixture(scope="session")
def testdata() -> Path:
    """The folder of real test data, from $LAION_HPC_TESTDATA; without it the test is skipped."""
    folder = os.environ.get("LAION_HPC_TESTDATA", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip("needs the real test data: set LAION_HPC_TESTDATA to its folder")
    return Path(folder)


@pytest.fixture(scope="session")
def demo_port() -> int:
    """The port that the demo's web is served on, free at the time."""
    return free_port()


@pytest.fixture(scope="session")
def demo_run(tmp_path_factory: pytest.TempPathFactory, demo_port: int) -> tuple[Path, str]:
    """A whole run of the demo, two processes a job: its folder and all that it said.

    Its results are under `results/demo` of the folder. Tests leave them as they are.
    """
    folder = tmp_path_factory.mktemp("demo")
    return folder, run(folder, *whole(demo_port, cores=2))
