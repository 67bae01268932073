from __future__ import annotations

import hashlib
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from laion_hpc.cli import main
from laion_hpc.files import ledger
from laion_hpc.files.schemas import CANDIDATE, KEYED_CANDIDATE
from laion_hpc.stages.shuffle import survey as surveying
from laion_hpc.stages.shuffle import write
from tests.stages.shuffle.rows import many, row, write_part


def shuffle(output: Path, *parts: Path, **more: object) -> int:
    arguments = ["shuffle", *map(str, parts), "--output", str(output)]
    more = {"block": 0, **more}
    if "config" in more:
        path = output.with_suffix(".yaml")
        path.write_text(str(more["config"]))
        more["config"] = path
    for name, value in more.items():
        arguments += [f"--{name.replace('_', '-')}", str(value)]
    return main(arguments)


def books(output: Path) -> ledger.Ledger:
    found = ledger.read(ledger.path_of(output))
    assert found.balanced
    return found


def rows_of(output: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(output).to_pylist()
    return found


def test_shards_keys_and_ledger(tmp_path: Path) -> None:
    parts = [
        write_part(tmp_path / "1", [row("http://other.org/x")], many([40, 10, 3])),
        write_part(tmp_path / "2", [], many([5, 5], start=35, segment="1.2", wat="w-1")),
    ]
    output = tmp_path / "0001.parquet"
    assert shuffle(output, *parts, block=1, config="dataset: {samples_per_shard: 20}") == 0
    file = pq.ParquetFile(output)
    assert file.schema_arrow.equals(KEYED_CANDIDATE)
    assert [file.metadata.row_group(s).num_rows for s in range(file.num_row_groups)] == [20, 20, 18]
    rows = rows_of(output)
    assert [r["key"] for r in rows] == [f"C-1-0001-{n // 20:05d}-{n % 20:05d}" for n in range(58)]
    given = many([40, 10, 3]) + many([5, 5], start=35, segment="1.2", wat="w-1")
    assert {r["url"] for r in rows} == {r["url"] for r in given}
    exact = pa.Table.from_pylist(given, CANDIDATE).to_pylist()  # probabilities as float32
    assert all({name: r[name] for name in CANDIDATE.names} in exact for r in rows)
    found = books(output)
    assert (found.stage, found.unit, found.inputs, found.kept) == ("shuffle", "links", 63, 58)
    assert dict(found.dropped) == {"duplicate": 5}
    assert found.counts == {"shards": 3, "hosts": 3, "kept_by_class": {"en": 58}}
    assert found.files == (ledger.describe(output, rows=58),)


def test_the_longest_text_wins_then_the_earliest(tmp_path: Path) -> None:
    url = "http://a.org/x.jpg"
    rivals = [
        row(url, "short one", segment="0.1", record_offset=1),
        row(url, "the longest x", segment="1.1", wat="b", record_offset=1),
        row(url, "the longest y", segment="1.1", wat="a", record_offset=9, link_position=1),
        row(url, "the longest z", segment="1.1", wat="a", record_offset=9, link_position=2),
        row(url, "the longest q", segment="1.1", wat="a", record_offset=10, link_position=0),
        row(url, "the longest p", segment="10.1", wat="0", record_offset=0),
    ]
    for seed in range(4):
        random.Random(seed).shuffle(rivals)
        parts = [write_part(tmp_path / "1", rivals[:3]), write_part(tmp_path / "2", rivals[3:])]
        output = tmp_path / f"{seed}.parquet"
        assert shuffle(output, *parts) == 0
        assert [r["text"] for r in rows_of(output)] == ["the longest y"]


@pytest.mark.parametrize(("by", "kept"), [("url", 2), ("url+text", 4), ("url+language", 3)])
def test_what_is_a_duplicate_is_configured(tmp_path: Path, by: str, kept: int) -> None:
    one, two = "http://a.org/1", "http://a.org/2"
    rows = [row(one, "abc"), row(one, "abcd"), row(one, "abc", language="de"), row(two, "x"),
            row(one, "abcde"), row(two, "x")]  # fmt: skip
    part, output = write_part(tmp_path / "p", rows), tmp_path / "o.parquet"
    assert shuffle(output, part, config=f"shuffle: {{deduplicate_by: {by}}}") == 0
    assert books(output).kept == kept


def test_the_same_rows_in_other_files_give_the_same_order(tmp_path: Path) -> None:
    rows = many([30, 9, 9, 1, 1, 1, 1])
    one, two = tmp_path / "one.parquet", tmp_path / "two.parquet"
    assert shuffle(one, write_part(tmp_path / "a", rows)) == 0
    random.Random(5).shuffle(rows)
    assert (
        shuffle(two, write_part(tmp_path / "b", rows[:9]), write_part(tmp_path / "c", rows[9:]))
        == 0
    )
    assert one.read_bytes() == two.read_bytes()
    other = tmp_path / "other.parquet"
    assert shuffle(other, tmp_path / "a", config="dataset: {seed: 1}") == 0
    assert [r["url"] for r in rows_of(other)] != [r["url"] for r in rows_of(one)]


def test_a_block_dealt_out_over_buckets_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = many([300, 120, 50, 20, 9, 1, 1, 1])
    part, config = write_part(tmp_path / "p", rows), "dataset: {samples_per_shard: 16}"
    whole, dealt = tmp_path / "whole.parquet", tmp_path / "dealt.parquet"
    assert shuffle(whole, part, config=config) == 0
    monkeypatch.setattr(write, "BUCKET_ROWS", 50)
    monkeypatch.setattr(surveying, "BATCH_ROWS", 33)
    stale = tmp_path / "..dealt.parquet.nobody.0.0123abcd.part.xyz.spill"
    stale.mkdir()
    assert shuffle(dealt, part, config=config) == 0
    assert dealt.read_bytes() == whole.read_bytes()
    assert not list(tmp_path.glob(".*"))


def test_a_second_crawl_skips_what_the_first_one_took(tmp_path: Path) -> None:
    first = write_part(tmp_path / "1", many([200, 50]))
    second = write_part(tmp_path / "2", many([300, 50, 7], crawl="C-2") * 2)
    third = write_part(tmp_path / "3", many([301, 50, 8], crawl="C-3"))
    a, b, c = (tmp_path / f"{name}.parquet" for name in "abc")
    assert shuffle(a, first, seen_after=tmp_path / "a.seen") == 0
    assert [f.name for f in books(a).files] == ["a.parquet", "a.seen"]
    before = {"seen_before": tmp_path / "a.seen", "seen_after": tmp_path / "b.seen"}
    assert shuffle(b, second, crawl="C-2", **before) == 0
    found = books(b)
    # 1 in 10,000 may be taken for one that was seen; with this seedless hash none is.
    assert dict(found.dropped) == {"seen_earlier": 2 * 250, "duplicate": 107}
    assert {r["url"] for r in rows_of(b)} == {r["url"] for r in many([300, 50, 7])} - {
        r["url"] for r in many([200, 50])
    }
    assert all(r["key"].startswith("C-2-0000-") for r in rows_of(b))
    arguments = ["shuffle", str(third), "--block", "0", "--output", str(c)]
    for name in "ab":
        arguments += ["--seen-before", str(tmp_path / f"{name}.seen")]
    assert main(arguments) == 0
    assert dict(books(c).dropped) == {"seen_earlier": 357}
    assert sorted(r["url"] for r in rows_of(c)) == ["http://h0.org/300.jpg", "http://h2.org/7.jpg"]


def test_filters_are_as_exact_as_configured_and_reproducible(tmp_path: Path) -> None:
    first = write_part(tmp_path / "1", many([2000]))
    second = write_part(tmp_path / "2", many([4000], start=10_000))
    config = "shuffle: {seen_false_positive_rate: 0.1}"
    sizes = []
    for name in ("a", "b"):
        seen = tmp_path / f"{name}.seen"
        assert shuffle(tmp_path / f"{name}.parquet", first, config=config, seen_after=seen) == 0
        sizes.append(seen.read_bytes())
    assert sizes[0] == sizes[1]
    output = tmp_path / "c.parquet"
    assert shuffle(output, second, seen_before=tmp_path / "a.seen") == 0
    assert 200 < books(output).dropped["seen_earlier"] < 600


def test_blocked_hosts_and_urls(tmp_path: Path) -> None:
    urls = ["http://img.bad.org/1", "http://bad.org/2", "http://good.org/3", "http://good.org/4"]
    hashes = tmp_path / "hashes"
    digests = [hashlib.sha256(url.encode()).hexdigest() for url in (urls[1], urls[2])]
    hashes.write_text(f"# removed on request\n{digests[0].upper()}\n\n{digests[1]}  # why\n")
    config = f"shuffle: {{blocked_hosts: [bad.org], blocked_url_hashes: '{hashes}'}}"
    part, output = write_part(tmp_path / "p", [row(u) for u in urls] * 2), tmp_path / "o.parquet"
    assert shuffle(output, part, config=config) == 0
    assert dict(books(output).dropped) == {"blocked_host": 4, "blocked_url": 2, "duplicate": 1}
    assert [r["url"] for r in rows_of(output)] == [urls[3]]
    # The list is part of what the block is made from: a longer one makes it anew.
    hashes.write_text(hashlib.sha256(urls[3].encode()).hexdigest())
    assert shuffle(output, part, config=config) == 0
    assert [r["url"] for r in rows_of(output)] == [urls[2]]


@pytest.mark.parametrize("content", ["xyz", "abcd", "é"])
def test_a_list_of_hashes_that_is_none_is_told(
    tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    hashes, part = tmp_path / "hashes", write_part(tmp_path / "p", [row("http://a.org/")])
    hashes.write_text(content)
    config = f"shuffle: {{blocked_url_hashes: '{hashes}'}}"
    assert shuffle(tmp_path / "o.parquet", part, config=config) == 2
    assert "shuffle.blocked_url_hashes" in capsys.readouterr().err


def test_an_empty_block(tmp_path: Path) -> None:
    part, output = write_part(tmp_path / "p", []), tmp_path / "o.parquet"
    assert shuffle(output, part, seen_after=tmp_path / "o.seen") == 0
    assert pq.ParquetFile(output).schema_arrow.equals(KEYED_CANDIDATE)
    assert pq.read_metadata(output).num_row_groups == 0
    found = books(output)
    assert (found.inputs, found.kept, found.counts["shards"]) == (0, 0, 0)
    other = write_part(tmp_path / "q", [row("http://a.org/")])
    assert shuffle(tmp_path / "r.parquet", other, seen_before=tmp_path / "o.seen") == 0
    assert books(tmp_path / "r.parquet").kept == 1


def test_a_finished_block_is_left_alone(tmp_path: Path) -> None:
    part, output = write_part(tmp_path / "p", many([9])), tmp_path / "o.parquet"
    for _ in range(2):
        assert shuffle(output, part) == 0
        output.touch()
        before = output.stat().st_mtime_ns
    assert shuffle(output, part) == 0
    assert output.stat().st_mtime_ns == before
    write_part(part, many([8]))
    assert shuffle(output, part) == 0
    assert books(output).kept == 8


def test_wrong_usage_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    part = write_part(tmp_path / "p", [row("http://a.org/"), row("http://b.org/", crawl="C-2")])
    output = tmp_path / "o.parquet"
    cases: list[tuple[int, dict[str, object], str]] = [
        (2, {}, "name the samples' with --crawl"),
        (2, {"crawl": "a.b"}, "may not hold dots"),
        (1, {"block": 1}, "has 1 blocks, not one with number 1"),
        (1, {"seen_before": tmp_path / "x.seen", "crawl": "C"}, "x.seen"),
        (1, {"seen_before": part, "crawl": "C"}, "not a whole filter"),
    ]
    for code, more, says in cases:
        assert shuffle(output, part, **more) == code
        assert says in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        shuffle(output, part, block=10_000)
    assert "give a number up to 9999" in capsys.readouterr().err
    assert not output.exists()
