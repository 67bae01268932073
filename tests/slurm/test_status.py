"""`laion-hpc status` on a real SLURM: a job that runs, one that waits, one that failed."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.slurm.cluster import Cluster
from tests.slurm.jobs import finished, squeue, submit, until


def test_status_shows_what_slurm_knows(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "results" / "mine" / "filter").mkdir(parents=True)

    def job(block: str, script: str, *options: str) -> str:
        comment = f"--comment=rule_filter_wildcards_mine_{block}"
        return submit(cluster, script, comment, "--mem=200", *options, cwd=tmp_path)

    failed = job("0001", "exit 3")
    assert finished(cluster, failed).state == "FAILED"
    running = job("0002", "sleep 300")
    waiting = job("0003", "true", "--hold")
    try:
        until(lambda: running in dict(squeue(cluster)), f"job {running} to run")
        done = cluster.run(
            *(sys.executable, "-m", "laion_hpc", "status", str(tmp_path / "results")),
            cwd=Path(__file__).parents[2],
        )
    finally:
        cluster.run("scancel", running, waiting)
    lines = done.stdout.splitlines()
    assert any(line.startswith(f"filter 0001: failed: job {failed}, FAILED") for line in lines)
    assert f"filter 0002: running: job {running}" in lines
    assert f"filter 0003: pending: job {waiting}, JobHeldUser" in lines or (
        f"filter 0003: pending: job {waiting}, JobHeldAdmin" in lines
    )
    row = next(line.split() for line in lines if line.startswith("  filter"))
    assert row[-3:] == ["1", "1", "1"]
