import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scripts.compare_results import differences

NONE: frozenset[str] = frozenset()


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    """Two equal results folders."""
    before = tmp_path / "before"
    before.mkdir()
    (before / "00000.tar").write_bytes(b"tar")
    np.save(before / "img_emb_0.npy", np.zeros((2, 4), np.float16))
    table = pa.table({"key": ["a", "b"], "score": [float("nan"), 0.5]})
    pq.write_table(table, before / "0000.parquet")
    with (
        pa.OSFile(str(before / "0000.arrow"), "wb") as sink,
        pa.ipc.new_file(sink, table.schema) as writer,
    ):
        writer.write_table(table)
    files = [{"name": "00000.tar", "rows": 2, "bytes": 3, "sha256": "x"}]
    book = {"inputs": 2, "kept": 2, "config": "c", "source": "s", "files": files}
    (before / "manifest.json").write_text(json.dumps(book))
    (before / "report.html").write_text("old")
    after = tmp_path / "after"
    shutil.copytree(before, after)
    return before, after


def test_a_run_is_equal_to_its_copy_whatever_texts_and_digests_say(
    runs: tuple[Path, Path],
) -> None:
    before, after = runs
    (after / "report.html").write_text("new")
    book = json.loads((after / "manifest.json").read_text())
    book |= {"config": "d", "source": "t", "about": {"block": 0}}
    book["files"][0] |= {"sha256": "y", "bytes": 4}
    (after / "manifest.json").write_text(json.dumps(book))
    assert list(differences(before, after, NONE)) == []


def _other_bytes(after: Path) -> None:
    (after / "00000.tar").write_bytes(b"TAR")


def _other_value(after: Path) -> None:
    pq.write_table(pa.table({"key": ["a", "b"], "score": [0.0, 0.5]}), after / "0000.parquet")


def _other_type(after: Path) -> None:
    score = pa.array([float("nan"), 0.5], pa.float32())
    pq.write_table(pa.table({"key": ["a", "b"], "score": score}), after / "0000.parquet")


def _fewer_rows(after: Path) -> None:
    pq.write_table(pa.table({"key": ["a"], "score": [0.5]}), after / "0000.parquet")


def _gone(after: Path) -> None:
    (after / "img_emb_0.npy").unlink()


def _other_count(after: Path) -> None:
    book = json.loads((after / "manifest.json").read_text())
    (after / "manifest.json").write_text(json.dumps(book | {"kept": 1}))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_other_bytes, "00000.tar: other bytes"),
        (_other_value, "0000.parquet: other values: score"),
        (_other_type, "0000.parquet: other values: score"),
        (_fewer_rows, "0000.parquet: 2 rows before, 1 after"),
        (_gone, "img_emb_0.npy: only before"),
        (_other_count, "manifest.json: other kept"),
    ],
)
def test_what_changed_is_named(
    runs: tuple[Path, Path], change: Callable[[Path], None], said: str
) -> None:
    before, after = runs
    change(after)
    assert list(differences(before, after, NONE)) == [said]


def test_a_new_column_differs_unless_it_is_allowed(runs: tuple[Path, Path]) -> None:
    before, after = runs
    table = pq.read_table(after / "0000.parquet")
    pq.write_table(table.append_column("host", pa.array(["h", "h"])), after / "0000.parquet")
    assert list(differences(before, after, NONE)) == ["0000.parquet: columns of one only: host"]
    assert list(differences(before, after, frozenset(["host"]))) == []
