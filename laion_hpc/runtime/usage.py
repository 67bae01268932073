"""What the ranks of an MPI job used: told in its log, and read from there.

Snakemake measures the processes below its own. Those that `srun` starts are not among them, so
that it sees of an MPI job the wall time only. The ranks know best: each asks the operating system
about itself, and the leader says it for all in one line at the end of the job.
"""

from __future__ import annotations

import re
import resource
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

TAIL_BYTES: Final = 4_096
"""The line is the last of a log, or nearly so."""


@dataclass(frozen=True)
class Usage:
    """Of all ranks of a job together."""

    ranks: int
    cpu_seconds: float
    peak_mb: float
    """Sum of the peaks of all ranks: as much as the job may have held at one moment, in MiB."""
    largest_mb: float
    """Peak of the largest rank, in MiB."""

    _LINE = re.compile(
        r"\bused: (\d+) ranks, (\d+\.\d) CPU seconds, at most (\d+\.\d) MiB, "
        r"(\d+\.\d) MiB in the largest rank$",
        re.MULTILINE,
    )

    def line(self) -> str:
        """As the log has it."""
        return (
            f"used: {self.ranks} ranks, {self.cpu_seconds:.1f} CPU seconds, "
            f"at most {self.peak_mb:.1f} MiB, {self.largest_mb:.1f} MiB in the largest rank"
        )

    @classmethod
    def of_log(cls, log: Path) -> Self | None:
        """What the log of a job says; None if it is not there or not that of an MPI job."""
        try:
            with log.open("rb") as stream:
                stream.seek(max(0, log.stat().st_size - TAIL_BYTES))
                tail = stream.read().decode(errors="replace")
        except FileNotFoundError:
            return None
        found = cls._LINE.findall(tail)
        if not found:
            return None
        ranks, cpu, peak, largest = found[-1]
        return cls(int(ranks), float(cpu), float(peak), float(largest))


def of_ranks(measured: list[tuple[float, float]]) -> Usage:
    """From (CPU seconds, peak in MiB) of each rank."""
    cpu, peaks = zip(*measured, strict=True)
    return Usage(len(measured), sum(cpu), sum(peaks), max(peaks))


def of_this_process() -> tuple[float, float]:
    """CPU seconds and peak memory in MiB of this process and of its children that have ended."""
    unit = 1 if sys.platform == "darwin" else 1024
    mine, theirs = (
        resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    cpu = mine.ru_utime + mine.ru_stime + theirs.ru_utime + theirs.ru_stime
    return cpu, max(mine.ru_maxrss, theirs.ru_maxrss) * unit / 2**20
