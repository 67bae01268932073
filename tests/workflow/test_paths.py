"""The workflow in folders whose names a shell would take apart."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from laion_hpc.files.crawl_lock import read_lock
from laion_hpc.files.ledger import read
from tests import patience
from tests.stages.extract.wats import some_pages, write_wat

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
AWKWARD = 'it\'s a & b, "c" $HOME'


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what the workflow is made of."""
    folder = tmp_path / AWKWARD / "laion hpc"
    for name in ("rules", "laion_hpc", "docs/captions", "envs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "Snakefile", folder)
    return folder


def test_rules_run_in_a_folder_with_an_awkward_name(checkout: Path, tmp_path: Path) -> None:
    work = tmp_path / AWKWARD / "work"
    work.mkdir()
    write_wat(work / "wats 'of' mine" / "a.wat.gz", some_pages(20))
    crawls = work / "crawls & more"
    made = [sys.executable, "-m", "laion_hpc", "crawl", "MINE"]
    made += ["--folder", "wats 'of' mine", "--output", str(crawls / "MINE.json")]
    assert patience.run(made, cwd=work).returncode == 0
    (work / "a config's.yaml").write_text(
        'crawls: [MINE]\ncrawl_folder: "crawls & more"\n'
        'results: "results of it\'s & co"\ndataset: {blocks: 2}\n'
    )
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(checkout / "Snakefile")]
    command += ["shuffle_all", "--cores", "2", "--configfile", "a config's.yaml"]
    done = patience.run(command, cwd=work)
    assert done.returncode == 0, done.stdout + done.stderr
    results = work / "results of it's & co" / "MINE"
    segment = next(iter(read_lock(crawls / "MINE.json").segments))
    links = read(results / "extract" / f"{segment}.ledger.json").kept
    blocks = [read(results / f"shuffle/000{block}.ledger.json") for block in (0, 1)]
    assert sum(block.inputs for block in blocks) == links > 0


def test_the_rest_is_planned_there_too(checkout: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(checkout / "Snakefile")]
    command += ["-n", "-p", "--configfile", str(ROOT / "config/demo.yaml")]
    shutil.copytree(ROOT / "config", tmp_path / "config")
    done = patience.run([*command, "--config", "results='it is & b'"], cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
