"""How far a job is: a live bar on a terminal, a plain line now and then in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from laion_hpc.runtime import console

LINE_SECONDS = 15.0
"""Between two lines in a log: a night-long job stays under a few thousand lines."""


class Progress(Protocol):
    """What a stage tells about its work."""

    def advance(self, done: int = 1, note: str = "") -> None:
        """`done` more units are finished; `note` is shown at the end of the line."""


@contextmanager
def progress(label: str, total: int, unit: str = "units") -> Iterator[Progress]:
    """Show `label: done/total unit`, on standard error."""
    if console.quiet():
        with silence() as shown:
            yield shown
    elif sys.stderr.isatty():
        with _bar(label, total, unit) as bar:
            yield bar
    else:
        lines = _Lines(label, total, unit)
        yield lines
        lines.close()


@contextmanager
def silence() -> Iterator[Progress]:
    """Show nothing."""

    class _Silent:
        def advance(self, done: int = 1, note: str = "") -> None:
            pass

    yield _Silent()


class _Lines:
    def __init__(self, label: str, total: int, unit: str) -> None:
        self._label, self._total, self._unit = label, total, unit
        self._done, self._note = 0, ""
        self._start = self._last = time.monotonic()

    def advance(self, done: int = 1, note: str = "") -> None:
        self._done += done
        self._note = note or self._note
        now = time.monotonic()
        if now - self._last >= LINE_SECONDS:
            self._last = now
            self._print(now)

    def close(self) -> None:
        self._print(time.monotonic())

    def _print(self, now: float) -> None:
        seconds = max(now - self._start, 1e-9)
        rate = self._done / seconds
        left = (self._total - self._done) / rate if rate else 0.0
        eta = f", {left:.0f} s left" if self._done < self._total and rate else ""
        note = f", {self._note}" if self._note else ""
        done = f"{self._done}/{self._total} {self._unit} in {seconds:.1f} s"
        console.say(f"{self._label}: {done}{eta}{note}")


@contextmanager
def _bar(label: str, total: int, unit: str) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Bar(*columns, console=Console(stderr=True), transient=False) as bar:
        task = bar.add_task(label, total=total, note="")

        class _Rich:
            def advance(self, done: int = 1, note: str = "") -> None:
                bar.advance(task, done)
                if note:
                    bar.update(task, note=note)

        yield _Rich()
