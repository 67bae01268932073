"""Parquets of `shuffle` and of users, cut into shards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laion_hpc.errors import InputError, UsageError
from laion_hpc.files.schemas import KEYED_CANDIDATE, SAMPLE
from laion_hpc.stages.download.inputs import open_source, read_shard


def keyed(path: Path, sizes: list[int]) -> Path:
    """As `shuffle` writes it: a row group per shard."""
    with pq.ParquetWriter(path, KEYED_CANDIDATE) as writer:
        for shard, size in enumerate(sizes):
            columns: dict[str, Any] = {}
            for field in KEYED_CANDIDATE:
                if pa.types.is_string(field.type):
                    columns[field.name] = [f"{field.name}-{shard}-{row}" for row in range(size)]
                else:
                    columns[field.name] = [row % 2 for row in range(size)]
            columns["key"] = [f"demo-0007-{shard:05d}-{row:05d}" for row in range(size)]
            table = pa.table(
                {
                    name: pa.array(values).cast(KEYED_CANDIDATE.field(name).type)
                    for name, values in columns.items()
                },
                schema=KEYED_CANDIDATE,
            )
            writer.write_table(table, row_group_size=max(1, size))
    return path


def test_a_row_group_of_shuffle_is_a_shard(tmp_path: Path) -> None:
    source = open_source(keyed(tmp_path / "b.parquet", [3, 5, 2]), samples_per_shard=4)
    assert source.keyed and source.sizes == (3, 5, 2) and source.samples == 10
    table = read_shard(source, 1)
    assert table.column("key").to_pylist() == [f"demo-0007-00001-{row:05d}" for row in range(5)]
    assert table.column("caption").to_pylist()[2] == "text-1-2"
    assert table.column("language_class").to_pylist()[0] == "language_class-1-0"
    for name in table.column_names:
        assert table.column(name).type == SAMPLE.field(name).type
    missing = set(SAMPLE.names) - set(table.column_names)
    assert "status" in missing and "language" not in missing


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 40), st.integers(1, 15), st.integers(1, 15))
def test_any_parquet_is_cut_into_equal_shards(
    tmp_path_factory: pytest.TempPathFactory, rows: int, group: int, per_shard: int
) -> None:
    path = tmp_path_factory.mktemp("cut") / "u.parquet"
    table = pa.table(
        {"TEXT": [f"t{n}" for n in range(rows)], "URL": [f"u{n}" for n in range(rows)]}
    )
    pq.write_table(
        table.cast(pa.schema([("TEXT", "string"), ("URL", "string")])), path, row_group_size=group
    )
    source = open_source(path, samples_per_shard=per_shard)
    assert source.samples == rows and not source.keyed
    shards = [read_shard(source, shard) for shard in range(len(source.sizes))]
    assert [url for shard in shards for url in shard.column("url").to_pylist()] == [
        f"u{n}" for n in range(rows)
    ]
    assert [text for shard in shards for text in shard.column("caption").to_pylist()] == [
        f"t{n}" for n in range(rows)
    ]
    for number, shard in enumerate(shards):
        assert shard.num_rows == per_shard or number == len(shards) - 1
        assert shard.column("key").to_pylist() == [
            f"{number:05d}{row:05d}" for row in range(shard.num_rows)
        ]


def test_nulls_and_missing_columns(tmp_path: Path) -> None:
    path = tmp_path / "u.parquet"
    columns = {
        "url": pa.array(["a", None]),
        "caption": pa.array([None, "b"]),
        "language_probability": pa.array([None, 0.5], pa.float64()),
        "similarity": pa.array([0.1, 0.2]),
    }
    pq.write_table(pa.table(columns), path)
    table = read_shard(open_source(path), 0)
    assert table.column("url").to_pylist() == ["a", ""]
    assert table.column("caption").to_pylist() == ["", "b"]
    assert table.column("language_probability").to_pylist() == [0.0, 0.5]
    assert table.column("license").to_pylist() == ["?", "?"]
    assert table.column("language_reliable").to_pylist() == [False, False]
    assert "similarity" not in table.column_names
    assert all(table.column(name).null_count == 0 for name in table.column_names)


def test_columns_by_name(tmp_path: Path) -> None:
    path = tmp_path / "u.parquet"
    pq.write_table(pa.table({"link": ["a"], "words": ["b"]}), path)
    with pytest.raises(UsageError, match=r"--url-column.*link, words"):
        open_source(path)
    with pytest.raises(UsageError, match="no column 'nope'"):
        open_source(path, url_column="nope")
    with pytest.raises(UsageError, match="no column 'nope'"):
        open_source(path, url_column="link", text_column="nope")
    assert read_shard(open_source(path, url_column="link"), 0).column("caption").to_pylist() == [""]
    source = open_source(path, url_column="link", text_column="words")
    assert read_shard(source, 0).column("caption").to_pylist() == ["b"]


def test_what_is_no_parquet(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.parquet: no such file"):
        open_source(tmp_path / "none.parquet")
    (tmp_path / "text").write_text("http://a/b.jpg\n")
    with pytest.raises(InputError, match="not a parquet file"):
        open_source(tmp_path / "text")
    with pytest.raises(UsageError, match="folder"):
        open_source(tmp_path)


@pytest.mark.parametrize("keys", [["a.b", "c"], ["a/b", "c"], ["a", "a"], ["", "a"], ["a b", "c"]])
def test_keys_that_no_tar_can_hold(tmp_path: Path, keys: list[str]) -> None:
    path = tmp_path / "k.parquet"
    pq.write_table(
        pa.table(
            {"key": keys}
            | {name: ["x", "y"] for name in ("url", "text", "language_class", "crawl")}
        ),
        path,
    )
    with pytest.raises(InputError, match="keys"):
        read_shard(open_source(path), 0)
