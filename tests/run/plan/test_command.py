"""`laion-hpc plan` as a user meets it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from laion_hpc import cli
from laion_hpc.errors import UsageError
from laion_hpc.run.plan import command
from laion_hpc.run.plan.model import Allocation
from laion_hpc.run.plan.rates import load


@pytest.fixture
def config(tmp_path: Path) -> Path:
    lock = {"name": "A", "prefix": "", "segments": {"s.1": ["a.wat.gz", "b.wat.gz"]}}
    (tmp_path / "A.json").write_text(json.dumps(lock))
    path = tmp_path / "config.yaml"
    path.write_text(f"crawls: [A]\ncrawl_folder: {tmp_path}\ndataset: {{blocks: 3}}\n")
    return path


def test_the_table_and_the_json_agree(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["plan", str(config)]) == 0
    table = capsys.readouterr().out
    assert cli.main(["plan", str(config), "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["size"] == {"crawls": 1, "segments": 1, "wats": 2.0, "candidates": 729_000.0}
    assert made["jobs"] == 1 + 8 * 3 + 6
    for line in made["lines"]:
        row = next(row for row in table.splitlines() if row.startswith(f"{line['rule']} "))
        assert row.split()[1] == str(line["jobs"])


def test_what_is_kept_is_marked(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def marked() -> str:
        assert cli.main(["plan", str(config)]) == 0
        return next(row for row in capsys.readouterr().out.splitlines() if "this config" in row)

    assert "true:" in marked()
    with config.open("a") as stream:
        stream.write("keep: {candidate_images: false}\n")
    assert "false:" in marked()


def test_crawls_and_candidates_take_the_place_of_lock_files(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (config.parent / "A.json").unlink()
    arguments = ["plan", str(config), "--crawls", "2", "--candidates", "5e9", "--json"]
    assert cli.main(arguments) == 0
    assert json.loads(capsys.readouterr().out)["size"] == {
        "crawls": 2,
        "segments": 200,
        "wats": 180_000.0,
        "candidates": 5e9,
    }


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--candidates", "many"], "not a number of links"),
        (["--candidates", "1e12"], "--crawls"),
        (["--crawls", "0"], "at least 1"),
        (["--allocation", "nodes=3"], "cpu_nodes"),
        (["--allocation", "cores=x"], "cores: not a number"),
        (["--allocation", "gpu_nodes=0"], "above zero"),
        (["--rates", "/nowhere/rates.yaml"], "no such file of rates"),
    ],
)
def test_wrong_usage_is_explained(
    config: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    assert cli.main(["plan", str(config), *arguments]) == 2
    assert words in capsys.readouterr().err


def test_a_missing_lock_says_how_to_make_it(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (config.parent / "A.json").unlink()
    assert cli.main(["plan", str(config)]) == 2
    assert "laion-hpc crawl A" in capsys.readouterr().err


def test_an_allocation_is_read() -> None:
    assert command.parse_allocation("cpu_nodes=3, gbit=2.5") == Allocation(cpu_nodes=3, gbit=2.5)
    assert command.parse_allocation("") == Allocation()


def test_heads_that_read_images_are_counted(tmp_path: Path) -> None:
    from laion_hpc.config import parse

    for name, image in (("a", {"size": 256}), ("b", None)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "head.json").write_text(json.dumps({"image": image}))
    heads = [str(tmp_path / "a"), str(tmp_path / "b"), str(tmp_path / "pwatermark")]
    assert command.image_heads(parse({"tag": {"heads": heads}})) == 2


def test_rates_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "rates.yaml"
    path.write_text("shares: {}\nrules: {extract: {cpu_seconds: [{value: -1}]}}\n")
    with pytest.raises(UsageError, match=r"rates\.yaml: rules\.extract\.cpu_seconds\.0"):
        load(path)


def test_nothing_heavy_is_imported(config: Path) -> None:
    code = (
        "import sys; from laion_hpc import cli; "
        f"assert cli.main(['plan', {str(config)!r}]) == 0; "
        "heavy = {'torch', 'faiss', 'pyarrow', 'numpy', 'duckdb'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
