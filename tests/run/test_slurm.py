"""What `laion-hpc status` makes of SLURM's answers; the answers come from a script on the PATH."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from laion_hpc.cli import main
from laion_hpc.run import slurm
from laion_hpc.run.slurm import SlurmJob, State
from laion_hpc.run.status import job_seconds
from tests.run.test_status import done


def program(folder: Path, name: str, text: str) -> None:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def answer(folder: Path, name: str, *lines: str) -> None:
    program(folder, name, "cat <<'END'\n" + "\n".join(lines) + "\nEND")


@pytest.mark.parametrize(
    ("comment", "unit"),
    [
        ("rule_download_wildcards_a_0007", ("a", "download", "0007")),
        ("rule_download_wildcards_a_b_0007", ("a_b", "download", "0007")),
        ("rule_extract_wildcards_a_1642.23", ("a", "extract", "1642.23")),
        ("rule_index_add_wildcards_a_0007", ("a", "index_add", "0007")),
        ("rule_index_train_wildcards_a", ("a", "index_train", "")),
        ("rule_release_block_wildcards_a_0001", ("a", "release_block", "0001")),
        ("rule_download_wildcards_ab_0007", None),
        ("rule_search", None),
    ],
)
def test_the_unit_of_a_job(comment: str, unit: tuple[str, str, str] | None) -> None:
    assert SlurmJob("1", "RUNNING", "", comment, Path()).unit(["a", "a_b"]) == unit


def test_only_jobs_of_this_workflow_and_the_latest_of_a_unit(tmp_path: Path) -> None:
    def job(
        number: int, state: str, unit: str, folder: Path = tmp_path, why: str = "None"
    ) -> SlurmJob:
        return SlurmJob(str(number), state, why, f"rule_filter_wildcards_a_{unit}", folder)

    jobs = [
        job(1, "TIMEOUT", "0001"),
        job(2, "PENDING", "0001", why="Priority"),
        job(3, "OUT_OF_MEMORY", "0002"),
        job(4, "FAILED", "0003"),
        job(5, "COMPLETED", "0003"),
        job(6, "RUNNING", "0004", tmp_path / "elsewhere"),
        job(7, "RUNNING", "0005"),
    ]
    expected = {
        ("a", "filter", "0001"): State("pending", "job 2, Priority"),
        ("a", "filter", "0002"): State("failed", "job 3, OUT_OF_MEMORY"),
        ("a", "filter", "0005"): State("running", "job 7"),
    }
    assert slurm.states(jobs, ["a"], tmp_path / "results", "results") == expected
    assert slurm.states(jobs, ["a"], tmp_path / "results") == expected
    assert slurm.states(jobs, ["a"], tmp_path / "results", "others") == {}


def test_without_slurm_or_without_an_answer_there_are_no_jobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert slurm.jobs() is None
    program(tmp_path, "squeue", "exit 1")
    assert slurm.jobs() is None


def test_the_command_line_shows_what_slurm_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    crawl = tmp_path / "results" / "mine"
    done(crawl, "download/0000/manifest.json")
    for name, seconds in (("0000", "1000.0"), ("0009", "2600.0")):
        path = crawl / "benchmarks" / "download" / f"{name}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"s\th:m:s\n{seconds}\t0:30:00\n")
    assert job_seconds((crawl / "benchmarks" / "download").glob("*.tsv")) == 1800
    (tmp_path / "results" / "config.yaml").write_text(
        f"crawls: [mine]\ncrawl_folder: {tmp_path}\ndataset: {{blocks: 13}}\n"
    )
    name = "rule_download_wildcards_mine_00"
    answer(
        tmp_path / "bin",
        "squeue",
        *(f"{n}|RUNNING|None|{tmp_path}|{name}{n}" for n in (11, 12)),
        *(f"{n}|PENDING|Priority|{tmp_path}|{name}{n}" for n in range(13, 20)),
        f"99|RUNNING|None|{tmp_path}|somebody|else",
    )
    answer(
        tmp_path / "bin",
        "sacct",
        f"7|OUT_OF_MEMORY|None|{tmp_path}|{name}07",
        f"11|PENDING|None|{tmp_path}|{name}11",
    )
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    assert main(["status", str(tmp_path / "results")]) == 0
    lines = capsys.readouterr().out.splitlines()
    row = next(line for line in lines if line.startswith("  download"))
    # 2 jobs of half an hour: 4 an hour; 12 blocks are left.
    assert row.split()[1:] == ["1", "13", "8%", "4.0", "3.0", "h", "2", "7", "1"]
    assert "download 0007: failed: job 7, OUT_OF_MEMORY" in lines
    assert "download 0011: running: job 11" in lines
    assert "download 0013: pending: job 13, Priority" in lines
    assert "download: 4 more run or wait" in lines
