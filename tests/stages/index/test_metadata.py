from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from laion_hpc.errors import InputError
from laion_hpc.files import ledger
from laion_hpc.stages.index import metadata
from laion_hpc.stages.index.metadata import lay_out
from tests.stages.index.blocks import clustered, samples, write_block, write_tags


def read(path: Path) -> pa.ipc.RecordBatchFileReader:
    return pa.ipc.open_file(pa.memory_map(str(path)))


def test_one_row_per_vector_with_its_tags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "BATCH_ROWS", 64)
    table = samples(7, 250)
    folder = write_block(tmp_path / "0007", clustered(250, 8, 1), table, shard=100)
    tags = write_tags(tmp_path / "tag" / "0007.parquet", table)
    output = tmp_path / "0007.arrow"
    lay_out(folder, tags, output, block=7, digest="d")
    reader = read(output)
    assert [reader.get_batch(i).num_rows for i in range(reader.num_record_batches)] == [
        64,
        64,
        64,
        58,
    ]
    row = reader.get_batch(2).slice(5, 1).to_pylist()[0]
    assert row["key"] == "demo-0007-00000-00133"
    assert row["url"] == "https://h0.example/7/133.jpg"
    assert row["host"] == "h0.example"
    assert (row["width"], row["height"]) == (333, 300)
    assert row["nsfw"] == "UNLIKELY"  # the tag wins over the column of the shard
    assert row["punsafe"] == pytest.approx(133 / 249)
    assert row["language"] == "de"
    book = ledger.read(tmp_path / "0007.ledger.json")
    assert (book.inputs, book.kept, book.unit) == (250, 250, "samples")
    stamp = output.stat().st_mtime_ns
    lay_out(folder, tags, output, block=7, digest="d")
    assert output.stat().st_mtime_ns == stamp


def test_empty_block(tmp_path: Path) -> None:
    folder = write_block(tmp_path / "0001", clustered(0, 8, 1), samples(1, 0))
    tags = write_tags(tmp_path / "tags.parquet", samples(1, 0))
    lay_out(folder, tags, tmp_path / "0001.arrow", block=1, digest="")
    reader = read(tmp_path / "0001.arrow")
    assert reader.num_record_batches == 0
    assert {"key", "url", "host", "punsafe"} <= set(reader.schema.names)


def test_no_nulls_come_out(tmp_path: Path) -> None:
    table = samples(1, 3, caption=["a", None, "c"], original_width=[1, None, 3])
    folder = write_block(tmp_path / "0001", clustered(3, 8, 1), table)
    tags = write_tags(tmp_path / "tags.parquet", samples(1, 3), punsafe=[0.1, None, 0.3])  # type: ignore[list-item]
    lay_out(folder, tags, tmp_path / "0001.arrow", block=1, digest="")
    out = read(tmp_path / "0001.arrow").read_all()
    assert out["caption"].to_pylist() == ["a", "", "c"]
    assert out["width"].to_pylist() == [1, 0, 3]
    assert all(column.null_count == 0 for column in out.columns)


def test_keys_must_agree_row_by_row(tmp_path: Path) -> None:
    table = samples(1, 20)
    folder = write_block(tmp_path / "0001", clustered(20, 8, 1), table, shard=10)
    other = table.take(pa.array([*range(12), 13, 12, *range(14, 20)]))
    tags = write_tags(tmp_path / "tags.parquet", other)
    with pytest.raises(InputError, match=r"metadata_00001.parquet: row 2 is .*00012, but .*00013"):
        lay_out(folder, tags, tmp_path / "0001.arrow", block=1, digest="")
    tags = write_tags(tmp_path / "tags.parquet", table.slice(0, 19))
    with pytest.raises(InputError, match="19 rows, but"):
        lay_out(folder, tags, tmp_path / "0001.arrow", block=1, digest="")
    (tmp_path / "tags.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match="cannot be read"):
        lay_out(folder, tags, tmp_path / "0001.arrow", block=1, digest="")
    assert not (tmp_path / "0001.arrow").exists()


def test_columns_that_an_older_embed_did_not_write(tmp_path: Path) -> None:
    table = samples(1, 4)
    folder = write_block(tmp_path / "0001", clustered(4, 8, 1), table)
    path = folder / "metadata" / "metadata_00000.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["nsfw", "page_url"]), path)
    tags = write_tags(tmp_path / "tags.parquet", table)
    lay_out(folder, tags, tmp_path / "0001.arrow", block=1, digest="")
    names = read(tmp_path / "0001.arrow").schema.names
    assert "page_url" not in names
    assert "nsfw" in names
