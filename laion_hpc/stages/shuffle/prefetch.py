"""One thing is made while the one before it is used: two cores instead of one."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")


def ahead(items: Iterator[Item]) -> Iterator[Item]:
    """The same items, each made in another thread while the caller is busy with the last one.

    For makers that mostly wait or compute outside of Python, such as Arrow's. Exceptions arrive
    where the item would have. At most one item more than usual is held.
    """
    end: list[None] = []
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, items, end)
        while (item := coming.result()) is not end:
            coming = thread.submit(next, items, end)
            yield item  # type: ignore[misc]
