"""Which sample is next: input order, but none of a host that is busy with enough of them.

A shard can hold many links to one slow host. Taken strictly in order they would fill all
connections with waiting; here they step aside until a turn of their host is free.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Schedule(Generic[Item]):
    """A pure queue: `take` what may start now, tell with `done` that a host has a free turn."""

    def __init__(
        self, items: Iterator[tuple[Hashable, Item]], *, per_host: int, most_aside: int
    ) -> None:
        """`items` are (host, item) in order, read only as far as needed; `per_host` at once.

        No further item is read while `most_aside` of them stand aside: they take memory.
        """
        self._items = items
        self._per_host = per_host
        self._most_aside = most_aside
        self._waiting = 0
        self._busy: Counter[Hashable] = Counter()
        self._aside: dict[Hashable, deque[Item]] = {}
        self._free: deque[Hashable] = deque()
        self.exhausted = False
        """True once all items were read (some may still stand aside)."""

    def take(self) -> tuple[Hashable, Item] | None:
        """The next (host, item) that may start, or None if all that is left has to wait."""
        while self._free:
            host = self._free.popleft()
            if host in self._aside and self._busy[host] < self._per_host:
                return self._start(host, self._pop(host))
        while self._waiting < self._most_aside and not self.exhausted:
            read = next(self._items, None)
            if read is None:
                self.exhausted = True
                break
            host, item = read
            if self._busy[host] < self._per_host and host not in self._aside:
                return self._start(host, item)
            self._aside.setdefault(host, deque()).append(item)
            self._waiting += 1
        return None

    def done(self, host: Hashable) -> None:
        """An item of the host has ended."""
        self._busy[host] -= 1
        if not self._busy[host]:
            del self._busy[host]
        if host in self._aside:
            self._free.append(host)

    def _start(self, host: Hashable, item: Item) -> tuple[Hashable, Item]:
        self._busy[host] += 1
        return host, item

    def _pop(self, host: Hashable) -> Item:
        queue = self._aside[host]
        item = queue.popleft()
        self._waiting -= 1
        if not queue:
            del self._aside[host]
        return item
