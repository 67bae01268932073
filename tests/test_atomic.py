"""Outputs appear under their final name only when whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from laion_hpc.atomic import atomic, write_bytes


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


def test_what_a_killed_attempt_left_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "out[put]*"
    (tmp_path / ".out[put]*.123.part").write_text("half")
    (tmp_path / ".other.123.part").write_text("somebody else's")
    write_bytes(path, b"whole")
    assert sorted(p.name for p in tmp_path.iterdir()) == [".other.123.part", "out[put]*"]
