"""Reading WATs: whole ones record by record, damaged ones without losing more than is damaged."""

from __future__ import annotations

import gzip
import random
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laion_hpc.stages.extract import records
from laion_hpc.stages.extract.fast import window_loops, windows
from laion_hpc.stages.extract.fast.windows import Window, read_windows
from laion_hpc.stages.extract.records import Damage, NotAWatError, Record, read_records
from tests.stages.extract.wats import page, payload, record, some_pages, write_wat


def read(path: Path) -> tuple[list[Record], list[Damage]]:
    """What is read one by one, which is also what windows hold."""
    items = list(read_records(path))
    assert [item for window in read_windows(path) for item in taken_apart(window)] == items
    return (
        [item for item in items if isinstance(item, Record)],
        [item for item in items if isinstance(item, Damage)],
    )


def taken_apart(item: Window | Record | Damage) -> Iterator[Record | Damage]:
    if not isinstance(item, Window):
        yield item
        return
    ends = [*item.spans[1:, 0].tolist(), int(item.spans[-1, 2]) + 4]
    for offset, (start, begin, end), after, flags in zip(
        item.offset.tolist(), item.spans.tolist(), ends, item.flags.tolist(), strict=True
    ):
        data = item.data[start:after].tobytes()
        payload = item.data[begin:end].tobytes()
        assert bool(flags & window_loops.IMAGE) == (b"IMG@/src" in data)
        if flags & window_loops.IMAGE:
            assert bool(flags & window_loops.LICENSE) == (b"creativecommons.org" in payload)
        else:
            assert bool(flags & window_loops.CUT) == (payload[:1] == b"{" and payload[-1:] != b"}")
        yield Record(offset, data, begin - start, end - start)


def body(item: Record) -> bytes:
    return item.data[item.begin : item.end]


def members_of(number: int) -> list[bytes]:
    return [record(payload(page(f"http://e.org/{n}", [{"n": n}]))) for n in range(number)]


@pytest.mark.parametrize("form", ["members", "plain", "one member"])
def test_records_and_offsets(tmp_path: Path, form: str) -> None:
    bodies = [payload(page(f"http://e.org/{n}")) for n in range(20)]
    pieces = [record(one, gzipped=form == "members") for one in bodies]
    data = b"".join(pieces)
    path = tmp_path / "x.wat"
    path.write_bytes(gzip.compress(data) if form == "one member" else data)
    good, bad = read(path)
    assert [body(item) for item in good] == bodies
    assert not bad and not any(item.fault for item in good)
    starts = [sum(map(len, pieces[:n])) for n in range(20)]
    assert [item.offset for item in good] == ([0] * 20 if form == "one member" else starts)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html>403</html>", "HTML"),
        (b"  \n<?xml version='1.0'?><Error/>", "HTML or XML"),
        (b"PK\x03\x04 something", "neither gzip nor WARC"),
    ],
)
def test_what_is_no_wat_is_named(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "x.warc.wat.gz"
    path.write_bytes(content)
    with pytest.raises(NotAWatError, match=says):
        list(read_records(path))


def test_gzip_of_nothing_has_no_records_and_no_damage(tmp_path: Path) -> None:
    path = tmp_path / "x.warc.wat.gz"
    path.write_bytes(gzip.compress(b""))
    assert read(path) == ([], [])


@settings(max_examples=60, deadline=None)
@given(which=st.integers(0, 11), place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_costs_at_most_its_own_record(
    tmp_path_factory: pytest.TempPathFactory, which: int, place: float, bit: int
) -> None:
    pieces = members_of(12)
    whole = [gzip.decompress(piece) for piece in pieces]
    broken = bytearray(pieces[which])
    broken[int(place * len(broken))] ^= 1 << bit
    offset = sum(map(len, pieces[:which]))
    path = tmp_path_factory.mktemp("flip") / "x.warc.wat.gz"
    path.write_bytes(b"".join([*pieces[:which], bytes(broken), *pieces[which + 1 :]]))
    good, bad = read(path) if which or int(place * len(broken)) > 1 else ([], [])
    if not good:  # the very first two bytes: no longer gzip at all, which is said
        with pytest.raises(NotAWatError):
            read(path)
        return
    assert len(good) + len(bad) == 12
    assert [item.data for item in good if item.offset != offset] == [
        one for n, one in enumerate(whole) if n != which
    ]
    if bad:
        assert (bad[0].offset, bad[0].size) == (offset, len(broken))
    else:  # a byte that means nothing (time stamp, operating system)
        assert good[which].data == whole[which]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_damage_is_reported_and_bytes_are_accounted_for(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    pieces = members_of(10)
    starts = {sum(map(len, pieces[:n])): len(pieces[n]) for n in range(10)}
    content = bytearray(b"".join(pieces))
    intact = set(starts)
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(2, len(content) - 1))
        content[place] ^= data.draw(st.integers(1, 255))
        intact -= {start for start, size in starts.items() if start <= place < start + size}
    cut = data.draw(st.integers(3, len(content)))
    path = tmp_path_factory.mktemp("damage") / "x.warc.wat.gz"
    path.write_bytes(bytes(content[:cut]))
    good, bad = read(path)
    offsets = {item.offset for item in good}
    assert {start for start in intact if start + starts[start] <= cut} <= offsets
    # Every byte is in a record that was read or in a stretch that is reported.
    covered = sum(item.size for item in bad) + sum(starts[start] for start in offsets)
    assert covered == cut


def test_truncation_at_every_byte_of_the_last_record_is_reported(tmp_path: Path) -> None:
    pieces = members_of(3)
    data, start = b"".join(pieces), len(pieces[0]) + len(pieces[1])
    path = tmp_path / "x.warc.wat.gz"
    for end in range(start + 1, len(data)):
        path.write_bytes(data[:end])
        good, bad = read(path)
        assert len(good) == 2
        assert bad == [Damage(start, end - start, "cut short")]


def test_garbage_between_members_is_one_damage(tmp_path: Path) -> None:
    pieces = members_of(4)
    noise = random.Random(1).randbytes(3000)
    path = tmp_path / "x.warc.wat.gz"
    path.write_bytes(pieces[0] + pieces[1] + noise + pieces[2] + pieces[3])
    good, bad = read(path)
    assert len(good) == 4
    assert [(item.offset, item.size) for item in bad] == [(len(pieces[0] + pieces[1]), 3000)]


@pytest.mark.parametrize("stated", [0, 7, 10**6])
@pytest.mark.parametrize("gzipped", [True, False])
def test_wrong_content_length_is_a_fault_but_the_payload_is_whole(
    tmp_path: Path, stated: int, gzipped: bool
) -> None:
    one = payload(page())
    plain = record(one, gzipped=False)
    lying = plain.replace(b"Content-Length: %d" % len(one), b"Content-Length: %d" % stated)
    assert lying != plain
    pieces = [plain, lying, plain]
    path = tmp_path / "x.wat"
    path.write_bytes(b"".join(gzip.compress(p) if gzipped else p for p in pieces))
    good, bad = read(path)
    assert [body(item) for item in good] == [one] * 3
    assert [item.fault for item in good] == ["", "wrong Content-Length", ""]
    assert not bad


def test_line_feeds_only(tmp_path: Path) -> None:
    one = payload(page())
    path = tmp_path / "x.warc.wat.gz"
    header = b"WARC/1.0\nWARC-Type: metadata\nContent-Length: %d\n\n" % len(one)
    path.write_bytes(gzip.compress(header + one + b"\n\n") * 2)
    good, bad = read(path)
    assert [body(item) for item in good] == [one, one]
    assert not bad and not good[0].fault


def test_records_beyond_the_limit_are_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "MAX_RECORD_BYTES", 20_000)
    small, large = payload(page()), payload(page(links=[{"x": "y" * 50_000}]))
    for gzipped in (True, False):
        path = tmp_path / f"{gzipped}.wat"
        path.write_bytes(b"".join(record(p, gzipped=gzipped) for p in (small, large, small)))
        good, bad = read(path)
        assert [body(item) for item in good] == [small, small]
        assert [item.reason for item in bad] == ["record too large"]
    # A member that is longer than a record may be, but for its many records.
    path = tmp_path / "one.wat.gz"
    path.write_bytes(gzip.compress(b"".join(record(small, gzipped=False) for _ in range(99))))
    good, bad = read(path)
    assert [body(item) for item in good] == [small] * 99
    assert not bad


def test_an_endless_member_stops_at_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "MAX_RECORD_BYTES", 20_000)
    monkeypatch.setattr(records, "MAX_MEMBER_BYTES", 3_000_000)
    small = record(payload(page()), gzipped=False)
    path = tmp_path / "bomb.wat.gz"
    path.write_bytes(gzip.compress(small * (8_000_000 // len(small))) + gzip.compress(small))
    good, bad = read(path)
    assert body(good[-1]) == body(good[0])
    assert [item.reason for item in bad if item.size] == ["gzip member too large"]


def test_all_forms_of_one_wat_hold_the_same(tmp_path: Path) -> None:
    pages = some_pages(5)
    packed = write_wat(tmp_path / "a.wat.gz", pages)
    plain = write_wat(tmp_path / "a.wat", pages, gzipped=False)
    bodies = [body(item) for item in read(packed)[0]]
    assert len(bodies) == 11
    assert [body(item) for item in read(plain)[0]] == bodies


def window_sizes(path: Path) -> list[int]:
    """Records in each window; 0 for what is read the careful way."""
    return [len(one.flags) if isinstance(one, Window) else 0 for one in read_windows(path)]


def test_undamaged_members_are_read_in_windows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces = members_of(40)
    path = tmp_path / "x.warc.wat.gz"
    path.write_bytes(b"".join(pieces))
    assert window_sizes(path) == [40]
    size = len(gzip.decompress(pieces[0]))
    monkeypatch.setattr(windows, "WINDOW_BYTES", 10 * size + 5)
    assert max(window_sizes(path)) == 10 and sum(window_sizes(path)) == 40
    assert len(read(path)[0]) == 40
    # Damage costs its own window only; what is larger than one is read by itself.
    monkeypatch.setattr(windows, "WINDOW_BYTES", 5 * size)
    large = record(payload(page(links=[{"x": "y" * 6 * size}])))
    path.write_bytes(b"".join([*pieces[:20], large, pieces[20][:-9], *pieces[21:]]))
    good, bad = read(path)
    assert (len(good), len(bad)) == (40, 1)
    assert sum(window_sizes(path)) >= 25


def test_what_looks_like_a_member_is_not_taken_for_one(tmp_path: Path) -> None:
    """Stored, not compressed, gzip's magic number stands in the middle of members."""
    inside = b"\x1f\x8b\x08" + bytes(7)
    pieces = []
    for n in range(30):
        plain = record(payload(page(f"http://e.org/{n}")) + inside * (n % 3), gzipped=False)
        packer = zlib.compressobj(0, zlib.DEFLATED, 31)
        pieces.append(packer.compress(plain) + packer.flush())
    path = tmp_path / "x.warc.wat.gz"
    path.write_bytes(b"".join(pieces))
    good, bad = read(path)
    assert [item.offset for item in good] == [sum(map(len, pieces[:n])) for n in range(30)]
    assert not bad


def test_marks_at_every_place(tmp_path: Path) -> None:
    """Compiled code compares blocks: what straddles two of them is found as well."""
    for mark in (b"IMG@/src", b"IMG@/sr", b"creativecommons.org", b"IMG@/src creativecommons.org"):
        bodies = [b"{" + b"M" * n + mark + b"G@c" * (n % 50) + b"}" * (n % 2) for n in range(300)]
        path = tmp_path / "x.warc.wat.gz"
        path.write_bytes(b"".join(map(record, bodies)))
        good, bad = read(path)
        assert [body(item) for item in good] == bodies and not bad
