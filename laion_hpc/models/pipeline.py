"""Several batches under way to a device; their results come in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

BATCHES_UNDER_WAY = 3
"""Batches sent to the GPU before the first one's result is fetched."""

Vectors = NDArray[np.float32]


class Queue:
    """Batches under way; their results come in order."""

    def __init__(self, width: int) -> None:
        self._under_way: deque[Callable[[], Vectors]] = deque()
        self._done = [np.empty((0, width), np.float32)]

    def add(self, batch: Callable[[], Vectors]) -> None:
        """Add a batch, by its waiting function; wait for the oldest if there are too many."""
        self._under_way.append(batch)
        if len(self._under_way) == BATCHES_UNDER_WAY:
            self._done.append(self._under_way.popleft()())

    def all(self) -> Vectors:
        """Wait for all of them: (n, width) in their order."""
        self._done.extend(wait() for wait in self._under_way)
        return np.concatenate(self._done)
