"""Real pages and images through the whole workflow."""

from __future__ import annotations

from pathlib import Path

import pytest

from laion_hpc.cli import main
from laion_hpc.files import ledger
from tests.realweb import run


@pytest.mark.demo
def test_the_whole_dag_on_real_pages(tmp_path: Path, testdata: Path) -> None:
    results = run.run(tmp_path, testdata)
    print(run.report(results))
    assert main(["audit", str(results), "--checksums"]) == 0
    extracted = ledger.total(run.manifests(results, "extract"))
    # The corpus' README counts 2,131 links with an alt text of at least 5 characters.
    assert (
        extracted.inputs - extracted.dropped["no_text"] - extracted.dropped["text_too_short"]
        == 2131
    )
    downloaded = ledger.total(run.manifests(results, "download"))
    assert downloaded.kept >= 400
    released = ledger.total([ledger.read(results / "release/manifest.json")])
    assert released.kept + sum(released.dropped.values()) == downloaded.kept
    assert (results / "report.html").stat().st_size > 50_000
