"""Real WATs, whole and damaged: what is counted is what is there."""

from __future__ import annotations

import gzip
import json
import random
import zlib
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from laion_hpc.files import ledger
from laion_hpc.stages.extract import batch, fast
from laion_hpc.stages.extract.records import Damage, Record, read_records
from tests.stages.extract.stage import contents, extract


def independent_count(path: Path) -> Counter[str]:
    """Plain gzip and json: what the ledger must agree with."""
    data = path.read_bytes()
    data = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    found: Counter[str] = Counter()
    for line in data.split(b"\n"):
        if line.startswith(b"WARC/1.0"):
            found["records"] += 1
        if not line.startswith(b"{"):
            continue
        envelope = json.loads(line.decode("utf-8", "replace"), strict=False)["Envelope"]
        response = envelope["Payload-Metadata"].get("HTTP-Response-Metadata", {})
        links = response.get("HTML-Metadata", {}).get("Links", [])
        images = [link for link in links if link.get("path") == "IMG@/src"]
        found["pages"] += bool(images)
        found["images"] += len(images)
        found["without text"] += sum(not link.get("alt", "").split() for link in images)
        found["data"] += sum(
            link.get("url", "").startswith("data:") and len(link.get("alt", "").split()) > 0
            for link in images
        )
    return found


REAL = [
    "CC-MAIN-2014-35-9-records.warc.wat",
    "CC-MAIN-2015-06-first-908-records.warc.wat.gz",
    "CC-MAIN-2024-22-request-only.warc.wat.gz",
    "current-format-1754-pages.warc.wat.gz",
    "hand-edited-2023-1.warc.wat.gz",
    "hand-edited-2023-2.warc.wat.gz",
]


@pytest.mark.parametrize("name", REAL)
def test_real_wats_against_an_independent_count(testdata: Path, tmp_path: Path, name: str) -> None:
    assert extract([testdata / "wat" / name], tmp_path / "s.parquet") == 0
    books = ledger.read(tmp_path / "s.ledger.json")
    expected = independent_count(testdata / "wat" / name)
    assert books.balanced and books.kept == pq.read_metadata(tmp_path / "s.parquet").num_rows
    assert books.inputs == expected["images"]
    assert books.counts["pages"] == expected["pages"]
    assert books.counts["records_read"] == expected["records"]
    assert books.counts["records_damaged"] == 0
    assert books.counts["records_repaired"] == int(name.startswith("hand-edited"))
    # Few texts are nothing but control characters; the count knows only whitespace.
    assert 0 <= books.dropped.get("no_text", 0) - expected["without text"] <= 5
    assert (
        0
        <= expected["data"] - books.dropped.get("data_url", 0)
        <= books.dropped.get("text_too_short", 0)
    )


def test_every_real_wat_has_been_counted(testdata: Path) -> None:
    assert sorted(path.name for path in (testdata / "wat").iterdir()) == sorted(REAL)


def members_of_a_stretch(path: Path, begin: int, size: int = 500_000) -> list[bytes]:
    """The gzip members of a real WAT from about there, each inflated to know where it ends."""
    rest = path.read_bytes()[begin : begin + size]
    members: list[bytes] = []
    while True:
        inflate = zlib.decompressobj(31)
        try:
            inflate.decompress(rest)
        except zlib.error:  # not at the beginning of a member yet
            rest = rest[rest.index(b"\x1f\x8b\x08", 1) :]
            continue
        if not inflate.eof:
            return members
        members.append(rest[: len(rest) - len(inflate.unused_data)])
        rest = inflate.unused_data


@pytest.mark.parametrize("seed", range(12))
def test_a_damaged_real_wat_loses_only_what_is_damaged(
    testdata: Path, tmp_path: Path, seed: int
) -> None:
    draw = random.Random(seed)
    members = members_of_a_stretch(testdata / "wat" / REAL[3], draw.randrange(12_000_000))
    whole = b"".join(members)
    starts = [sum(map(len, members[:n])) for n in range(len(members) + 1)]
    bounds = list(pairwise(starts))
    data = bytearray(whole)
    touched: set[int] = set()
    for _ in range(draw.choice([1, 3, 30])):
        place = draw.randrange(3, len(data))
        data[place] ^= 1 << draw.randrange(8)
        touched.add(place)
    end = draw.randrange(len(data) // 2, len(data)) if seed % 2 else len(data)
    wat = tmp_path / "w.warc.wat.gz"
    wat.write_bytes(data[:end])
    intact = [
        (begin, stop)
        for begin, stop in bounds
        if stop <= end and not any(begin <= place < stop for place in touched)
    ]
    assert 0 < len(intact) < len(bounds)

    assert extract([wat], tmp_path / "s.parquet") == 0
    books = ledger.read(tmp_path / "s.ledger.json")
    assert books.balanced
    counts = books.counts
    # What was read and what is reported cover the file, to the byte.
    items = list(read_records(wat))
    lost = [item for item in items if isinstance(item, Damage)]
    read = {item.offset for item in items if isinstance(item, Record)}
    assert {begin for begin, _ in intact} <= read
    sizes = dict(bounds)
    assert sum(sizes[begin] - begin for begin in read) + counts["bytes_damaged"] == end
    assert counts["bytes_damaged"] == sum(item.size for item in lost)
    # Inflated members whose JSON is broken would count as damaged, too; a flipped bit breaks both.
    assert (counts["records_read"], counts["records_damaged"]) == (len(read), len(lost))
    assert counts["records_read"] >= len(intact)
    assert len(counts["damage"]) == min(len(lost), 100)
    # The rows of intact records are those of the whole file.
    if seed < 2:
        reference = tmp_path / "whole.parquet"
        path = tmp_path / "whole" / "w.warc.wat.gz"
        path.parent.mkdir()
        path.write_bytes(whole)
        assert extract([path], reference) == 0
        keys = ("url", "text", "record_offset", "link_position")
        rows, all_rows = (
            {tuple(row[key] for key in keys) for row in pq.read_table(file).to_pylist()}
            for file in (tmp_path / "s.parquet", reference)
        )
        kept = {begin for begin, _ in intact}
        assert {row for row in all_rows if row[2] in kept} <= rows


@pytest.mark.parametrize("name", [REAL[1], REAL[4]])
def test_compiled_code_changes_no_byte(
    testdata: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wat = testdata / "wat" / name
    assert extract([wat], tmp_path / "s.parquet") == 0
    monkeypatch.setattr(fast, "read", batch.read)
    assert extract([wat], tmp_path / "careful" / "s.parquet") == 0
    assert contents(tmp_path / "s.parquet") == contents(tmp_path / "careful" / "s.parquet")
