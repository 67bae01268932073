import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laion_hpc.errors import InputError
from laion_hpc.files import ledger
from laion_hpc.files.ledger import File, Ledger

REASONS = st.sampled_from(["dns", "http_404", "timeout", "too_small"])
DROPS = st.dictionaries(REASONS, st.integers(0, 10**12))


@st.composite
def ledgers(draw: st.DrawFn) -> Ledger:
    kept, dropped = draw(st.integers(0, 10**12)), draw(DROPS)
    return Ledger(
        "download",
        "samples",
        kept + sum(dropped.values()),
        kept,
        dropped,
        counts={"number": draw(st.integers(0, 9)), "class": draw(st.dictionaries(REASONS, DROPS))},
    )


@given(ledgers(), st.integers(-3, 3))
def test_balanced_is_inputs_equal_kept_and_dropped(book: Ledger, off: int) -> None:
    assert replace(book, inputs=book.inputs + off).balanced == (off == 0)


@given(st.lists(ledgers(), min_size=1))
def test_a_total_is_the_sum_and_balances(books: list[Ledger]) -> None:
    whole = ledger.total(books)
    assert whole.balanced
    assert whole.inputs == sum(book.inputs for book in books)
    assert whole.kept == sum(book.kept for book in books)
    dropped: Counter[str] = Counter()
    for book in books:
        dropped.update(book.dropped)
    assert whole.dropped == dropped
    assert whole.counts["number"] == sum(book.counts["number"] for book in books)
    for outer in ("dns", "timeout"):
        for inner in ("dns", "timeout"):
            expected = sum(book.counts["class"].get(outer, {}).get(inner, 0) for book in books)
            assert whole.counts["class"].get(outer, {}).get(inner, 0) == expected


@given(st.lists(ledgers(), min_size=1), st.randoms())
def test_a_total_does_not_depend_on_the_order(books: list[Ledger], random: Any) -> None:
    shuffled = list(books)
    random.shuffle(shuffled)
    assert ledger.total(shuffled) == ledger.total(books)


def test_a_total_leaves_its_parts_alone_and_takes_changes() -> None:
    parts = [Ledger("tag", "samples", 1, 1, counts={"a": {"b": 1}, "list": ["x"]})] * 2
    whole = ledger.total(parts, source="s")
    assert whole.counts == {"a": {"b": 2}, "list": ["x", "x"]}
    assert whole.source == "s"
    assert parts[0].counts == {"a": {"b": 1}, "list": ["x"]}


def test_a_total_of_nothing_must_be_told_what_it_is() -> None:
    whole = ledger.total([], stage="tag", unit="samples")
    assert (whole.inputs, whole.kept, whole.balanced) == (0, 0, True)
    with pytest.raises(ValueError, match="needs `stage` and `unit`"):
        ledger.total([])


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    book = Ledger(
        "filter",
        "samples",
        10,
        7,
        {"dissimilar": 3},
        "digest",
        "source",
        {"class": {"en": 7}},
        (File("a.tar", 5, "ab", 7),),
        {"block": 3, "key": "IVF16,SQ8"},
    )
    path = tmp_path / "new" / "a.ledger.json"
    book.write(path)
    assert ledger.read(path) == book
    assert [p.name for p in path.parent.iterdir()] == ["a.ledger.json"]


def test_bytes_do_not_depend_on_the_order_of_reasons_nor_on_zeros(tmp_path: Path) -> None:
    one = Ledger("x", "samples", 3, 0, {"a": 1, "b": 2, "c": 0})
    two = Ledger("x", "samples", 3, 0, {"b": 2, "a": 1})
    one.write(tmp_path / "1")
    two.write(tmp_path / "2")
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


def test_an_unbalanced_ledger_is_never_written(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="3 in, 1 kept"):
        Ledger("x", "samples", 3, 1, {"a": 1}).write(tmp_path / "x")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "7", "{}", '{"files": []}', '{"files": [{"name": "a"}]}', '{"files": 3}'],
)
def test_what_is_no_ledger_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"bad\.json: not a ledger"):
        ledger.read(path)
    with pytest.raises(InputError, match=r"none\.json: no such ledger"):
        ledger.read(tmp_path / "none.json")


def test_where_a_ledger_lies(tmp_path: Path) -> None:
    assert ledger.path_of(tmp_path) == tmp_path / "manifest.json"
    segment = tmp_path / "1642320299852.23.parquet"
    assert ledger.path_of(segment).name == "1642320299852.23.ledger.json"


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    file = tmp_path / "a.tar"
    file.write_bytes(b"data")
    book = Ledger("x", "samples", 1, 1, config="c", source="s", files=(_entry(file),))
    book.write(tmp_path / "a.ledger.json")
    return tmp_path / "a.ledger.json"


def _entry(file: Path) -> File:
    return ledger.describe(file, rows=1)


def test_a_unit_is_finished_only_from_the_same_config_and_source(unit: Path) -> None:
    assert ledger.finished(unit, config="c", source="s") == ledger.read(unit)
    assert ledger.finished(unit, config="other", source="s") is None
    assert ledger.finished(unit, config="c", source="other") is None
    assert ledger.finished(unit.with_name("none"), config="c", source="s") is None


@pytest.mark.parametrize("data", [None, b"dat", b"data and more"])
def test_a_unit_whose_file_is_gone_or_cut_is_not_finished(unit: Path, data: bytes | None) -> None:
    file = unit.with_name("a.tar")
    file.unlink() if data is None else file.write_bytes(data)
    assert ledger.finished(unit, config="c", source="s") is None


def test_a_damaged_ledger_is_not_finished(unit: Path) -> None:
    unit.write_text("{")
    assert ledger.finished(unit, config="c", source="s") is None


def test_describe_gives_size_checksum_and_the_name_from_the_root(tmp_path: Path) -> None:
    file = tmp_path / "sub" / "a"
    file.parent.mkdir()
    file.write_bytes(b"")
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert ledger.describe(file, rows=3, root=tmp_path) == File("sub/a", 0, empty, 3)


def test_a_fingerprint_is_of_content_and_trusts_ledgers(unit: Path) -> None:
    file = unit.with_name("a.tar")
    first = ledger.fingerprint("x", file)
    assert len(first) == 16
    # Same size, other content: the ledger that vouches for the file is believed …
    file.write_bytes(b"DATA")
    assert ledger.fingerprint("x", file) == first
    # … until the size differs or the ledger is gone.
    unit.unlink()
    assert ledger.fingerprint("x", file) != first
    file.write_bytes(b"data")
    assert ledger.fingerprint("x", file) == first


@given(st.lists(st.text(), max_size=4), st.lists(st.text(), max_size=4))
def test_fingerprints_differ_where_the_parts_do(one: list[str], two: list[str]) -> None:
    if any("\0" in part for part in one + two):
        return
    same = ledger.fingerprint(*one) == ledger.fingerprint(*two)
    assert same == (one == two)


def test_a_manifest_vouches_for_the_files_of_its_folder(tmp_path: Path) -> None:
    file = tmp_path / "a.npy"
    file.write_bytes(b"data")
    book = Ledger("x", "samples", 0, 0, files=(replace(_entry(file), sha256="recorded"),))
    before = ledger.fingerprint(file)
    book.write(tmp_path / ledger.MANIFEST)
    assert ledger.fingerprint(file) != before
    assert json.loads((tmp_path / ledger.MANIFEST).read_text())["files"][0]["name"] == "a.npy"
