"""LAION's tags joined by hash: every row stays, and the ledger tells what became of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from laion_hpc.cli import main
from laion_hpc.errors import InputError, LaionHpcError, UsageError
from laion_hpc.files import ledger
from laion_hpc.files.schemas import join_hash
from laion_hpc.run.join.job import Resources, join


def sample(number: int) -> dict[str, Any]:
    """A row as LAION's; texts in several scripts, one missing."""
    text = None if number == 3 else f"café 猫 {number}"
    return {"URL": f"http://host.example/{number}.jpg", "TEXT": text, "WIDTH": number}


def hash_of(number: int) -> int:
    row = sample(number)
    return join_hash(row["URL"], row["TEXT"] or "")


def write(path: Path, rows: list[dict[str, Any]], group: int = 4, **types: pa.DataType) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(rows)
    for name, kind in types.items():
        table = table.set_column(table.column_names.index(name), name, table[name].cast(kind))
    pq.write_table(table, path, row_group_size=group)
    return path


@pytest.fixture
def left(tmp_path: Path) -> Path:
    """Two files of 10 rows each: 0 … 18, and 5 once more."""
    folder = tmp_path / "left"
    write(folder / "part-00000.parquet", [sample(n) for n in range(10)])
    write(folder / "part-00001.parquet", [sample(n) for n in (5, *range(10, 19))])
    return folder


@pytest.fixture
def tags(tmp_path: Path) -> list[Path]:
    """LAION's two collections: safety (three files' worth in two), watermark and aesthetic."""
    safety = [{"hash": hash_of(n), "prediction": n / 100} for n in range(12)]
    # Twice the same, and twice another thing, of which the highest counts; of no sample of ours.
    safety += [safety[2], {"hash": hash_of(4), "prediction": 0.9}, {"hash": 1, "prediction": 0.5}]
    folder = tmp_path / "safety"
    write(folder / "a.parquet", safety[:9], prediction=pa.float16())
    write(folder / "b.parquet", safety[9:], prediction=pa.float16())
    both = [
        {"hash": hash_of(n), "pwatermark": 1 - n / 100, "aesthetic": None if n == 7 else n / 2}
        for n in (18, 7, 0)
    ]
    return [folder, write(tmp_path / "both.parquet", both)]


def test_every_row_stays_in_its_place(left: Path, tags: list[Path], tmp_path: Path) -> None:
    output = tmp_path / "out"
    command = ["join", str(left), *map(str, tags), "--output", str(output), "--threads", "2"]
    assert main(command) == 0
    numbers = [list(range(10)), [5, *range(10, 19)]]
    for name, expected in zip(("part-00000", "part-00001"), numbers, strict=True):
        before = pq.ParquetFile(left / f"{name}.parquet")
        after = pq.ParquetFile(output / f"{name}.parquet")
        assert after.num_row_groups == before.num_row_groups == 3
        assert after.read().select(before.schema_arrow.names).equals(before.read())
        assert [(f.name, f.type) for f in after.schema_arrow][3:] == [
            ("hash", pa.int64()),
            *((column, pa.float32()) for column in ("punsafe", "pwatermark", "aesthetic")),
        ]
        for number, row in zip(expected, after.read().to_pylist(), strict=True):
            assert row["hash"] == hash_of(number)
            punsafe = 0.9 if number == 4 else number / 100 if number < 12 else None
            assert row["punsafe"] == (punsafe and pytest.approx(punsafe, abs=1e-3))
            there = number in (0, 7, 18)
            assert row["pwatermark"] == (pytest.approx(1 - number / 100) if there else None)
            assert row["aesthetic"] == (number / 2 if there and number != 7 else None)
    done = ledger.read(output / ledger.MANIFEST)
    assert (done.stage, done.inputs, done.kept) == ("join", 20, 20)
    assert done.counts == {
        "matched": {"punsafe": 13, "pwatermark": 3, "aesthetic": 2},
        "unmatched": 6,  # 12 … 17
        "duplicates": 1,
        "collisions": 0,
        "repeated_tags": 2,
        "conflicting_tags": 1,
        "hash_not_of_url_and_text": 0,
    }
    assert [file.name for file in done.files] == ["part-00000.parquet", "part-00001.parquet"]
    assert not list(tmp_path.glob(".join-*"))


def test_neither_threads_nor_memory_change_a_byte(
    left: Path, tags: list[Path], tmp_path: Path
) -> None:
    found = []
    for number, resources in enumerate((Resources(), Resources(0.1, 3, tmp_path / "scratch"))):
        output = tmp_path / f"out{number}"
        join(left, tags, output, resources=resources)
        found.append({p.name: p.read_bytes() for p in output.iterdir()})
    assert found[0] == found[1]
    assert set(found[0]) == {"part-00000.parquet", "part-00001.parquet", "manifest.json"}


def test_a_hash_that_is_there_is_the_key(tmp_path: Path, tags: list[Path]) -> None:
    rows = [sample(n) | {"hash": hash_of(n)} for n in range(4)]
    rows[1]["hash"] = rows[2]["hash"]  # of another URL and text: a collision
    source = write(tmp_path / "one.parquet", rows)
    done = join(source, tags[:1], tmp_path / "out.parquet")
    table = pq.read_table(tmp_path / "out.parquet")
    assert table["punsafe"].to_pylist() == pytest.approx([0, 0.02, 0.02, 0.03], abs=1e-3)
    assert table.column_names == ["URL", "TEXT", "WIDTH", "hash", "punsafe"]
    counts = {name: done.counts[name] for name in ("duplicates", "collisions", "unmatched")}
    assert counts == {"duplicates": 1, "collisions": 1, "unmatched": 0}
    assert done.counts["hash_not_of_url_and_text"] == 1
    assert (tmp_path / "out.ledger.json").is_file()
    # Without URL and text the hash is enough.
    bare = write(tmp_path / "bare.parquet", [{"hash": hash_of(2)}, {"hash": None}])
    join(bare, tags[:1], tmp_path / "out2.parquet")
    found = pq.read_table(tmp_path / "out2.parquet")["punsafe"].to_pylist()
    assert found == [pytest.approx(0.02, abs=1e-3), None]


def test_columns_by_name(left: Path, tmp_path: Path) -> None:
    odd = write(tmp_path / "odd.parquet", [{"hash": hash_of(1), "score": 3, "punsafe": 0.5}])
    join(left, [odd], tmp_path / "out", columns=["score=rating"])
    table = pq.read_table(tmp_path / "out" / "part-00000.parquet")
    assert table.column_names == ["URL", "TEXT", "WIDTH", "hash", "rating"]
    assert table["rating"].to_pylist()[:3] == [None, 3.0, None]
    with pytest.raises(UsageError, match="--column nothing: no file of tags has it"):
        join(left, [odd], tmp_path / "out", columns=["score", "nothing"])
    with pytest.raises(UsageError, match="has a column width already"):
        join(left, [odd], tmp_path / "out", columns=["score=width"])


def test_what_cannot_be_joined(left: Path, tags: list[Path], tmp_path: Path) -> None:
    def refused(error: type[LaionHpcError], message: str, *arguments: Any) -> None:
        with pytest.raises(error, match=message):
            join(*arguments)

    out = tmp_path / "out"
    junk = tmp_path / "junk.parquet"
    junk.write_bytes(b"PAR1 no")
    (tmp_path / "empty").mkdir()
    untagged = write(tmp_path / "untagged.parquet", [{"hash": 1, "other": 2.0}])
    texts = write(tmp_path / "texts.parquet", [{"hash": 1, "punsafe": "high"}])
    strings = write(tmp_path / "strings.parquet", [{"hash": "1", "punsafe": 1.0}])
    keyless = write(tmp_path / "keyless.parquet", [{"URL": "u"}])
    again = write(tmp_path / "again.parquet", [{"hash": 1, "punsafe": 0.5, "aesthetic": 5.0}])
    refused(InputError, "no such file", left, [tmp_path / "none.parquet"], out)
    refused(InputError, "no such file", tmp_path / "none.parquet", tags, out)
    refused(InputError, r"junk\.parquet: cannot be read", left, [junk], out)
    refused(InputError, "holds no .parquet file", left, [tmp_path / "empty"], out)
    refused(InputError, "none of the columns punsafe.*hash, other", left, [untagged], out)
    refused(InputError, "punsafe is string, expected a number", left, [texts], out)
    refused(InputError, "no column hash of integers", left, [strings], out)
    refused(InputError, "neither hash nor URL and TEXT", keyless, tags, tmp_path / "o.parquet")
    refused(UsageError, "both have punsafe", left, [tags[0], again], out)
    refused(UsageError, "must be a folder", left, tags, tmp_path / "out.parquet")
    refused(UsageError, "must be a .parquet file", left / "part-00000.parquet", tags, out)
    refused(UsageError, "would overwrite", left, tags, left)
    write(left / "part-00002.parquet", [{"other": 1}])
    refused(InputError, "part-00002.*other columns than", left, tags, out)
    assert not out.exists()
