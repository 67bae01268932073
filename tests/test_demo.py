"""The demo from end to end: what `make demo` calls, and the same bytes again."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from laion_hpc.run.report.page import FIGURES
from tests import patience
from tests.demo_runs import ROOT, command, environment, run, whole

pytestmark = pytest.mark.demo

STARTED = "results/demo/logs/download/*.log"
TIMED = ("logs", "benchmarks", "report.html", "report")


def outputs(folder: Path) -> dict[str, str]:
    """SHA-256 of all outputs but those that tell of times: logs, benchmarks, stats, report."""
    results = folder / "results" / "demo"
    return {
        path.relative_to(results).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(results.rglob("*"))
        if path.is_file()
        and path.relative_to(results).parts[0] not in TIMED
        and not path.name.endswith("_stats.json")
    }


def snakemake_of(parent: int) -> int:
    """The child of a `demo run` that is Snakemake; its other one is the server."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    commands = {child: Path(f"/proc/{child}/cmdline").read_bytes() for child in children}
    return next(int(child) for child, words in commands.items() if b"snakemake" in words)


def test_the_results_are_what_the_truth_says(demo_run: tuple[Path, str]) -> None:
    folder, said = demo_run
    findings = json.loads((folder / "build/demo/check.json").read_text())
    assert len(findings) == 12
    assert [finding["what"] for finding in findings if not finding["met"]] == []
    for words in (
        "The funnel",
        "Against the truth",
        "report.html",
        "laion-hpc search",
        "real crawl",
    ):
        assert words in said
    assert (folder / "results/demo/report.html").stat().st_size > 10_000


def test_nothing_vanished(demo_run: tuple[Path, str]) -> None:
    folder, _ = demo_run
    assert "Every sample is accounted for" in run(folder, "audit", "results/demo", "--complete")


def test_snakemake_reports_on_it(demo_run: tuple[Path, str]) -> None:
    folder, _ = demo_run
    snakemake = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
    configured = [*snakemake, "--configfile", str(ROOT / "config/demo.yaml")]
    done = patience.run([*configured, "--report", "snakemake.html"], cwd=folder, merged=True)
    assert done.returncode == 0, done.stdout
    page = (folder / "snakemake.html").read_text()
    assert "results/demo/report.html" in page
    for name in FIGURES:
        assert f"results/demo/report/{name}.svg" in page
        caption = (ROOT / "docs/captions" / f"{name}.rst").read_text()
        assert caption.splitlines()[0] in page


def test_again_there_is_nothing_to_do(demo_run: tuple[Path, str], demo_port: int) -> None:
    folder, _ = demo_run
    before = outputs(folder)
    said = run(folder, *whole(demo_port, cores=2))
    assert "Nothing to do" in said
    assert "serving" not in said
    assert "Against the truth" in said
    assert outputs(folder) == before


def test_a_flaw_in_the_results_is_found(demo_run: tuple[Path, str]) -> None:
    folder, _ = demo_run
    evaluation = folder / "results/demo/index/evaluation.json"
    kept = evaluation.read_text()
    data = json.loads(kept)
    for row in data["recall"]:
        row["image"]["10"] = 0.5
    evaluation.write_text(json.dumps(data))
    try:
        arguments = ["demo", "check", "results/demo", "--truth", "build/demo/truth.parquet"]
        said = run(folder, *arguments, code=1)
    finally:
        evaluation.write_text(kept)
    assert "index: recall@10" in said
    assert "FAILS" in said


def test_one_process_and_a_kill_give_the_same_bytes(
    demo_run: tuple[Path, str], demo_port: int, tmp_path: Path
) -> None:
    child = subprocess.Popen(
        command(*whole(demo_port, cores=1)),
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    patience.until(
        lambda: child.poll() is not None or list(tmp_path.glob(STARTED)),
        "the start of the download",
        sign=lambda: patience.worked(child.pid),
    )
    assert child.poll() is None, "it ended before it downloaded anything"
    os.kill(snakemake_of(child.pid), signal.SIGKILL)
    assert patience.wait(child) == 1
    killed = outputs(tmp_path)
    assert "index/manifest.json" not in killed
    assert "serving" in run(tmp_path, *whole(demo_port, cores=1))
    assert outputs(tmp_path) == outputs(demo_run[0])


def test_a_port_in_use_is_told_before_anything_runs(
    demo_run: tuple[Path, str], demo_port: int, tmp_path: Path
) -> None:
    folder, _ = demo_run
    server = subprocess.Popen(
        command("demo", "serve"), cwd=folder, env=environment(), stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        assert server.stdout.readline().startswith("serving")
        (tmp_path / "build").symlink_to(folder / "build")
        said = run(tmp_path, *whole(demo_port, cores=2), code=1)
    finally:
        server.terminate()
        patience.wait(server)
        server.stdout.close()
    assert f":{demo_port} is in use" in said
    assert "Traceback" not in said
    assert not (tmp_path / "results").exists()
