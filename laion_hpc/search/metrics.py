"""Counts and times requests, and tells them in Prometheus' text format."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Mapping

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper ends in seconds; Prometheus' usual ones."""


class Metrics:
    """Of one process; all methods are safe to call from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers: dict[tuple[str, int], int] = defaultdict(int)
        self._buckets: dict[str, list[int]] = defaultdict(lambda: [0] * len(BUCKETS))
        self._seconds: dict[str, float] = defaultdict(float)
        self._counts: dict[str, int] = defaultdict(int)

    def answered(self, route: str, status: int, seconds: float) -> None:
        """A request to `route` (its pattern, not its path) was answered."""
        with self._lock:
            self._answers[route, status] += 1
            self._counts[route] += 1
            self._seconds[route] += seconds
            for position, end in enumerate(BUCKETS):
                if seconds <= end:
                    self._buckets[route][position] += 1

    def text(self, vectors: Mapping[str, int]) -> str:
        """All numbers; `vectors` are those of each index."""
        with self._lock:
            lines = [
                "# HELP laion_hpc_search_requests_total Requests answered.",
                "# TYPE laion_hpc_search_requests_total counter",
            ]
            lines += [
                f'laion_hpc_search_requests_total{{route="{route}",status="{status}"}} {count}'
                for (route, status), count in sorted(self._answers.items())
            ]
            name = "laion_hpc_search_request_seconds"
            lines += [f"# HELP {name} Time to answer.", f"# TYPE {name} histogram"]
            for route in sorted(self._counts):
                for end, count in zip(BUCKETS, self._buckets[route], strict=True):
                    lines.append(f'{name}_bucket{{route="{route}",le="{end}"}} {count}')
                lines.append(f'{name}_bucket{{route="{route}",le="+Inf"}} {self._counts[route]}')
                lines.append(f'{name}_sum{{route="{route}"}} {self._seconds[route]:.6f}')
                lines.append(f'{name}_count{{route="{route}"}} {self._counts[route]}')
        lines += [
            "# HELP laion_hpc_search_vectors Vectors in an index.",
            "# TYPE laion_hpc_search_vectors gauge",
        ]
        lines += [
            f'laion_hpc_search_vectors{{index="{index}"}} {count}'
            for index, count in vectors.items()
        ]
        return "\n".join(lines) + "\n"
