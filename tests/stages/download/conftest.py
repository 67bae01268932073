"""A hostile web with images, for the tests of the command."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from tests.stages.download.web import IMAGES
from tests.web.hostile import Server, pages


@pytest.fixture(autouse=True)
def no_handler_stays() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server({**pages(), **IMAGES}) as running:
        yield running
