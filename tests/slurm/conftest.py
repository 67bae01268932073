"""The test cluster, started once for all tests that ask for it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.slurm.cluster import Cluster, unavailable


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A running SLURM; where there can be none the tests are skipped, in CI they fail."""
    if reason := unavailable():
        if os.environ.get("CI") == "true":
            pytest.fail(f"in CI the SLURM tests must run, but this machine {reason}")
        pytest.skip(f"no test cluster: {reason}")
    with Cluster() as running:
        yield running
