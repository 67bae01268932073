"""What MPI ranks used, from their log."""

from __future__ import annotations

from pathlib import Path

import pytest

from laion_hpc.runtime.usage import Usage, of_ranks, of_this_process


def test_what_the_leader_says_is_read_back(tmp_path: Path) -> None:
    used = of_ranks([(1.25, 100.0), (10.5, 300.5), (0.0, 50.0)])
    assert used == Usage(ranks=3, cpu_seconds=11.75, peak_mb=450.5, largest_mb=300.5)
    log = tmp_path / "0007.log"
    log.write_text("x" * 10_000 + f"\nworking\n{used.line()}\nsrun: a last word\n")
    assert Usage.of_log(log) == Usage(3, 11.8, 450.5, 300.5)


@pytest.mark.parametrize("text", ["", "used: 3 ranks\n", "embed 0007: 5/5 shards in 3.2 s\n"])
def test_a_log_of_no_mpi_job_says_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "0007.log").write_text(text)
    assert Usage.of_log(tmp_path / "0007.log") is None
    assert Usage.of_log(tmp_path / "0008.log") is None


def test_memory_is_in_mebibytes() -> None:
    held = bytearray(64 << 20)
    held[:: 1 << 12] = b"x" * (len(held) >> 12)
    cpu, peak = of_this_process()
    assert cpu > 0
    assert 64 < peak < 64 << 10
