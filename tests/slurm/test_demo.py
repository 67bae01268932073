"""The whole demo on SLURM: every stage as a job, with the bytes of a local run."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.slurm.cluster import Cluster
from tests.slurm.jobs import until
from tests.slurm.test_workflow import ROOT, TWO_RANKS, jobs_of_run, snakemake, write_profile

PAGES = 120
LAION_HPC = (sys.executable, "-m", "laion_hpc")
WORKFLOW = (
    *("--snakefile", str(ROOT / "Snakefile")),
    *("--configfile", str(ROOT / "config" / "demo.yaml")),
)
SMALL = {
    **TWO_RANKS,
    # Two ranks of CLIP are enough for the machine of the tests.
    "embed": {"tasks_per_node": 2, "launcher": "srun -K --mpi=pmi2 -n 2 -c 8"},
}


@dataclass(frozen=True)
class Web:
    """The demo's web, being served."""

    folder: Path
    lock: Path


@pytest.fixture(scope="module")
def web(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    folder = tmp_path_factory.mktemp("demo") / "web"
    with socket.create_server(("127.0.0.2", 0)) as free:
        port = free.getsockname()[1]
    build = ("demo", "build", "--output", str(folder), "--pages", f"{PAGES}", "--port", f"{port}")
    cluster.run(*LAION_HPC, *build)
    lock = folder.parent / "demo.json"
    crawl = ("crawl", "demo", "--folder", str(folder / "wat"), "--output", str(lock))
    cluster.run(*LAION_HPC, *crawl)
    with subprocess.Popen(
        [*LAION_HPC, "demo", "serve", "--folder", str(folder), "--with-parent"],
        # It ends when this pipe closes, however the tests end.
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env=cluster.environment,
    ) as server:

        def serves() -> bool:
            assert server.poll() is None, "the demo's server ended"
            with socket.socket() as client:
                return client.connect_ex(("127.0.0.2", port)) == 0

        until(serves, "the demo's server")
        yield Web(folder, lock)
        server.terminate()


def site(folder: Path, web: Web) -> Path:
    """A new folder with the crawl's lock where the demo's config looks for it."""
    crawls = folder / "config" / "crawls"
    crawls.mkdir(parents=True)
    (crawls / "demo.json").write_bytes(web.lock.read_bytes())
    return folder


def products(folder: Path) -> dict[str, bytes]:
    """Everything that a run made but what tells of time."""
    results = folder / "results" / "demo"
    return {
        str(path.relative_to(results)): path.read_bytes()
        for path in sorted(results.rglob("*"))
        if path.is_file()
        and path.relative_to(results).parts[0] not in ("logs", "benchmarks", "report.html")
        and not path.name.endswith("_stats.json")
    }


@pytest.mark.slow
def test_the_demo_on_slurm_gives_the_bytes_of_the_local_demo(
    cluster: Cluster, web: Web, tmp_path: Path
) -> None:
    local, remote = site(tmp_path / "local", web), site(tmp_path / "remote", web)
    profile = str(ROOT / "profiles" / "local")
    command = (sys.executable, "-m", "snakemake", "--profile", profile, *WORKFLOW)
    cluster.run(*command, cwd=local, seconds=600.0)
    write_profile(remote, SMALL)
    with snakemake(cluster, remote, *WORKFLOW, first_check=10) as run:
        run.wait(900.0)
    assert run.returncode == 0, (remote / "out.log").read_text()

    made = products(local)
    here = products(remote)
    assert here.keys() == made.keys()
    assert [name for name in made if here[name] != made[name]] == []
    cluster.run(*LAION_HPC, "audit", str(remote / "results"))
    assert (remote / "results" / "demo" / "report.html").exists()

    jobs = jobs_of_run(cluster, remote)
    assert {job.state for of_rule in jobs.values() for job in of_rule} == {"COMPLETED"}
    for rule in ("extract", "shuffle", "download", "release_block", "release_gather"):
        assert {job.partition for job in jobs[rule]} == {"cpu"}, rule
    for rule, gpus in (("filter", "4"), ("embed", "4"), ("tag", "1"), ("index_train", "1")):
        assert {job.partition for job in jobs[rule]} == {"a100"}, rule
        assert {job.tres["gres/gpu"] for job in jobs[rule]} == {gpus}, rule
    assert {job.nodes for job in jobs["extract"]} == {"cpu[1-2]"}
