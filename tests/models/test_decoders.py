"""Processes that decode: what goes wrong in one is an error here, never a wait without end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from laion_hpc.errors import LaionHpcError
from laion_hpc.models import tokens
from laion_hpc.models.decoders import Decoders


def test_closing_wakes_whoever_waits() -> None:
    decoders = Decoders(1, 4096)
    pending = [
        decoders.submit(sleeps, at="s.tar"),
        *(decoders.submit(partial(sleeps), at="s.tar") for _ in range(5)),
    ]
    threading.Timer(0.2, decoders.close).start()
    for future in pending:
        with pytest.raises(LaionHpcError, match="stopped"):
            future.result(timeout=30)
    with pytest.raises(LaionHpcError, match="stopped"):
        decoders.submit(sleeps, at="s.tar")


class TwoPartError(Exception):
    """Can be pickled, but not unpickled: its arguments are not those of `Exception`."""

    def __init__(self, what: str, where: str) -> None:
        super().__init__(f"{what} of {where}")


def raises_two_parts(_desk: object) -> None:
    raise TwoPartError("fault", "a view")


def returns_a_function(_desk: object) -> Callable[[], None]:
    return lambda: None


def breaks_on_arrival(_desk: object) -> object:
    return Unreadable()


class Unreadable:
    """A result that can be sent and not be read."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (int, ("not a number",))


def repeats(_desk: object, data: bytes) -> bytes:
    return data


@pytest.mark.parametrize(
    ("task", "words"),
    [
        (raises_two_parts, "TwoPartError: fault of a view"),
        (returns_a_function, "lambda"),
        (breaks_on_arrival, "not a number"),
    ],
)
def test_what_cannot_be_sent_is_an_error_and_no_hang(
    task: Callable[[object], object], words: str
) -> None:
    decoders = Decoders(1, 4096)
    try:
        with pytest.raises(Exception, match=words):
            decoders.submit(task, at="s.tar").result(timeout=30)
    finally:
        decoders.close()


def test_long_texts_and_large_batches_do_not_fill_both_pipes() -> None:
    process = tokens._tokenizing()
    try:
        sent = [process.submit(repeats, bytes(2_000_000), at="texts") for _ in range(4)]
        assert [len(future.result(timeout=60)) for future in sent] == [2_000_000] * 4
    finally:
        tokens.stop()


def sleeps(_desk: object) -> None:
    time.sleep(60)
