"""`snakemake --profile slurm` on a real SLURM, with the profile as it is in the repository."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import patience
from tests.slurm.cluster import Cluster
from tests.slurm.jobs import Job, sacct, squeue, until

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent

TWO_RANKS: dict[str, dict[str, Any]] = {
    # What a site with two small nodes would write into its block: the profile's 16 ranks would
    # be too many for the machine of the tests.
    "extract": {
        "nodes": 2,
        "tasks": 2,
        "launcher": "MPIR_CVAR_CH4_NETMOD=ofi srun -K --mpi=pmi2 -n 2",
    },
}


def write_profile(folder: Path, changes: Mapping[str, Mapping[str, Any]]) -> None:
    """The repository's profile as folder/slurm, with other values in its site block.

    None takes a value out.
    """
    profile = yaml.safe_load((ROOT / "profiles" / "slurm" / "config.v8+.yaml").read_text())
    for rule, values in changes.items():
        merged = {**profile["set-resources"][rule], **values}
        kept = {key: value for key, value in merged.items() if value is not None}
        profile["set-resources"][rule] = kept
    (folder / "slurm").mkdir()
    (folder / "slurm" / "config.v8+.yaml").write_text(yaml.safe_dump(profile))


@contextmanager
def snakemake(
    cluster: Cluster, folder: Path, *arguments: str, first_check: int = 5
) -> Iterator[subprocess.Popen[str]]:
    """`snakemake --profile slurm …` in a folder; ended with the block, its output in out.log.

    Snakemake asks for the first time after `first_check` seconds, then ever more rarely.
    """
    command = [
        *(sys.executable, "-m", "snakemake", "--profile", "slurm"),
        # Jobs here take seconds, not hours.
        *("--slurm-init-seconds-before-status-checks", str(first_check)),
        *("--max-jobs-per-timespan", "20/1s"),
        *arguments,
    ]
    with (folder / "out.log").open("w") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=cluster.environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
                patience.wait(process, folder / "out.log")


def jobs_of_run(cluster: Cluster, folder: Path) -> dict[str, list[Job]]:
    """The jobs of the run whose output is in out.log, by rule; waits until all are accounted."""
    submitted = [
        line.split("SLURM jobid ")[1].split()[0]
        for line in (folder / "out.log").read_text().splitlines()
        if "SLURM jobid " in line
    ]

    def accounted() -> list[Job]:
        jobs = [job for job in sacct(cluster, *submitted) if job.tres and job.state != "RUNNING"]
        return jobs if len(jobs) == len(submitted) else []

    by_rule: dict[str, list[Job]] = {}
    for job in until(cluster, accounted, f"{len(submitted)} jobs in sacct"):
        by_rule.setdefault(job.rule, []).append(job)
    return by_rule


RANKS = """
import json, os, sys, time
from laion_hpc.runtime import work

def where(number):
    time.sleep(0.05)
    return os.environ["SLURMD_NODENAME"], os.environ.get("CUDA_VISIBLE_DEVICES", "none")

if __name__ == "__main__":
    with work.team() as team:
        if team.leads:
            size = work._mpi_size()
            places = team.map(where, range(20), label="units")
            with open(sys.argv[1], "w") as stream:
                json.dump({"ranks": size, "places": sorted(set(places))}, stream)
"""


@pytest.fixture(scope="module")
def mechanisms(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, list[Job]]]:
    """One run of mechanisms.smk, in which somebody cancels the job of `tag` while it runs."""
    folder = tmp_path_factory.mktemp("mechanisms")
    write_profile(folder, TWO_RANKS)
    (folder / "ranks.py").write_text(RANKS)
    (folder / "flags").mkdir()
    with snakemake(
        *(cluster, folder, "--snakefile", str(HERE / "mechanisms.smk")),
        *("--config", f"repository={ROOT}", f"flags={folder / 'flags'}"),
    ) as run:
        until(cluster, (folder / "flags" / "tag").exists, "the start of tag")
        tag = next(number for number, comment in squeue(cluster) if comment == "rule_tag")
        cluster.run("scancel", tag)
        until(cluster, lambda: run.poll() is not None, "the end of Snakemake")
    assert run.returncode == 0, (folder / "out.log").read_text()
    return folder, jobs_of_run(cluster, folder)


Mechanisms = tuple[Path, dict[str, list[Job]]]


def test_each_rule_runs_on_its_partition(mechanisms: Mechanisms) -> None:
    _, jobs = mechanisms
    assert sum(map(len, jobs.values())) == 8  # six, of which two were tried twice
    partitions = {rule: {job.partition for job in of_rule} for rule, of_rule in jobs.items()}
    assert partitions == {
        "extract": {"cpu"},
        "shuffle": {"cpu"},
        "download": {"cpu"},
        "filter": {"a100"},
        "embed": {"a100"},
        "tag": {"a100"},
    }


def test_a_job_gets_the_gpus_cores_and_memory_of_the_profile(mechanisms: Mechanisms) -> None:
    folder, jobs = mechanisms
    shown = {
        rule: {key: value for key, value in of_rule[0].tres.items() if key != "billing"}
        for rule, of_rule in jobs.items()
    }
    assert shown["extract"] == {"cpu": "2", "mem": "3000M", "node": "2"}
    assert shown["filter"] == {"cpu": "8", "mem": "1000M", "node": "1", "gres/gpu": "4"}
    assert shown["embed"] == {"cpu": "32", "mem": "32000M", "node": "1", "gres/gpu": "4"}
    assert shown["tag"]["gres/gpu"] == "1"
    assert shown["shuffle"] == {"cpu": "2", "mem": "1000M", "node": "1"}
    assert (folder / "out" / "shuffle").read_text().split()[1] == "none"
    assert {job.minutes for job in jobs["shuffle"]} == {10}


def test_the_launcher_starts_ranks_on_two_nodes(mechanisms: Mechanisms) -> None:
    folder, _ = mechanisms
    extract = json.loads((folder / "out" / "extract").read_text())
    assert extract == {"ranks": 2, "places": [["cpu1", "none"], ["cpu2", "none"]]}


def test_the_launcher_starts_a_rank_per_gpu(mechanisms: Mechanisms) -> None:
    folder, _ = mechanisms
    embed = json.loads((folder / "out" / "embed").read_text())
    assert embed == {"ranks": 4, "places": [["a100-1", "0,1,2,3"]]}


def test_without_a_launcher_the_same_command_runs_by_itself(mechanisms: Mechanisms) -> None:
    folder, _ = mechanisms
    alone = json.loads((folder / "out" / "filter").read_text())
    assert alone == {"ranks": 1, "places": [["a100-1", "0,1,2,3"]]}


def test_a_job_over_its_memory_is_retried_with_twice_as_much(mechanisms: Mechanisms) -> None:
    folder, jobs = mechanisms
    first, second = jobs["download"]
    assert (first.tres["mem"], second.tres["mem"]) == ("400M", "800M")
    assert first.state != "COMPLETED"
    assert second.state == "COMPLETED"
    assert (folder / "out" / "download").read_text() == "800\n"


def test_a_cancelled_job_is_retried(mechanisms: Mechanisms) -> None:
    folder, jobs = mechanisms
    first, second = jobs["tag"]
    assert (first.state, second.state) == ("CANCELLED", "COMPLETED")
    assert (first.minutes, second.minutes) == (10, 20)
    assert (folder / "out" / "tag").read_text() == "20\n"


def products(folder: Path) -> dict[str, bytes]:
    """The bytes of what extract and shuffle made; logs and benchmarks tell of time."""
    results = folder / "results" / "tiny"
    return {
        str(path.relative_to(results)): path.read_bytes()
        for stage in ("extract", "shuffle")
        for path in sorted((results / stage).rglob("*"))
        if path.is_file()
    }
