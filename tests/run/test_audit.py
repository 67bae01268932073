import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from laion_hpc.cli import main
from laion_hpc.files.ledger import Ledger, describe
from laion_hpc.files.schemas import CANDIDATE
from laion_hpc.run import gaps, jobs
from tests.run.report.synthetic import CRAWL, SEGMENTS, make_run


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("audit")
    make_run(root, links=300)
    return root / CRAWL


@pytest.fixture
def run(tmp_path: Path, whole: Path) -> Path:
    return shutil.copytree(whole, tmp_path / CRAWL)


def change(path: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    data = json.loads(path.read_text())
    edit(data)
    path.write_text(json.dumps(data))


def test_an_untouched_run_is_clean(whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in (whole, whole.parent):
        assert main(["audit", str(folder), "--complete", "--checksums"]) == 0
    table = capsys.readouterr().out
    assert "Every sample is accounted for." in table
    download = next(line for line in table.splitlines() if line.startswith("  download"))
    manifests = [json.loads(p.read_text()) for p in whole.glob("download/*/manifest.json")]
    assert f" {sum(m['kept'] for m in manifests):,} " in download
    assert "http_404" in download


def raise_inputs(data: dict[str, Any]) -> None:
    data["inputs"] += 1


def keep_one_more(data: dict[str, Any]) -> None:
    """Balanced still: one drop is turned into a kept sample."""
    reason = next(iter(data["dropped"]), None)
    if reason:
        data["dropped"][reason] -= 1
    else:
        data["inputs"] += 1
    data["kept"] += 1


LEDGERS = [
    f"extract/{SEGMENTS[0]}.ledger.json",
    "shuffle/0001.ledger.json",
    "download/0001/manifest.json",
    "download/0001/00000.ledger.json",
    "filter/0000/manifest.json",
    "embed/0001/manifest.json",
    "tag/0001.ledger.json",
    "index/blocks/0000.ledger.json",
    "index/metadata/0001.ledger.json",
    "index/manifest.json",
    "release/blocks/0001.ledger.json",
    "release/manifest.json",
]


@pytest.mark.parametrize("name", LEDGERS)
def test_a_ledger_that_does_not_balance_is_named(
    run: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    change(run / name, raise_inputs)
    assert main(["audit", str(run)]) == 1
    error = capsys.readouterr().err
    assert f"{run / name}: " in error
    assert "in, but" in error


@pytest.mark.parametrize(
    ("name", "stage", "before"),
    [
        (f"extract/{SEGMENTS[0]}.ledger.json", "shuffle", "extract"),
        ("shuffle/0001.ledger.json", "download, block 0001", "shuffle"),
        ("download/0001/manifest.json", "filter, block 0001", "download"),
        ("filter/0000/manifest.json", "embed, block 0000", "filter"),
        ("embed/0001/manifest.json", "tag, block 0001", "embed"),
        ("embed/0001/manifest.json", "index, block 0001", "embed"),
        ("tag/0001.ledger.json", "release, block 0001", "tag"),
        ("tag/0001.ledger.json", "index metadata, block 0001", "tag"),
        ("index/blocks/0000.ledger.json", "index/manifest.json", "blocks kept"),
        ("release/blocks/0001.ledger.json", "release/manifest.json", "blocks kept"),
    ],
)
def test_stages_that_disagree_are_named_with_both_numbers(
    run: Path, name: str, stage: str, before: str, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = json.loads((run / name).read_text())["kept"]
    change(run / name, keep_one_more)
    assert main(["audit", str(run)]) == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if stage in line]
    assert any(before in line for line in lines)
    if name.startswith(("shuffle", "download", "filter", "embed", "tag")):
        assert any(str(kept) in line and str(kept + 1) in line for line in lines)
        assert any(str(run / name) in line for line in lines)


@pytest.mark.parametrize(
    ("gone", "complaint"),
    [
        ("shuffle/0001.ledger.json", "download, block 0001: has run, but shuffle has no ledger"),
        ("download/0001", "filter, block 0001: has run, but download has no ledger"),
        ("filter/0000", "embed, block 0000: has run, but filter has no ledger"),
        ("embed", "tag, block 0000: has run, but embed has no ledger"),
        ("tag/0000.ledger.json", "release, block 0000: has run, but tag has no ledger"),
        ("index/blocks/0001.ledger.json", "index has no ledger of block 0001"),
        ("release/blocks/0000.ledger.json", "release has no ledger of block 0000"),
        ("extract", "shuffle has run, but there is no ledger in"),
        (f"extract/{SEGMENTS[1]}.ledger.json", "extract kept"),
    ],
)
def test_a_gap_is_an_error(
    run: Path, gone: str, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = run / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert main(["audit", str(run)]) == 1
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize("stage", ["release", "index", "tag", "embed", "filter", "download"])
def test_stages_not_yet_run_are_said_so(
    run: Path, stage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    order = ["release", "index", "tag", "embed", "filter", "download"]
    for name in order[: order.index(stage) + 1]:
        shutil.rmtree(run / name)
    assert main(["audit", str(run)]) == 0
    assert f"  {stage} " in (out := capsys.readouterr().out)
    assert out.count("not yet run") == order.index(stage) + 1
    assert main(["audit", str(run), "--complete"]) == 1
    assert f"{stage} has not run on block 0000, block 0001" in capsys.readouterr().err


def test_a_block_not_yet_run_is_an_error_only_if_all_must_have(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("release", "index", "tag", "embed/0001", "filter/0001"):
        shutil.rmtree(run / name)
    assert main(["audit", str(run)]) == 0
    capsys.readouterr()
    assert main(["audit", str(run), "--complete"]) == 1
    assert "filter has not run on block 0001" in capsys.readouterr().err


def test_blocks_that_the_config_has_and_shuffle_has_not(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run.parent / "config.yaml").write_text("dataset: {blocks: 3}\n")
    assert main(["audit", str(run), "--complete"]) == 1
    assert "shuffle has not run on block 0002" in capsys.readouterr().err


def test_files_are_checked_by_presence_size_and_content(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = next((run / "release" / "laion-en").iterdir())
    data = file.read_bytes()
    file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert main(["audit", str(run)]) == 0
    assert main(["audit", str(run), "--checksums", "--processes", "2"]) == 1
    assert f"{file.name} has changed" in capsys.readouterr().err
    file.write_bytes(data + b"x")
    assert main(["audit", str(run)]) == 1
    error = capsys.readouterr().err
    assert f"{file.name} with {len(data)} bytes, it has {len(data) + 1}" in error
    file.unlink()
    assert main(["audit", str(run)]) == 1
    assert f"{file.name}, which is missing" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name",
    [
        "index/trained.ledger.json",
        "index/text/trained.ledger.json",
        "index/text/blocks/0001.ledger.json",
        "index/text/manifest.json",
        "release/image-blocks/0001.ledger.json",
    ],
)
def test_every_ledger_of_the_workflow_is_read(
    run: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    path = run / name
    path.parent.mkdir(parents=True, exist_ok=True)
    data = path.parent / "data.bin"
    data.write_bytes(b"vectors")
    kept = json.loads((run / "embed/0001/manifest.json").read_text())["kept"]
    Ledger("x", "samples", kept, kept, files=(describe(data, rows=kept),)).write(path)
    data.unlink()
    assert main(["audit", str(run)]) == 1
    assert f"{path}: lists data.bin, which is missing" in capsys.readouterr().err


def test_the_index_of_the_texts_is_the_sum_of_its_blocks(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blocks = sorted(path.name for path in (run / "embed").iterdir())
    total = 0
    for block in blocks:
        kept = json.loads((run / "embed" / block / "manifest.json").read_text())["kept"]
        path = run / "index/text/blocks" / f"{block}.ledger.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        Ledger("index", "samples", kept, kept).write(path)
        total += kept
    Ledger("index", "samples", total, total).write(run / "index/text/trained.ledger.json")
    manifest = run / "index/text/manifest.json"
    Ledger("index", "samples", total, total).write(manifest)
    assert main(["audit", str(run)]) == 0
    Ledger("index", "samples", total + 1, total + 1).write(manifest)
    assert main(["audit", str(run)]) == 1
    assert f"{manifest} keeps {total + 1} samples" in capsys.readouterr().err


def test_a_file_that_is_no_ledger_is_named(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = run / "filter" / "0000" / "manifest.json"
    path.write_text("{")
    assert main(["audit", str(run)]) == 1
    assert f"{path}: not a ledger" in capsys.readouterr().err


def test_a_block_that_read_links_of_another_is_named(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The totals agree, the row groups of the segments tell which block is at fault."""
    path = run / "extract" / f"{SEGMENTS[0]}.parquet"
    groups = [pq.ParquetFile(path).read_row_group(block) for block in range(2)]
    with pq.ParquetWriter(path, CANDIDATE) as writer:
        writer.write_table(groups[0].slice(1))
        writer.write_table(groups[1])
    assert main(["audit", str(run)]) == 1
    assert "shuffle, block 0000: read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("gone", "witness"),
    [
        ("index/manifest.json", "index/evaluation.json"),
        ("index/trained.ledger.json", "index/manifest.json"),
        ("release/manifest.json", "report.html"),
        ("index/evaluation.json", "report.html"),
        ("index/metadata/0000.ledger.json", "index/metadata/0000.arrow"),
    ],
)
def test_a_file_is_missed_where_others_were_made_from_it(
    run: Path, gone: str, witness: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for rule in jobs.RULES:
        if rule.unit == "crawl" and rule.wanted is jobs.always:
            for path in filter(None, (rule.done, rule.ledger)):
                if not (run / path).exists():
                    (run / path).parent.mkdir(parents=True, exist_ok=True)
                    (run / path).touch()
    assert gaps.of(run) == []
    (run / gone).unlink(missing_ok=True)
    (run / witness).parent.mkdir(parents=True, exist_ok=True)
    (run / witness).touch()
    assert main(["audit", str(run)]) == 1
    told = capsys.readouterr().err
    assert f"{run / gone}: missing, though " in told


def test_wrong_usage(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", str(run / "nowhere")]) == 2
    assert main(["audit", str(run.parent), "unknown"]) == 2
    assert "no results of a crawl 'unknown', only synthetic" in capsys.readouterr().err
