"""When to ask again, and when not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laion_hpc.web.retry import heals, pause, retry_after


@given(st.integers(1, 10), st.none() | st.floats(0, 100), st.floats(0, 1))
def test_pauses_grow_and_never_fall_below_what_the_host_asked(
    attempt: int, asked: float | None, chance: float
) -> None:
    found = pause(attempt, asked, chance, first=0.5)
    assert found >= 0.5 / 2 * 2 ** (attempt - 1)
    assert found >= (asked or 0)
    assert found <= max(0.5 * 1.5 * 2 ** (attempt - 1), (asked or 0) * 1.25)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        (" 0 ", 0.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 28.0),
        ("Wed, 21 Oct 2015 07:00:00 GMT", 0.0),
        ("soon", None),
        ("-5", None),
        ("", None),
        ("١٢", None),
    ],
)
def test_retry_after(value: str, seconds: float | None) -> None:
    now = 1_445_412_452.0  # 2015-10-21 07:27:32 UTC
    assert retry_after(value, now) == seconds


@given(st.text(max_size=40))
def test_retry_after_reads_anything(value: str) -> None:
    found = retry_after(value)
    assert found is None or found >= 0


def test_a_pause_has_an_end() -> None:
    assert pause(1, 0, 0.5, first=2) < pause(3, 0, 0.5, first=2) < pause(6, 0, 0.5, first=2)
    for failures, asked in ((99, 0.0), (10**6, None), (1, 10_000.0)):
        assert pause(failures, asked, 1, first=2, longest=300) == 300


def test_those_who_were_turned_away_together_come_back_apart() -> None:
    assert pause(1, 60, 0, first=2) == 60
    assert pause(1, 60, 1, first=2) == 75


def test_which_answers_heal() -> None:
    assert all(map(heals, (408, 425, 429, 500, 502, 503, 504, 522)))
    assert not any(map(heals, (200, 301, 400, 401, 403, 404, 410, 451, 501, 505)))
