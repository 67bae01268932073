"""Outputs appear under their final name only when whole."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from laion_hpc.files.atomic import atomic, beside, disown, leftovers, write_bytes


def test_the_name_appears_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "output"
    with atomic(path) as aside:
        aside.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


def test_a_failure_leaves_nothing_and_keeps_the_old(tmp_path: Path) -> None:
    path = tmp_path / "output"
    write_bytes(path, b"old")
    with pytest.raises(RuntimeError), atomic(path) as aside:
        aside.write_text("half")
        raise RuntimeError
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def part(path: Path, host: str, pid: int, hours_old: float = 0.0) -> Path:
    """What a process of that host and number writes to, or has left."""
    file = path.with_name(f".{path.name}.{host}.{pid}.0123abcd.part")
    file.write_text("half")
    then = time.time() - 3600 * hours_old
    os.utime(file, (then, then))
    return file


@pytest.fixture
def dead() -> int:
    """The number of a process that has ended."""
    with subprocess.Popen(["true"]) as process:
        pass
    return process.pid


HERE = beside(Path("x"), "part").name.split(".")[2]


def test_what_a_killed_attempt_left_is_removed(tmp_path: Path, dead: int) -> None:
    path = tmp_path / "out[put]*"
    part(path, HERE, dead)
    part(path, "elsewhere", 1, hours_old=25)
    another = [part(tmp_path / name, HERE, dead) for name in ("other", "out[put]*.tar")]
    write_bytes(path, b"whole")
    assert sorted(tmp_path.iterdir()) == sorted([path, *another])


def test_what_may_still_be_written_stays(tmp_path: Path) -> None:
    path = tmp_path / "output"
    living = [
        part(path, HERE, os.getppid()),
        part(path, HERE, os.getpid()),
        # A process of this number has ended here; there it may not have.
        part(path, "elsewhere", 2**22 - 1, hours_old=23),
    ]
    write_bytes(path, b"whole")
    assert sorted(tmp_path.iterdir()) == sorted([path, *living])


def test_two_that_write_the_same_output_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "output"
    with atomic(path) as first:
        first.write_text("first")
        with atomic(path) as second:
            second.write_text("second")
        assert path.read_text() == "second"
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_released_is_anybodys(tmp_path: Path) -> None:
    path = tmp_path / "a.b"
    mine = beside(path, "fetching")
    mine.write_text("half")
    assert leftovers(path, "fetching") == []
    disown(mine, path, "fetching")
    (left,) = leftovers(path, "fetching")
    assert left.read_text() == "half"
    assert leftovers(tmp_path / "a", "fetching") == leftovers(path, "part") == []
