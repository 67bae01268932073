"""The cluster that the other tests stand on does what a real one does; our queue runs on it."""

from __future__ import annotations

import json
from pathlib import Path

from tests.slurm.cluster import Cluster
from tests.slurm.configuration import ACCOUNT
from tests.slurm.jobs import finished, submit

SRUN = ("env", "MPIR_CVAR_CH4_NETMOD=ofi", "srun", f"--account={ACCOUNT}", "--mem=2000")
TWO_NODES = (*SRUN, "--mpi=pmi2", "--partition=cpu", "--nodes=2", "--ntasks=2")


def test_all_nodes_are_idle(cluster: Cluster) -> None:
    states = cluster.run("sinfo", "-h", "-N", "-o", "%N %P %T %G").stdout.split("\n")
    assert sorted(filter(None, states)) == [
        "a100-1 a100 idle gpu:a100:4",
        "cpu1 cpu* idle (null)",
        "cpu1 urgent idle (null)",
        "cpu2 cpu* idle (null)",
        "cpu2 urgent idle (null)",
    ]


def test_a_job_runs_on_each_partition_with_what_it_asked_for(
    cluster: Cluster, tmp_path: Path
) -> None:
    script = 'echo "$SLURMD_NODENAME ${CUDA_VISIBLE_DEVICES:-none}"'
    cpu = submit(cluster, script, "--partition=cpu", "--mem=700", "-c3", "-t5", cwd=tmp_path)
    gpu = submit(
        *(cluster, script, "--partition=a100", "--mem=800", "--gres=gpu:a100:2"), cwd=tmp_path
    )
    on_cpu, on_gpu = finished(cluster, cpu), finished(cluster, gpu)
    assert (on_cpu.state, on_gpu.state) == ("COMPLETED", "COMPLETED")
    assert (on_cpu.partition, on_gpu.partition) == ("cpu", "a100")
    assert on_cpu.minutes == 5
    assert on_cpu.tres == {"billing": "3", "cpu": "3", "mem": "700M", "node": "1"}
    assert on_gpu.tres["gres/gpu"] == "2"
    assert (tmp_path / f"{cpu}.out").read_text() == f"{on_cpu.nodes} none\n"
    assert (tmp_path / f"{gpu}.out").read_text() == "a100-1 0,1\n"


def test_an_account_that_does_not_exist_is_refused(cluster: Cluster) -> None:
    done = cluster.run("sbatch", "--account=nobodys", "--wrap", "true", check=False)
    assert done.returncode != 0
    assert "Invalid account" in done.stderr


def test_mpi_ranks_on_two_nodes_know_each_other(cluster: Cluster) -> None:
    code = (
        "import os; from mpi4py import MPI; world = MPI.COMM_WORLD; "
        "nodes = world.gather(os.environ['SLURMD_NODENAME']); "
        "world.rank == 0 and print(world.size, *nodes)"
    )
    done = cluster.run(*TWO_NODES, "python", "-m", "mpi4py", "-c", code)
    assert done.stdout == "2 cpu1 cpu2\n"


WORK = """
import json, os, sys, time
from laion_hpc.runtime import work

def square(number):
    time.sleep(0.05)
    return number * number, os.environ["SLURMD_NODENAME"]

if __name__ == "__main__":
    with work.team() as team:
        if team.leads:
            print(json.dumps(team.map(square, range(20), label="squares")))
"""


def test_our_queue_spans_two_nodes(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "squares.py").write_text(WORK)
    done = cluster.run(*TWO_NODES, "python", "squares.py", cwd=tmp_path)
    results = json.loads(done.stdout)
    assert [number for number, _ in results] == [number**2 for number in range(20)]
    assert {node for _, node in results} == {"cpu1", "cpu2"}


FAILS = """
import sys
from laion_hpc.runtime import work
from laion_hpc.errors import LaionHpcError

def fail(number):
    raise LaionHpcError(f"unit {number} is bad")

def main():
    with work.team() as team:
        if team.leads:
            team.map(fail, range(4), label="bad units")

if __name__ == "__main__":
    code = 0
    try:
        main()
    except LaionHpcError as error:
        print(error, flush=True)
        code = 1
    sys.exit(work.end_together(code))
"""


def test_a_unit_that_fails_on_another_node_ends_all_ranks(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "fails.py").write_text(FAILS)
    done = cluster.run(*TWO_NODES, "python", "fails.py", cwd=tmp_path, check=False)
    assert done.returncode != 0
    assert "is bad" in done.stdout


def test_the_controller_restarts_and_knows_its_jobs(cluster: Cluster, tmp_path: Path) -> None:
    release = tmp_path / "release"
    number = submit(
        *(cluster, f"while [ ! -e {release} ]; do sleep 0.1; done", "--mem=100"), cwd=tmp_path
    )
    cluster.restart("slurmctld")
    release.touch()
    assert finished(cluster, number).state == "COMPLETED"
