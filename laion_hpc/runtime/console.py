"""What a command says: log lines on standard error, results on standard output.

Log lines have a level; `--quiet` keeps warnings and errors only, `--verbose` adds details. In a
log (standard error is not a terminal, or this is a SLURM job) each line begins with the time.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Collection, Sequence

LEVEL = "LAION_HPC_LOG"
"""Variable with the level of the log, for the processes that a command starts: quiet or verbose."""

_LEVELS = {"quiet": logging.WARNING, "": logging.INFO, "verbose": logging.DEBUG}
_log = logging.getLogger("laion_hpc")


class _Lines(logging.Formatter):
    """`laion-hpc: error: …` for errors, `warning: …` for warnings, else the words themselves."""

    def format(self, record: logging.LogRecord) -> str:
        said = record.getMessage()
        if record.levelno >= logging.ERROR:
            said = f"laion-hpc: error: {said}"
        elif record.levelno == logging.WARNING:
            said = f"warning: {said}"
        if sys.stderr.isatty() and not os.environ.get("SLURM_JOB_ID"):
            return said
        return f"{self.formatTime(record, '%Y-%m-%d %H:%M:%S')} {said}"


class _Stderr(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes to what sys.stderr is now: tests and pools exchange it."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)
        self.setFormatter(_Lines())

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


def set_up(level: str = "") -> None:
    """Begin the log of this process and of those that it starts; `level`: quiet, verbose or ""."""
    os.environ[LEVEL] = level
    _logger()
    _log.setLevel(_LEVELS[level])


def _logger() -> logging.Logger:
    if not _log.handlers:
        _log.addHandler(_Stderr())
        _log.propagate = False
        _log.setLevel(_LEVELS.get(os.environ.get(LEVEL, ""), logging.INFO))
    return _log


def quiet() -> bool:
    """Whether only warnings and errors are wanted."""
    return not _logger().isEnabledFor(logging.INFO)


def say(message: str) -> None:
    """Tell what has been done, on standard error."""
    _logger().info("%s", message)


def detail(message: str) -> None:
    """Tell what only somebody wants to know who looks for a fault."""
    _logger().debug("%s", message)


def warn(message: str) -> None:
    """Tell what may be wrong although the command goes on."""
    _logger().warning("%s", message)


def fail(message: str) -> None:
    """Tell why the command ends."""
    _logger().error("%s", message)


def out(text: str = "", *, end: str = "\n") -> None:
    """Print a result on standard output."""
    print(text, end=end, flush=True)


def aligned(rows: Sequence[Sequence[str]], *, left: Collection[int] = (0,)) -> list[str]:
    """Rows of cells as lines; columns in `left` begin at the left, the others end at the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def table(
    title: str,
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    left: Collection[int] = (0,),
    styles: Sequence[str] = (),
) -> None:
    """Print a table of results: drawn on a terminal, plain aligned lines elsewhere.

    `styles` has a colour for each row, such as red, or "" for none.
    """
    if not sys.stdout.isatty():
        out(title)
        for line in aligned([heads, *rows], left=left):
            out(f"  {line}")
        return
    from rich.console import Console
    from rich.table import Table

    drawn = Table(title=title, title_justify="left")
    for column, head in enumerate(heads):
        drawn.add_column(head, justify="left" if column in left else "right")
    for row, style in zip(rows, styles or [""] * len(rows), strict=True):
        drawn.add_row(*row, style=style)
    Console().print(drawn)


def duration(hours: float | None) -> str:
    """Hours as people say them: 40 s, 12 min, 3.5 h, 2.1 d; empty where they are not known."""
    if hours is None:
        return ""
    if hours < 1 / 60:
        return f"{hours * 3600:.2g} s"
    if hours < 1:
        return f"{hours * 60:.0f} min"
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.1f} d"


def size(number: float) -> str:
    """Bytes in powers of ten: 1.5 GB; empty for none."""
    for unit, name in ((1e15, " PB"), (1e12, " TB"), (1e9, " GB"), (1e6, " MB")):
        if number >= unit:
            return f"{number / unit:,.3g}{name}"
    return f"{number / 1e3:,.3g} kB" if number else ""


def count(number: float) -> str:
    """A number of things: 1.2 G, 35 M, 900."""
    for unit, name in ((1e9, " G"), (1e6, " M")):
        if number >= unit:
            return f"{number / unit:,.4g}{name}"
    return f"{number:,.0f}"
