"""When to ask again: what an answer says of it, and how long to wait. Pure functions."""

from __future__ import annotations

import email.utils
import time

HEALING = frozenset([408, 425, 429])
"""Client errors that a later request may not meet; so may any 5xx but these:"""
LASTING = frozenset([501, 505, 506, 508, 510, 511])

FIRST_PAUSE = 0.5
"""Seconds after the first failure of a request for an image."""


def heals(status: int) -> bool:
    """True if a later request may well get a better answer than this status."""
    return status in HEALING or (500 <= status <= 599 and status not in LASTING)


def pause(
    failures: int,
    asked: float | None,
    chance: float,
    *,
    first: float,
    longest: float = float("inf"),
) -> float:
    """Seconds to wait after `failures` in a row (from 1 on); `chance` is uniform in 0 … 1.

    Ours doubles from `first`, spread by ± half, so that many who were turned away together do not
    come back together. The least is what the server asked for by Retry-After, with up to a quarter
    more for the same reason. Never more than `longest`.
    """
    own = first * 2.0 ** min(failures - 1, 60) * (0.5 + chance)
    return min(max(own, (asked or 0.0) * (1 + chance / 4)), longest)


def retry_after(value: str, now: float | None = None) -> float | None:
    """Seconds that a Retry-After header asks for (a number or an HTTP date), None if unreadable."""
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        when = email.utils.parsedate_to_datetime(text).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None
    return max(0.0, when - (time.time() if now is None else now))
