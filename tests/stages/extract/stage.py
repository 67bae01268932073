"""Running the stage as its command does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from laion_hpc.cli import main
from laion_hpc.files import ledger

BLOCKS = 7


def extract(wats: Sequence[Path | str], output: Path, *more: str) -> int:
    """The exit code of `laion-hpc extract`."""
    arguments = ["extract", *map(str, wats), "--output", str(output), "--crawl", "C-1"]
    return main([*arguments, "--blocks", str(BLOCKS), *more])


def contents(output: Path) -> tuple[bytes, bytes]:
    """The bytes of an output and of its ledger."""
    return output.read_bytes(), ledger.path_of(output).read_bytes()
