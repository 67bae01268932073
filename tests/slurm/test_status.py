"""`laion-hpc status` on a real SLURM: a job that runs, one that waits, one that failed."""

from __future__ import annotations

import sys
from pathlib import Path

from laion_hpc.files.ledger import Ledger
from tests.slurm.cluster import Cluster
from tests.slurm.jobs import finished, squeue, submit, until


def test_status_shows_what_slurm_knows(cluster: Cluster, tmp_path: Path) -> None:
    results = tmp_path / "results"
    crawl = results / "mine"
    # Of five blocks one is done, by a job of half an hour.
    Ledger("filter", "samples", 1, 1).write(crawl / "filter" / "0000" / "manifest.json")
    write(results / "config.yaml", "{crawls: [mine], dataset: {blocks: 5}}")
    write(crawl / "benchmarks" / "filter" / "0000.tsv", "s\tmax_rss\n1800.0\t900.1\n")
    log = write(crawl / "logs" / "filter" / "0001.log", "laion-hpc: error: 0001: bad\n")

    def job(block: str, script: str, *options: str) -> str:
        comment = f"--comment=rule_filter_wildcards_mine_{block}"
        return submit(cluster, script, comment, "--mem=200", *options, cwd=tmp_path)

    failed = job("0001", "exit 3")
    assert finished(cluster, failed).state == "FAILED"
    running = job("0002", "sleep 300")
    waiting = job("0003", "true", "--hold")
    try:
        until(cluster, lambda: running in dict(squeue(cluster)), f"job {running} to run")
        done = cluster.run(
            *(sys.executable, "-m", "laion_hpc", "status", str(results)),
            cwd=Path(__file__).parents[2],
        )
    finally:
        cluster.run("scancel", running, waiting)
    lines = done.stdout.splitlines()
    (about,) = [n for n, line in enumerate(lines) if line.startswith("filter 0001: failed: ")]
    assert lines[about].startswith(f"filter 0001: failed: job {failed}, FAILED")
    assert lines[about].endswith("error: 0001: bad")
    assert lines[about + 1] == f"    see {log}"
    assert f"filter 0002: running: job {running}" in lines
    assert f"filter 0003: pending: job {waiting}, JobHeldUser" in lines or (
        f"filter 0003: pending: job {waiting}, JobHeldAdmin" in lines
    )
    row = next(line.split() for line in lines if line.startswith("  filter"))
    # One job runs and takes half an hour: two blocks an hour, four are left.
    assert row == ["filter", "1", "5", "20%", "2.0", "2.0", "h", "1", "1", "1"]


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path
