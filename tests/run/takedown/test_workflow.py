"""A take-down of 1% of the demo's samples: which jobs run, and that nothing of them is left."""

from __future__ import annotations

import re
import shutil
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from laion_hpc.files import ledger
from tests.demo_runs import ROOT, finished, run

pytestmark = pytest.mark.demo

BLOCK = "0001"
TOUCHED = ["download", "filter", "embed", "tag", "index_add", "index_metadata", "release_block"]
WHOLE = ["index_merge", "index_evaluate", "release_gather", "report_page"]


def snakemake(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
    command += ["--configfile", str(ROOT / "config/demo.yaml"), "--cores", "2", "--nolock"]
    return finished([*command, *arguments], folder)


def samples(folder: Path, block: str) -> list[dict[str, Any]]:
    found = sorted((folder / "results/demo/embed" / block / "metadata").glob("*.parquet"))
    return [row for path in found for row in pq.read_table(path).to_pylist()]


def contents(folder: Path, block: str) -> dict[str, bytes]:
    """All outputs of one block."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted((folder / "results/demo").rglob("*"))
        if path.is_file()
        and re.search(rf"\b{block}\b", path.as_posix())
        and not {"logs", "benchmarks"} & {*path.parts}
    }


def test_one_percent_goes_and_nothing_else_is_touched(
    demo_run: tuple[Path, str], tmp_path: Path
) -> None:
    folder = tmp_path / "demo"
    shutil.copytree(demo_run[0], folder, symlinks=True)
    before = {block: samples(folder, block) for block in ("0000", BLOCK)}
    gone = before[BLOCK][:: len(before[BLOCK]) * 100 // (sum(map(len, before.values())) + 99)]
    assert 0.009 < len(gone) / sum(map(len, before.values())) < 0.02
    lines = [
        row["url"] if n % 3 else row["image_path"] if n % 2 else row["sha256"]
        for n, row in enumerate(gone)
    ]
    (folder / "requests.txt").write_text("\n".join(lines))
    untouched = contents(folder, "0000")
    trained = (folder / "results/demo/index/trained.index").read_bytes()
    run(folder, "takedown", "requests.txt")

    plan = snakemake(folder, "--dry-run")
    table = plan.split("Job stats:")[1].split("\n\n")[0]
    jobs = Counter({name: int(n) for name, n in re.findall(r"^(\w+) +(\d+)$", table, re.M)})
    del jobs["total"], jobs["all"]
    assert jobs == dict.fromkeys([*TOUCHED, *WHOLE], 1)
    assert not re.search(r"\b[Bb]lock 0000\b", plan)

    # Nobody serves the demo's web: nothing is downloaded again.
    snakemake(folder)
    said = run(folder, "audit", "results", "--takedown", "--complete", "--checksums")
    assert "no trace is left" in said
    assert "Nothing to be done" in snakemake(folder, "--dry-run")

    assert contents(folder, "0000") == untouched
    assert (folder / "results/demo/index/trained.index").read_bytes() == trained
    out = {row["sha256"] for row in gone} | {row["image_path"] for row in gone}
    left = [row for row in before[BLOCK] if not {row["sha256"], row["image_path"]} & out]
    keys = [row["image_path"] for row in left]
    assert [row["image_path"] for row in samples(folder, BLOCK)] == keys
    assert pq.read_table(folder / f"results/demo/tag/{BLOCK}.parquet")["key"].to_pylist() == keys
    count = len(left) + len(before["0000"])
    assert ledger.read(folder / "results/demo/index/manifest.json").kept == count
    vectors = sorted((folder / f"results/demo/embed/{BLOCK}/img_emb").glob("*.npy"))
    assert sum(len(np.load(path)) for path in vectors) == len(left)
