"""What a command says, and where."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from laion_hpc import cli
from laion_hpc.runtime import console
from laion_hpc.runtime.progress import progress

ROOT = Path(__file__).parents[2]
TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d "


@pytest.fixture(autouse=True)
def as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(console.LEVEL, "")
    console.set_up()


def everything() -> None:
    console.detail("details")
    console.say("done")
    console.warn("odd")
    console.fail("ends")


@pytest.mark.parametrize(
    ("level", "said"),
    [
        ("", ["done", "warning: odd", "laion-hpc: error: ends"]),
        ("quiet", ["warning: odd", "laion-hpc: error: ends"]),
        ("verbose", ["details", "done", "warning: odd", "laion-hpc: error: ends"]),
    ],
)
def test_levels(level: str, said: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    console.set_up(level)
    try:
        everything()
    finally:
        console.set_up()
    lines = capfd.readouterr().err.splitlines()
    assert [line[20:] for line in lines] == said  # after the time


def test_lines_of_a_log_begin_with_the_time(capfd: pytest.CaptureFixture[str]) -> None:
    console.say("done")
    out, err = capfd.readouterr()
    assert not out
    assert re.fullmatch(f"{TIME}done\n", err)


def test_a_terminal_has_no_times_but_a_job_has(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    console.say("here")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    console.say("there")
    first, second = capfd.readouterr().err.splitlines()
    assert first == "here"
    assert second.endswith(" there") and second != "there"


def test_quiet_shows_no_progress(capfd: pytest.CaptureFixture[str]) -> None:
    console.set_up("quiet")
    with progress("work", 2) as shown:
        shown.advance()
    console.set_up()
    assert capfd.readouterr() == ("", "")


def test_processes_that_a_command_starts_are_as_loud() -> None:
    program = "from laion_hpc.runtime import console; console.say('said'); console.warn('odd')"
    environment = {**os.environ, console.LEVEL: "quiet"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True
    )
    assert done.stderr.splitlines()[0].endswith("warning: odd")


def test_results_go_to_standard_output(capfd: pytest.CaptureFixture[str]) -> None:
    console.out("result")
    console.table("t", ("stage", "done"), [("embed", "12"), ("tag", "3")])
    assert capfd.readouterr() == ("result\nt\n  stage  done\n  embed    12\n  tag       3\n", "")


def test_columns_are_aligned() -> None:
    rows = [("a", "1", "long text"), ("bcd", "1,000", "")]
    assert console.aligned(rows, left=(0, 2)) == ["a        1  long text", "bcd  1,000"]


def test_numbers_as_people_say_them() -> None:
    assert [console.size(n) for n in (0, 2_000, 1.5e9, 8e11)] == ["", "2 kB", "1.5 GB", "800 GB"]
    assert [console.count(n) for n in (900, 35e6, 1.2e9)] == ["900", "35 M", "1.2 G"]
    assert [console.duration(h) for h in (None, 0.01, 0.2, 3.5, 50)] == [
        "", "36 s", "12 min", "3.5 h", "2.1 d"
    ]  # fmt: skip


def test_only_the_console_prints() -> None:
    for path in (ROOT / "laion_hpc").rglob("*.py"):
        if path.name == "console.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            named = isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
            assert not (named and node.func.id == "print"), f"{path}:{node.lineno}"


@pytest.mark.parametrize("name", sorted(cli.COMMANDS))
def test_every_command_can_be_quiet_and_verbose(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        cli.main([name, "--help"])
    shown = capsys.readouterr().out
    if "ACTION" not in shown.split("\n\n")[0]:
        assert "--quiet" in shown
        assert "--verbose" in shown
