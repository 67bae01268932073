"""How far the lanes are, for one display: each writes its counts to its place in a small file.

A file, not a queue, because lanes may be processes of this machine or MPI ranks on others.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from laion_hpc.runtime.progress import progress

NAME = ".progress"
PLACE = 4096
"""Bytes per lane; a record is a line of JSON padded with spaces."""
SECONDS = 1.0


class Tally:
    """A lane's counts: outcomes so far, empty reason for success."""

    def __init__(self, path: Path, lane: int) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
        self._at = lane * PLACE
        self._outcomes: Counter[str] = Counter()
        self._last = 0.0

    def count(self, reason: str) -> None:
        """One more sample has its outcome."""
        self._outcomes[reason] += 1
        now = time.monotonic()
        if now - self._last >= SECONDS:
            self._last = now
            self._write()

    def close(self) -> None:
        """Write the last counts."""
        self._write()
        os.close(self._file)

    def _write(self) -> None:
        record = json.dumps(dict(self._outcomes.most_common(100))).encode()
        os.pwrite(self._file, record.ljust(PLACE)[:PLACE], self._at)


def read(path: Path) -> Counter[str]:
    """The counts of all lanes together."""
    outcomes: Counter[str] = Counter()
    data = path.read_bytes() if path.exists() else b""
    for at in range(0, len(data), PLACE):
        try:
            outcomes.update(json.loads(data[at : at + PLACE].strip(b"\0 ") or b"{}"))
        except ValueError:
            # Read while it was written: the next look will do.
            continue
    return outcomes


def describe(outcomes: Counter[str], seconds: float) -> str:
    """Rate, share of success and the three most frequent reasons of failure."""
    done = outcomes.total()
    if not done:
        return ""
    worst = [(reason, n) for reason, n in outcomes.most_common() if reason][:3]
    parts = [f"{done / max(seconds, 1e-9):.0f}/s", f"{outcomes[''] / done:.0%} success"]
    return ", ".join(parts + [f"{reason} {n / done:.1%}" for reason, n in worst])


@contextmanager
def shown(path: Path, label: str, total: int) -> Iterator[None]:
    """Show the lanes' progress while the body runs, from a thread of its own."""
    path.unlink(missing_ok=True)
    stop = threading.Event()
    started = time.monotonic()
    with progress(label, total, "samples") as bar:
        before = 0

        def look() -> None:
            nonlocal before
            outcomes = read(path)
            bar.advance(
                max(0, outcomes.total() - before), describe(outcomes, time.monotonic() - started)
            )
            before = max(before, outcomes.total())

        def watch() -> None:
            while not stop.wait(SECONDS):
                look()

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            stop.set()
            watcher.join()
            look()
            path.unlink(missing_ok=True)
