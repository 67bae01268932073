"""Counts and times requests, and shows them in Prometheus' text format."""

from __future__ import annotations

import mmap
import threading
from collections.abc import Mapping, Sequence

import numpy as np

from laion_hpc.stages.search.http.routes import ROUTES

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper ends in seconds; Prometheus' usual ones."""
STATUSES = (200, 204, 304, 400, 403, 404, 405, 413, 415, 422, 429, 500, 503)
"""Statuses of the service; all others are counted in the last column, 0."""
OTHER = "other"
COUNTED = (*(route.path for route in ROUTES), OTHER)
"""The routes counted; the page's files and unknown paths are `other`."""


class Metrics:
    """Metrics of all workers; make it before they are forked. Each worker writes its own row.
    Several threads of a worker may call the methods.
    """

    def __init__(self, workers: int = 1) -> None:
        shape = (workers, len(COUNTED), len(STATUSES) + 1 + len(BUCKETS) + 1)
        memory = mmap.mmap(-1, int(np.prod(shape)) * 8)
        self._all = np.frombuffer(memory, np.float64).reshape(shape)
        self._mine = self._all[0]
        self._lock = threading.Lock()

    def write_as(self, worker: int) -> None:
        """Which worker this process is."""
        self._mine = self._all[worker]

    def answered(self, route: str, status: int, seconds: float) -> None:
        """A request to `route` (its pattern, not its path) was answered."""
        row = COUNTED.index(route if route in COUNTED else OTHER)
        column = STATUSES.index(status) if status in STATUSES else len(STATUSES)
        first = len(STATUSES) + 1
        with self._lock:
            self._mine[row, column] += 1
            # Cumulative: every bucket whose end is not below it.
            self._mine[row, first + np.searchsorted(BUCKETS, seconds) : -1] += 1
            self._mine[row, -1] += seconds

    def text(self, vectors: Mapping[str, int]) -> str:
        """All numbers; `vectors` are those of each index."""
        sums = self._all.sum(axis=0)
        total, name = "laion_hpc_search_requests_total", "laion_hpc_search_request_seconds"
        lines = [f"# HELP {total} Requests answered.", f"# TYPE {total} counter"]
        counts = sums[:, : len(STATUSES) + 1]
        for route, row in zip(COUNTED, counts, strict=True):
            for status, count in zip((*STATUSES, 0), row, strict=True):
                if count:
                    lines.append(f'{total}{{route="{route}",status="{status}"}} {count:.0f}')
        lines += [f"# HELP {name} Time to answer.", f"# TYPE {name} histogram"]
        for route, row in zip(COUNTED, sums, strict=True):
            asked = row[: len(STATUSES) + 1].sum()
            if asked:
                lines += _histogram(name, route, row[len(STATUSES) + 1 :], asked)
        lines += [
            "# HELP laion_hpc_search_workers Processes that answer.",
            "# TYPE laion_hpc_search_workers gauge",
            f"laion_hpc_search_workers {len(self._all)}",
            "# HELP laion_hpc_search_vectors Vectors in an index.",
            "# TYPE laion_hpc_search_vectors gauge",
        ]
        lines += [
            f'laion_hpc_search_vectors{{index="{index}"}} {count}'
            for index, count in vectors.items()
        ]
        return "\n".join(lines) + "\n"


def _histogram(name: str, route: str, row: Sequence[float], asked: float) -> list[str]:
    lines = [
        f'{name}_bucket{{route="{route}",le="{end}"}} {count:.0f}'
        for end, count in zip(BUCKETS, row, strict=False)
    ]
    lines.append(f'{name}_bucket{{route="{route}",le="+Inf"}} {asked:.0f}')
    lines.append(f'{name}_sum{{route="{route}"}} {row[-1]:.6f}')
    lines.append(f'{name}_count{{route="{route}"}} {asked:.0f}')
    return lines
