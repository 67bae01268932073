import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from laion_hpc.config import digest, parse
from laion_hpc.errors import InputError, UsageError
from laion_hpc.files import ledger
from laion_hpc.stages.release import subsets
from laion_hpc.stages.release.block import TableBlock, make_block
from tests.stages.release.blocks import TAGS_SCHEMA, samples, write_block

Rows = list[dict[str, Any]]


def block_of(root: Path, *, number: int = 7, threads: int = 1, **keys: Any) -> TableBlock:
    config = parse({"release": {"rows_per_part": 30, **keys}})
    return TableBlock(
        number=number,
        release=root / "release",
        ledger=root / "release" / "blocks" / f"{number:04d}.ledger.json",
        config=config.release,
        digest=digest(config, "release"),
        threads=threads,
    )


def everything(release: Path) -> dict[str, bytes]:
    return {
        path.relative_to(release).as_posix(): path.read_bytes()
        for path in sorted(release.rglob("*"))
        if path.is_file()
    }


def rows_in(release: Path, folder: str) -> Rows:
    return [
        row
        for path in sorted((release / folder).glob("*.parquet"))
        for row in pq.read_table(path).to_pylist()
    ]


@pytest.fixture
def rows() -> Rows:
    return samples(150, duplicates=4)


def test_every_sample_lands_in_its_split_once_and_in_order(tmp_path: Path, rows: Rows) -> None:
    block = block_of(tmp_path)
    book = make_block(*write_block(tmp_path, rows), block)
    assert (book.inputs, book.kept, book.dropped) == (150, 146, {"duplicate_hash": 4})
    for name in ("en", "multi", "nolang"):
        expected = [row["url"] for row in rows[:146] if row["language_class"] == name]
        base, joined = (rows_in(block.release, f"laion-{name}{kind}") for kind in ("", "-joined"))
        assert [row["URL"] for row in base] == expected
        assert [row["URL"] for row in joined] == expected
        assert book.counts["class"][name] == len(expected)
        for short, long in zip(base, joined, strict=True):
            assert short == {column: long[column] for column in short}
    sizes = [pq.read_metadata(p).num_rows for p in sorted((block.release / "laion-en").iterdir())]
    assert len(sizes) > 1
    assert max(sizes) - min(sizes) <= 1


def test_subsets_are_what_their_predicates_say(tmp_path: Path, rows: Rows) -> None:
    where = "LANGUAGE IN ('de', '') AND punsafe < 0.5 -- both"
    block = block_of(tmp_path, subsets=[{"name": "mine", "where": where}])
    book = make_block(*write_block(tmp_path, rows), block)
    order = ["en", "multi", "nolang"]
    expected = sorted(
        (r for r in rows[:146] if r["language"] in ("de", "") and r["punsafe"] < 0.5),
        key=lambda r: order.index(r["language_class"]),
    )
    found = rows_in(block.release, "subsets/mine")
    assert [row["key"] for row in found] == [row["key"] for row in expected]
    assert book.counts["subset"] == {"mine": len(expected)}
    assert {row["LANGUAGE"] for row in found} == {"de", ""}
    schema = pq.read_schema(next((block.release / "subsets/mine").iterdir()))
    assert schema.field("punsafe").metadata[b"description"]


def test_the_ledger_vouches_for_every_file(tmp_path: Path, rows: Rows) -> None:
    block = block_of(tmp_path)
    make_block(*write_block(tmp_path, rows), block)
    book = ledger.read(block.ledger)
    listed = {(block.ledger.parent / entry.name).resolve(): entry for entry in book.files}
    assert set(listed) == {path.resolve() for path in block.release.rglob("*.parquet")}
    for path, entry in listed.items():
        assert ledger.describe(path, rows=pq.read_metadata(path).num_rows) == replace(
            entry, name=path.name
        )


def test_same_bytes_whatever_the_threads_and_nothing_written_twice(
    tmp_path: Path, rows: Rows
) -> None:
    inputs = write_block(tmp_path, rows)
    block = block_of(tmp_path)
    first = make_block(*inputs, block)
    before = everything(block.release)
    times = {p: p.stat().st_mtime_ns for p in block.release.rglob("*")}
    assert make_block(*inputs, block) == first
    assert times == {p: p.stat().st_mtime_ns for p in block.release.rglob("*")}
    shutil.rmtree(block.release)
    make_block(*inputs, replace(block, threads=3))
    assert everything(block.release) == before


def test_a_rebuilt_block_removes_its_own_stale_parts_only(tmp_path: Path, rows: Rows) -> None:
    other = block_of(tmp_path, number=8)
    make_block(*write_block(tmp_path, samples(80, 8), 8), other)
    make_block(*write_block(tmp_path, rows), block_of(tmp_path))
    fewer = block_of(tmp_path, subsets=[], rows_per_part=1000)
    make_block(*write_block(tmp_path, rows[:60]), fewer)
    left = {path.relative_to(fewer.release).as_posix() for path in fewer.release.rglob("*.parquet")}
    assert {name for name in left if "/part-0007-" in name} == {
        f"laion-{name}{kind}/part-0007-000.parquet"
        for name in ("en", "multi", "nolang")
        for kind in ("", "-joined")
    }
    assert any("part-0008-" in name for name in left)


def test_a_block_without_samples_has_a_ledger_and_no_file(tmp_path: Path) -> None:
    block = block_of(tmp_path)
    book = make_block(*write_block(tmp_path, []), block)
    assert (book.inputs, book.kept) == (0, 0)
    assert [entry.name for entry in book.files] == ["0007.counts.parquet", "0007.hosts.parquet"]
    assert not [path for path in block.release.rglob("*.parquet") if path.parent.name != "blocks"]


def test_duckdb_reads_width_as_laion_means_it(tmp_path: Path, rows: Rows) -> None:
    block = block_of(tmp_path)
    make_block(*write_block(tmp_path, rows), block)
    files = f"{block.release}/laion-*-joined/*.parquet"
    found = duckdb.sql(f"SELECT sum(width) FROM read_parquet('{files}', union_by_name=true)")
    assert found.fetchall() == [(sum(row["original_width"] for row in rows[:146]),)]


def test_tags_of_other_samples_are_refused(tmp_path: Path, rows: Rows) -> None:
    embed, tags = write_block(tmp_path, rows)
    swapped = [rows[1], rows[0], *rows[2:]]
    pq.write_table(pa.Table.from_pylist(swapped, schema=TAGS_SCHEMA), tags)
    with pytest.raises(InputError, match=r"0007\.parquet.*keys are not those"):
        make_block(embed, tags, block_of(tmp_path))
    pq.write_table(pa.Table.from_pylist(rows[:-1], schema=TAGS_SCHEMA), tags)
    with pytest.raises(InputError, match="149 tags for 150 embeddings"):
        make_block(embed, tags, block_of(tmp_path))
    assert not list((tmp_path / "release").rglob("*.part"))


def test_missing_inputs_are_named(tmp_path: Path, rows: Rows) -> None:
    embed, tags = write_block(tmp_path, rows)
    with pytest.raises(InputError, match="nowhere/metadata"):
        make_block(tmp_path / "nowhere", tags, block_of(tmp_path))
    with pytest.raises(InputError, match="no\\.parquet"):
        make_block(embed, tmp_path / "no.parquet", block_of(tmp_path))
    (embed / "metadata" / "metadata_00001.parquet").unlink()
    with pytest.raises(InputError, match=r"metadata_00001.*run `embed` again"):
        make_block(embed, tags, block_of(tmp_path))


def test_embeddings_without_a_manifest_will_do(tmp_path: Path, rows: Rows) -> None:
    embed, tags = write_block(tmp_path, rows)
    (embed / "manifest.json").unlink()
    (tmp_path / "tag" / "0007.ledger.json").unlink()
    assert make_block(embed, tags, block_of(tmp_path)).kept == 146


@pytest.mark.parametrize(
    ("where", "complaint"),
    [("nonsense > 1", "nonsense"), ("WIDTH >", "WIDTH"), ("WIDTH + 1", "not a condition")],
)
def test_a_bad_predicate_is_found_before_anything_is_written(
    tmp_path: Path, rows: Rows, where: str, complaint: str
) -> None:
    block = block_of(tmp_path, subsets=[{"name": "bad", "where": where}])
    with pytest.raises(UsageError, match=rf"release\.subsets\[0\] \(bad\).*{complaint}"):
        make_block(*write_block(tmp_path, rows), block)
    assert not block.release.exists()


def test_subsets_are_the_same_however_many_are_written_at_once(
    tmp_path: Path, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = write_block(tmp_path, rows)
    whole = block_of(tmp_path)
    made = make_block(*inputs, whole)
    before = everything(whole.release)
    shutil.rmtree(whole.release)
    monkeypatch.setattr(subsets, "AT_ONCE", 2)
    monkeypatch.setattr(subsets, "PORTION", 7)
    assert make_block(*inputs, whole) == made
    assert everything(whole.release) == before
