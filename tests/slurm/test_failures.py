"""What happens to jobs on a cluster happens here to a crawl: the bytes are those of a quiet run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from laion_hpc.files.crawl_lock import Lock, write_lock
from tests.slurm.cluster import Cluster
from tests.slurm.configuration import CPU_NODES, GPU_NODE
from tests.slurm.gate import Gate
from tests.slurm.jobs import Job, submit, until
from tests.slurm.test_workflow import (
    ROOT,
    TWO_RANKS,
    jobs_of_run,
    products,
    snakemake,
    write_profile,
)
from tests.stages.extract.wats import some_pages, write_wat

SEGMENTS = ("0.0", "1.0", "2.0")
# One process per job …
EXTRACT = {"mpi": None, "tasks": None, "launcher": None, "mem_mb_per_cpu": None}
APART = EXTRACT | {
    # … but for 0.0, whose two ranks are on the two CPU nodes. 1.0 is on one of them, 2.0 elsewhere.
    "slurm_partition": "'a100' if wildcards.segment == '2.0' else 'cpu'",
    "nodes": "2 if wildcards.segment == '0.0' else 1",
    "tasks": "2 if wildcards.segment == '0.0' else 1",
    "mpi": "'srun' if wildcards.segment == '0.0' else ''",
    "launcher": f"'{TWO_RANKS['extract']['launcher']}' if wildcards.segment == '0.0' else ''",
}
ALONE = EXTRACT | {"slurm_partition": "a100"}


@dataclass(frozen=True)
class Past:
    """What is left of the two runs when all has happened."""

    local: Path
    beaten: Path
    """Folder of a run whose jobs were timed out, preempted and lost with one of their nodes."""
    timed_out: str
    """Job numbers: the one over its time, …"""
    preempted: str
    node_lost: str
    """This one had a rank on another node too."""
    jobs: dict[str, list[Job]]
    """Jobs of the beaten run, by rule."""
    killed: Path
    """Folder of a run whose Snakemake was killed and started again."""
    refused: str
    """What Snakemake said when it was started again while the folder was locked."""
    asked: dict[str, int]
    """How often each WAT was asked for before the local run."""


def write_crawl(folder: Path, gate: Gate) -> tuple[str, ...]:
    """Three segments with two WATs each, the second one held back; Snakemake's arguments."""
    segments = {}
    for number, segment in enumerate(SEGMENTS):
        names = (f"{segment}/first.wat.gz", f"{segment}/held.wat.gz")
        for seed, name in enumerate(names, start=2 * number):
            write_wat(gate.folder / name, some_pages(12, seed=seed))
        segments[segment] = names
    write_lock(Lock("tiny", gate.url, segments), folder / "crawls" / "tiny.json")
    config = {
        "crawls": ["tiny"],
        "crawl_folder": str(folder / "crawls"),
        "dataset": {"blocks": 2, "samples_per_shard": 50},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return ("--snakefile", str(ROOT / "Snakefile"), "--configfile", str(folder / "config.yaml"))


def half_done(folder: Path, segment: str) -> bool:
    """Whether the first WAT of a segment is finished."""
    parts = folder / "results" / "tiny" / "extract" / f"{segment}.parts"
    return (parts / "first.wat.gz.ledger.json").exists()


def running(cluster: Cluster, folder: Path) -> dict[str, str]:
    """Number → nodes of the running jobs that were submitted from a folder."""
    format_ = "--format=%A|%N|%Z"
    lines = cluster.run("squeue", "--noheader", "--states=RUNNING", format_).stdout.splitlines()
    rows = [line.split("|") for line in lines]
    return {number: node for number, node, where in rows if where == str(folder)}


def state(cluster: Cluster, number: str) -> str:
    done = cluster.run("squeue", "--noheader", "--states=all", f"--jobs={number}", "--format=%T")
    return done.stdout.strip()


def restarts(cluster: Cluster, number: str) -> int:
    """How often SLURM has put a job back into its queue."""
    shown = cluster.run("scontrol", "show", "job", number).stdout
    return int(shown.split("Restarts=")[1].split()[0])


@pytest.fixture(scope="module")
def past(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Past]:
    """Two runs of one crawl, to which everything happens at once."""
    top = tmp_path_factory.mktemp("failures")
    local, beaten, killed = (top / name for name in ("local", "beaten", "killed"))
    for folder in (local, beaten, killed):
        folder.mkdir()
    write_profile(beaten, {"extract": APART})
    write_profile(killed, {"extract": ALONE})
    gate = Gate(top / "wats")
    files = write_crawl(top, gate)
    all_of_it = ("extract_all", "shuffle_all", *files)
    one_segment = ("results/tiny/extract/0.0.ledger.json", *files)
    with gate.serving(), ExitStack() as stack:
        first = stack.enter_context(snakemake(cluster, beaten, *all_of_it))
        second = stack.enter_context(snakemake(cluster, killed, *one_segment))
        for segment in SEGMENTS:
            until(cluster, lambda s=segment: half_done(beaten, s), f"half of {segment}")
        until(cluster, lambda: half_done(killed, "0.0"), "half of 0.0")
        until(
            cluster,
            lambda: sum(gate.asked[f"{s}/held.wat.gz"] for s in SEGMENTS) >= 4,
            "4 held jobs",
        )

        # 1. The controller restarts; nobody may notice.
        cluster.restart("slurmctld")
        of_first, of_second = running(cluster, beaten), running(cluster, killed)
        assert len(of_first) == 3
        assert len(of_second) == 1

        # 2. One job of each kind of bad luck. The other run's job, beside the one that meets its
        # time limit, stays unharmed.
        (orphan,) = of_second
        by_node = {node: number for number, node in of_first.items()}
        timed_out, node_lost = by_node.pop(GPU_NODE), by_node.pop("cpu[1-2]")
        ((node, preempted),) = by_node.items()
        (dead,) = set(CPU_NODES) - {node}
        # SLURM looks at the limits every 30 seconds.
        cluster.run("scontrol", "update", f"JobId={timed_out}", "TimeLimit=0")
        cluster.run("scontrol", "update", f"NodeName={dead}", "State=DOWN", "Reason=test")
        until(cluster, lambda: restarts(cluster, node_lost) == 1, "the job that lost a node")
        submit(
            *(cluster, "true", "--partition=urgent", f"--nodelist={node}", "--exclusive"),
            cwd=top,
        )

        # 3. Snakemake is killed without a word; its job runs on.
        run_id = (killed / "out.log").read_text().split("SLURM run ID: ")[1].split()[0]
        second.kill()
        second.wait()
        again = (sys.executable, "-m", "snakemake", "--profile", "slurm", *one_segment)
        refused = cluster.run(*again, cwd=killed, check=False)
        assert refused.returncode != 0
        assert state(cluster, orphan) == "RUNNING"
        # As docs/cluster.md says.
        cluster.run("scancel", f"--name={run_id}")
        until(cluster, lambda: state(cluster, orphan) == "CANCELLED", "the end of the orphan")
        cluster.run(*again, "--unlock", cwd=killed)

        until(cluster, lambda: restarts(cluster, preempted) == 1, "the job that was preempted")
        # Refused if the node has come back by itself.
        cluster.run("scontrol", "update", f"NodeName={dead}", "State=RESUME", check=False)
        until(cluster, lambda: state(cluster, timed_out) == "TIMEOUT", "the time limit")

        # 4. From here on all goes well.
        asked = dict(gate.asked)
        gate.open.set()
        third = stack.enter_context(snakemake(cluster, killed, *one_segment))
        until(cluster, lambda: first.poll() is not None, "the end of the first run")
        assert first.returncode == 0, (beaten / "out.log").read_text()
        until(cluster, lambda: third.poll() is not None, "the end of the third run")
        assert third.returncode == 0, (killed / "out.log").read_text()
        asked = {name: gate.asked[name] for name in asked}
        profile = str(ROOT / "profiles" / "local")
        command = (sys.executable, "-m", "snakemake", "--profile", profile, *all_of_it)
        cluster.run(*command, cwd=local)
        yield Past(
            local=local,
            beaten=beaten,
            timed_out=timed_out,
            preempted=preempted,
            node_lost=node_lost,
            jobs=jobs_of_run(cluster, beaten),
            killed=killed,
            refused=refused.stdout + refused.stderr,
            asked=asked,
        )


def test_a_job_over_its_time_is_retried_with_more(past: Past) -> None:
    extract = past.jobs["extract"]
    assert len(extract) == 4  # three segments, one of them twice
    (first,) = [job for job in extract if job.number == past.timed_out]
    again = extract[-1]
    assert (first.state, again.state) == ("TIMEOUT", "COMPLETED")
    assert again.comment == first.comment
    assert again.minutes == 480  # the rule's 240, twice


def test_a_job_that_loses_its_node_or_is_preempted_is_put_back_by_slurm(past: Past) -> None:
    by_number = {job.number: job for job in past.jobs["extract"]}
    for number in (past.node_lost, past.preempted):
        assert by_number[number].state == "COMPLETED"
        assert by_number[number].minutes == 240
    # Snakemake submitted no other job for them.
    assert [job.state for job in past.jobs["extract"]].count("COMPLETED") == 3
    assert len(past.jobs["shuffle"]) == 2


def test_whatever_happened_the_bytes_are_those_of_a_quiet_run(past: Past) -> None:
    made = products(past.local)
    assert len(made) >= 10
    assert products(past.beaten) == made


def test_whatever_happened_the_audit_is_clean(cluster: Cluster, past: Past) -> None:
    for folder in (past.beaten, past.killed):
        cluster.run(
            *(sys.executable, "-m", "laion_hpc", "audit", "results", "--checksums"), cwd=folder
        )


def test_nothing_that_was_finished_is_done_again(past: Past) -> None:
    # Once for each of the two runs that had the segment.
    assert {name: n for name, n in past.asked.items() if "first" in name} == {
        "0.0/first.wat.gz": 2,
        "1.0/first.wat.gz": 1,
        "2.0/first.wat.gz": 1,
    }


def test_two_snakemakes_never_run_in_one_folder(past: Past) -> None:
    assert "cannot be locked" in past.refused


def test_a_killed_snakemake_goes_on_where_it_was(past: Past) -> None:
    made, wanted = products(past.killed), products(past.local)
    assert sorted(made) == ["extract/0.0.ledger.json", "extract/0.0.parquet"]
    assert made == {name: wanted[name] for name in made}
