"""Row groups written by several are those that one writes, to the byte."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from laion_hpc.stages.extract import parquet_merge

SCHEMA = pa.schema(
    [("url", pa.string()), ("same", pa.string()), ("p", pa.float32()), ("ok", pa.bool_()),
     ("offset", pa.int64()), ("more", pa.list_(pa.int16()))],
    metadata={"what": "a test"},
)  # fmt: skip


def group(rows: int, seed: int) -> pa.Table:
    draw = random.Random(seed)
    made: list[dict[str, Any]] = [
        {
            "url": f"http://e.org/{draw.random()}",
            "same": draw.choice(["a", "é", None]),
            "p": draw.random(),
            "ok": draw.random() < 0.5,
            "offset": draw.randrange(-(1 << 62), 1 << 62),
            "more": [1] * draw.randrange(3),
        }
        for _ in range(rows)
    ]
    return pa.Table.from_pylist(made, SCHEMA)


def write(path: Path, groups: Sequence[pa.Table], **options: Any) -> Path:
    with pq.ParquetWriter(
        str(path), groups[0].schema, compression="zstd", use_dictionary=["same"], **options
    ) as writer:
        for one in groups:
            writer.write_table(one, row_group_size=max(len(one), 1))
    return path


@pytest.mark.parametrize("cuts", [[0, 20], [0, 1, 20], [0, 7, 7 + 3, 20], list(range(21))])
def test_the_bytes_of_one_writer(tmp_path: Path, cuts: list[int]) -> None:
    groups = [group(0 if n % 4 == 1 else 10 + 90 * n, n) for n in range(20)]
    whole = write(tmp_path / "whole", groups)
    parts = [write(tmp_path / str(begin), groups[begin:end]) for begin, end in pairwise(cuts)]
    parquet_merge.join(parts, tmp_path / "joined")
    assert (tmp_path / "joined").read_bytes() == whole.read_bytes()
    assert pq.read_table(tmp_path / "joined").equals(pa.concat_tables(groups))


def test_what_cannot_be_joined_is_refused(tmp_path: Path) -> None:
    one = write(tmp_path / "one", [group(9, 1)])
    other = write(tmp_path / "other", [group(9, 1).drop_columns("ok")])
    with pytest.raises(ValueError, match="not of the columns"):
        parquet_merge.join([one, other], tmp_path / "joined")
    indexed = write(tmp_path / "indexed", [group(9, 1)], write_page_index=True)
    with pytest.raises(ValueError, match="page indexes"):
        parquet_merge.join([one, indexed], tmp_path / "joined")
    (tmp_path / "text").write_bytes(b"no parquet at all")
    with pytest.raises(ValueError, match="not a Parquet file"):
        parquet_merge.join([tmp_path / "text"], tmp_path / "joined")
