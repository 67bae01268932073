"""What every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# Continuous integration tries the same examples each time: a change is judged by itself.
settings.register_profile("ci", derandomize=True, deadline=None)
settings.register_profile("here", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "here")


@pytest.fixture(scope="session")
def testdata() -> Path:
    """The folder of real test data, from $LAION_HPC_TESTDATA; without it the test is skipped."""
    folder = os.environ.get("LAION_HPC_TESTDATA", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip("needs the real test data: set LAION_HPC_TESTDATA to its folder")
    return Path(folder)
