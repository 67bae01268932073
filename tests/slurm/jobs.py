"""Jobs on the test cluster: submit them, and read back what SLURM's accounting says of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tests import patience
from tests.slurm.cluster import Cluster
from tests.slurm.configuration import ACCOUNT

_FIELDS = ("JobIDRaw", "Comment", "Partition", "State", "AllocTRES", "NodeList", "TimelimitRaw")
_UNFINISHED = ("PENDING", "RUNNING", "REQUEUED", "RESIZING", "SUSPENDED", "COMPLETING", "")

SACCT = (
    f"sacct --allocations --noheader --parsable2 --starttime=now-1hour --format={','.join(_FIELDS)}"
)
"""A command whose lines `parse` reads."""

Value = TypeVar("Value")


@dataclass(frozen=True)
class Job:
    """A job as `sacct` shows it."""

    number: str
    comment: str
    """Of Snakemake's jobs: rule_NAME, or rule_NAME_wildcards_…"""
    partition: str
    state: str
    tres: dict[str, str]
    """What it was given: {"cpu": "8", "mem": "1000M", "node": "1", "gres/gpu": "4"}."""
    nodes: str
    minutes: int | None
    """Its time limit, if it asked for one."""

    @property
    def rule(self) -> str:
        return self.comment.removeprefix("rule_").split("_wildcards_")[0]


def until(cluster: Cluster, get: Callable[[], Value], what: str) -> Value:
    """Ask until the answer is true, and return it; patience ends when the cluster is silent."""
    return patience.until(get, what, sign=cluster.sign, tail=cluster.tail, pause=0.2)


def submit(cluster: Cluster, script: str, *options: str, cwd: Path) -> str:
    """sbatch a shell command; the number of its job. Its output is in cwd/NUMBER.out."""
    done = cluster.run(
        *("sbatch", "--parsable", f"--account={ACCOUNT}", "--output=%j.out", *options),
        *("--wrap", script),
        cwd=cwd,
    )
    return done.stdout.strip()


def finished(cluster: Cluster, number: str) -> Job:
    """Wait for the end of a job; what sacct shows of it then."""

    def ended() -> list[Job]:
        # The end of a short job may be written down before its start: then no partition is known.
        done = [job for job in sacct(cluster, number) if job.state not in _UNFINISHED]
        return [job for job in done if job.partition]

    return until(cluster, ended, f"the end of job {number}")[0]


def sacct(cluster: Cluster, *numbers: str) -> list[Job]:
    """These jobs, or all, in the order of their submission. Accounting lags by some seconds."""
    chosen = [f"--jobs={','.join(numbers)}"] if numbers else []
    return parse(cluster.run(*SACCT.split(), *chosen).stdout.splitlines())


def squeue(cluster: Cluster, state: str = "RUNNING") -> list[tuple[str, str]]:
    """Number and comment of the jobs in a state, without the accounting's lag."""
    done = cluster.run("squeue", "--noheader", f"--states={state}", "--format=%A|%k")
    pairs = (line.split("|", 1) for line in done.stdout.splitlines())
    return [(number, comment) for number, comment in pairs]


def parse(lines: Iterable[str]) -> list[Job]:
    """Jobs from lines of `SACCT`, in the order of their submission."""
    jobs = []
    for line in lines:
        number, comment, partition, state, tres, nodes, limit = line.split("|")
        jobs.append(
            Job(
                number=number,
                comment=comment,
                partition=partition,
                # "CANCELLED by 0" is CANCELLED.
                state=state.split(" ")[0],
                tres=dict(part.split("=", 1) for part in tres.split(",") if part),
                nodes=nodes,
                minutes=int(limit) if limit.isdigit() else None,
            )
        )
    return sorted(jobs, key=lambda job: int(job.number))
