from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from laion_hpc.stages.release import part_files
from laion_hpc.stages.release.part_files import PartsWriter, part_sizes

SCHEMA = pa.schema([pa.field("n", pa.int64())])


def numbers(start: int, stop: int) -> pa.Table:
    return pa.table({"other": ["x"] * (stop - start), "n": list(range(start, stop))})


def writer(folder: Path, rows: int, most: int) -> PartsWriter:
    return PartsWriter(folder, block=7, rows=rows, schema=SCHEMA, rows_per_part=most)


@given(st.integers(0, 10_000), st.integers(1, 300))
def test_part_sizes_are_even_and_few(rows: int, most: int) -> None:
    sizes = part_sizes(rows, most)
    assert sum(sizes) == rows
    assert len(sizes) == -(-rows // most)
    assert not sizes or (max(sizes) <= most and max(sizes) - min(sizes) <= 1)


@pytest.mark.parametrize("portion", [1, 3, 10, 25])
def test_parts_are_the_same_bytes_however_the_rows_come(tmp_path: Path, portion: int) -> None:
    with writer(tmp_path / "a", 25, 10) as made:
        for start in range(0, 25, portion):
            made.write(numbers(start, min(25, start + portion)))
    assert [(path.name, rows) for path, rows in made.parts] == [
        ("part-0007-000.parquet", 9),
        ("part-0007-001.parquet", 8),
        ("part-0007-002.parquet", 8),
    ]
    read = [n for path, _ in made.parts for n in pq.read_table(path)["n"].to_pylist()]
    assert read == list(range(25))
    with writer(tmp_path / "b", 25, 10) as again:
        again.write(numbers(0, 25))
    for (one, _), (two, _) in zip(made.parts, again.parts, strict=True):
        assert one.read_bytes() == two.read_bytes()


def test_row_groups_end_by_size_and_pages_are_indexed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(part_files, "ROW_GROUP_BYTES", 800)
    with writer(tmp_path, 1000, 1000) as made:
        for start in range(0, 1000, 50):
            made.write(numbers(start, start + 50))
    footer = pq.read_metadata(made.parts[0][0])
    assert [footer.row_group(g).num_rows for g in range(footer.num_row_groups)] == [100] * 10
    column = footer.row_group(0).column(0)
    assert column.has_offset_index
    assert column.has_column_index
    assert column.compression == "ZSTD"


def test_no_rows_no_file(tmp_path: Path) -> None:
    with writer(tmp_path / "a", 0, 10) as made:
        made.write(numbers(0, 0))
    assert made.parts == []
    assert not (tmp_path / "a").exists()


def test_a_failure_leaves_no_half_part(tmp_path: Path) -> None:
    with pytest.raises(KeyError), writer(tmp_path, 20, 10) as made:
        made.write(numbers(0, 12))
        raise KeyError
    assert [path.name for path in tmp_path.iterdir()] == ["part-0007-000.parquet"]


@pytest.mark.parametrize("announced", [9, 11])
def test_a_wrong_number_of_rows_is_a_bug(tmp_path: Path, announced: int) -> None:
    with (
        pytest.raises(AssertionError, match="rows than announced"),
        writer(tmp_path, announced, 5) as made,
    ):
        made.write(numbers(0, 10))
    assert not list(tmp_path.glob(".*"))
