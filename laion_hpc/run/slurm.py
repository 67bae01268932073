"""What SLURM says of a workflow's jobs: read from `squeue` and `sacct`, where they are.

Snakemake writes rule and wildcards into a job's comment: rule_download_wildcards_CRAWL_0007.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

ANSWER_SECONDS = 20
"""A status does without SLURM's words if the controller needs longer to answer."""


Unit = tuple[str, str, str]
"""Crawl, rule, and segment or block (empty: of the whole crawl)."""


@dataclass(frozen=True)
class SlurmJob:
    """A job as SLURM shows it."""

    number: str
    state: str
    """In SLURM's words: RUNNING, PENDING, OUT_OF_MEMORY, …"""
    reason: str
    """Why it waits or ended, where SLURM says so."""
    comment: str
    folder: Path
    """Where it was submitted."""

    def unit(self, crawls: Iterable[str]) -> Unit | None:
        """Crawl, rule and unit that it makes; None if it belongs to no job of these crawls."""
        rule, _, wildcards = self.comment.removeprefix("rule_").partition("_wildcards_")
        for crawl in sorted(crawls, key=len, reverse=True):
            if wildcards == crawl or wildcards.startswith(f"{crawl}_"):
                return crawl, rule, wildcards[len(crawl) + 1 :]
        return None


@dataclass(frozen=True)
class State:
    """What is known of a unit's latest job."""

    state: str
    """`running`, `pending` or `failed`."""
    note: str
    """SlurmJob number and SLURM's reason."""


def jobs() -> list[SlurmJob] | None:
    """This user's jobs of the last week, in order; None without SLURM, or if it does not answer.

    Ended ones are known only where the accounting stores comments (AccountingStoreFlags).
    """
    if not shutil.which("squeue"):
        return None
    now = _ask("squeue", "--me", "--noheader", "--format=%A|%T|%r|%Z|%k")
    if now is None:
        return None
    ended = None
    if shutil.which("sacct"):
        ended = _ask(
            *("sacct", "--allocations", "--noheader", "--parsable2", "--starttime=now-7days"),
            "--format=JobIDRaw,State,Reason,WorkDir,Comment",
        )
    # squeue last: it knows what accounting has not yet been told.
    found = {job.number: job for job in [*parse(ended or ""), *parse(now)]}
    return sorted(found.values(), key=lambda job: int(job.number))


def _ask(*command: str) -> str | None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=ANSWER_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def parse(lines: str) -> list[SlurmJob]:
    """Jobs from lines of number|state|reason|folder|comment; others' lines are passed over."""
    found = []
    for line in lines.splitlines():
        fields = line.split("|", 4)
        if len(fields) == 5 and fields[0].isdigit() and fields[4].startswith("rule_"):
            number, state, reason, folder, comment = fields
            # "CANCELLED by 0" is CANCELLED.
            found.append(
                SlurmJob(number, state.split(" ")[0], reason, comment.strip(), Path(folder))
            )
    return found


def states(
    jobs: Iterable[SlurmJob], crawls: Iterable[str], results: Path, configured: str = ""
) -> dict[Unit, State]:
    """By crawl, rule and unit: the latest job's state. Only jobs of this workflow count.

    Those are the jobs submitted in a folder from which `configured` (the config's key `results`)
    is the folder `results`, or, if that is not known, in one above it.
    """
    names = list(crawls)
    here = results.resolve()
    found = {}
    for job in jobs:
        unit = job.unit(names)
        mine = (
            (job.folder / configured).resolve() == here
            if configured
            else here.is_relative_to(job.folder.resolve())
        )
        if unit is None or not mine:
            continue
        if job.state in ("RUNNING", "COMPLETING"):
            found[unit] = State("running", f"job {job.number}")
        elif job.state in ("PENDING", "REQUEUED", "SUSPENDED", "CONFIGURING"):
            found[unit] = State("pending", _note(job))
        elif job.state == "COMPLETED":
            found.pop(unit, None)
        else:
            found[unit] = State("failed", _note(job, job.state))
    return found


def _note(job: SlurmJob, *more: str) -> str:
    reason = [job.reason] if job.reason not in ("", "None") else []
    return ", ".join([f"job {job.number}", *more, *reason])
