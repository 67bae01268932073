"""The work queue gives the same results over one process, several, and MPI ranks."""

from __future__ import annotations

import locale
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from laion_hpc.errors import LaionHpcError
from laion_hpc.runtime import work
from laion_hpc.runtime.usage import Usage
from tests import patience

PROGRAM = """
import sys
from laion_hpc.runtime import work
from tests.runtime.test_work import sleep, square

with work.team(1) as team:
    if team.leads:
        print(team.map(square, list(range(8)), label="squares"))
        print(len(set(team.map(sleep, [0.2] * 6, label="naps"))))
sys.exit(work.end_together(0))
"""


def square(n: int) -> int:
    return n * n


def fail_at_three(n: int) -> int:
    if n == 3:
        raise LaionHpcError("three is bad")
    return n


def die_at_three(n: int) -> int:
    if n == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return n


def sleep(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


@pytest.mark.parametrize("processes", [1, 2])
def test_results_come_in_the_order_of_the_units(processes: int) -> None:
    with work.team(processes) as team:
        assert team.leads
        assert team.map(square, list(range(8)), label="squares") == [n * n for n in range(8)]


@pytest.mark.parametrize("processes", [1, 2])
def test_an_error_of_a_unit_stops_the_map(processes: int) -> None:
    with pytest.raises(LaionHpcError, match="three is bad"), work.team(processes) as team:
        team.map(fail_at_three, list(range(8)), label="numbers")


def test_a_killed_worker_is_explained() -> None:
    with pytest.raises(LaionHpcError, match="because memory ran out"), work.team(2) as team:
        team.map(die_at_three, list(range(8)), label="numbers")


def test_mpi_ranks_share_the_queue(tmp_path: Path) -> None:
    mpiexec = Path(sys.executable).with_name("mpiexec")
    out = patience.run([mpiexec, "-n", "2", sys.executable, "-c", PROGRAM])
    assert out.returncode == 0, out.stderr
    squares, workers = out.stdout.splitlines()
    assert squares == str([n * n for n in range(8)])
    assert workers == "2"  # the leader takes its turns
    (log := tmp_path / "log").write_text(out.stderr)
    used = Usage.of_log(log)
    assert used is not None
    assert used.ranks == 2
    assert used.cpu_seconds > 0
    assert used.peak_mb >= 2 * 10  # two Pythons
    assert used.largest_mb < used.peak_mb


def test_mpi_ranks_start_whatever_the_locale() -> None:
    """In Turkish I is not the large i, on which what lies below MPI depends."""
    before = locale.setlocale(locale.LC_CTYPE)
    for name in ("tr_TR.UTF-8", "C.UTF-8"):
        with suppress(locale.Error):  # not every machine has it
            mine = locale.setlocale(locale.LC_CTYPE, name)
            break
    try:
        with work._letters_of_c():
            assert locale.setlocale(locale.LC_CTYPE) == "C"
        assert locale.setlocale(locale.LC_CTYPE) == mine
    finally:
        locale.setlocale(locale.LC_CTYPE, before)


def test_workers_end_with_their_leader() -> None:
    program = (
        "from laion_hpc.runtime import work; from tests.runtime.test_work import sleep\n"
        "if __name__ == '__main__':\n"
        "    with work.team(2) as team: team.map(sleep, [0.0, 0.0, 600.0, 600.0], label='sleep')\n"
    )
    leader = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL)
    try:
        workers = wait_for_children(leader.pid)
        leader.kill()
        leader.wait()
        patience.until(lambda: not any(map(alive, workers)), "the end of the workers")
    finally:
        leader.kill()


def wait_for_children(pid: int) -> list[int]:
    workers: list[int] = []

    def two() -> bool:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        workers[:] = [int(child) for child in children if alive(int(child))]
        return len(workers) == 2

    patience.until(two, "two workers", sign=lambda: patience.worked(pid))
    time.sleep(1.0)  # until they have asked to end with their leader
    return workers


def cmdline(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def alive(pid: int) -> bool:
    return b"spawn_main" in cmdline(pid)
