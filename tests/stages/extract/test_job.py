"""The stage as a whole: nothing vanishes, the same bytes whatever happens on the way."""

from __future__ import annotations

import gzip
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from laion_hpc.cli import main
from laion_hpc.files import ledger
from laion_hpc.files.schemas import CANDIDATE
from laion_hpc.web.url import block_of
from tests import patience
from tests.stages.extract.stage import BLOCKS, contents, extract
from tests.stages.extract.wats import image, page, payload, record, some_pages, write_wat

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wats(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("crawl") / "segments" / "12.3" / "wat"
    return [write_wat(folder / f"w-{n}.warc.wat.gz", some_pages(6, seed=n)) for n in range(4)]


@pytest.fixture(scope="module")
def reference(wats: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("one") / "12.3.parquet"
    assert extract(wats, output) == 0
    return output


def test_rows_blocks_and_ledger(wats: list[Path], reference: Path) -> None:
    file = pq.ParquetFile(reference)
    assert file.schema_arrow.equals(CANDIDATE)
    assert file.num_row_groups == BLOCKS
    for block in range(BLOCKS):
        rows = file.read_row_group(block).to_pylist()
        assert rows and all(block_of(row["url"], BLOCKS) == block for row in rows)
        place = [(row["wat"], row["record_offset"], row["link_position"]) for row in rows]
        assert place == sorted(place)
        assert {(row["crawl"], row["segment"]) for row in rows} == {("C-1", "12.3")}
    books = ledger.read(ledger.path_of(reference))
    pages = 4 * 6
    assert books.balanced and (books.stage, books.unit) == ("extract", "links")
    assert books.inputs == 13 * pages
    assert books.kept == file.metadata.num_rows == 6 * pages + 4 * 5  # one logo a host and WAT
    assert dict(books.dropped) == {
        "no_text": pages,
        "text_too_short": pages,
        "data_url": pages,
        "not_http": pages,
        "bad_url": pages,
        "extension": pages,
        "duplicate_in_wat": pages - 4 * 5,
    }
    assert (books.counts["wats"], books.counts["pages"]) == (4, pages)
    assert (books.counts["records_read"], books.counts["records_damaged"]) == (4 * 13, 0)
    classes = Counter(file.read(["language_class"]).column(0).to_pylist())
    assert books.counts["kept_by_class"] == dict(classes)
    assert books.files == (ledger.describe(reference, rows=books.kept),)
    assert not reference.with_name("12.3.parts").exists()


def test_a_row_tells_where_it_comes_from(wats: list[Path], reference: Path) -> None:
    rows = pq.read_table(reference).to_pylist()
    row = next(r for r in rows if r["text"] == "ein Hund im Garten hinter dem Haus 2 3 1")
    assert row["url"] == "http://h3.example.org/s2/img/2-3-1.jpg"
    assert row["page_url"] == "http://h3.example.org/s2/page3.html"
    assert (row["language"], row["language_class"], row["license"]) == ("de", "multi", "?")
    assert (row["wat"], row["link_position"]) == ("w-2.warc.wat.gz", 1)
    with wats[2].open("rb") as stream:
        stream.seek(row["record_offset"])
        assert b"img/2-3-1.jpg" in gzip.decompress(stream.read()).split(b"WARC/1.0")[1]


def test_two_processes_make_the_same_bytes(
    wats: list[Path], reference: Path, tmp_path: Path
) -> None:
    assert extract(wats, tmp_path / "12.3.parquet", "--processes", "2") == 0
    assert contents(tmp_path / "12.3.parquet") == contents(reference)


def command(wats: list[Path], output: Path) -> list[str]:
    arguments = ["laion_hpc", "extract", *map(str, wats), "--output", str(output)]
    return [sys.executable, "-m", *arguments, "--crawl", "C-1", "--blocks", str(BLOCKS)]


def test_two_mpi_ranks_make_the_same_bytes(
    wats: list[Path], reference: Path, tmp_path: Path
) -> None:
    mpiexec = Path(sys.executable).with_name("mpiexec")
    if not mpiexec.exists():
        pytest.skip("needs mpiexec beside Python: pip install laion-hpc[mpi]")
    run = command(wats, tmp_path / "12.3.parquet")
    run[1:1] = ["-m", "mpi4py"]
    done = patience.run([mpiexec, "-n", "2", *run])
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "12.3.parquet") == contents(reference)


def test_killed_three_times_and_resumed_makes_the_same_bytes(tmp_path: Path) -> None:
    wats = [write_wat(tmp_path / f"w-{n}.warc.wat.gz", some_pages(20, seed=n)) for n in range(24)]
    whole, output = tmp_path / "whole" / "s.parquet", tmp_path / "s.parquet"
    assert extract(wats, whole) == 0
    external_sort, finished = tmp_path / "s.parts", 0
    for _ in range(3):
        run = subprocess.Popen(command(wats, output), stderr=subprocess.DEVNULL)
        while run.poll() is None:
            if len(list(external_sort.glob("*.ledger.json"))) > finished:
                run.send_signal(signal.SIGKILL)
                run.wait()
            time.sleep(0.001)
        assert not output.exists()
        finished = len(list(external_sort.glob("*.ledger.json")))
        assert 0 < finished < len(wats)
    assert extract(wats, output) == 0
    assert contents(output) == contents(whole)
    assert not external_sort.exists()


def test_a_finished_segment_is_left_alone_until_something_changes(
    wats: list[Path], tmp_path: Path
) -> None:
    output = tmp_path / "s.parquet"
    assert extract(wats[:2], output) == 0
    before = output.stat().st_mtime_ns
    assert extract(wats[:2], output) == 0
    assert output.stat().st_mtime_ns == before
    assert extract(wats[:3], output) == 0
    assert output.stat().st_mtime_ns != before
    books = ledger.read(ledger.path_of(output))
    assert books.counts["wats"] == 3


def test_finished_wats_are_not_redone_when_others_fail(
    wats: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    html = tmp_path / "html.warc.wat.gz"
    html.write_bytes(b"<html><body>407 Proxy Authentication Required</body></html>")
    empty = tmp_path / "empty.warc.wat.gz"
    empty.write_bytes(b"")
    zipped = tmp_path / "zipped.warc.wat.gz"
    zipped.write_bytes(gzip.compress(b"<html>not a WAT</html>"))
    absent = tmp_path / "absent.warc.wat.gz"
    given, output = [wats[0], html, empty, zipped, absent, wats[1]], tmp_path / "s.parquet"
    assert extract(given, output) == 1
    says = capsys.readouterr().err
    assert "4 of 6 WATs failed" in says and "max_failed_wats (now 0)" in says
    assert f"{html}: it is an HTML or XML page" in says
    assert f"{empty}: the file is empty" in says
    assert f"{zipped}: holds no readable WARC record" in says
    assert f"{absent}: No such file or directory" in says
    assert not output.exists()
    finished = {path: path.stat().st_mtime_ns for path in (tmp_path / "s.parts").iterdir()}
    assert len(finished) == 4  # a run and a ledger for both good ones

    config = tmp_path / "config.yaml"
    config.write_text("extract: {max_failed_wats: 4}")
    seen: dict[Path, int] = {}

    def watch(path: Path) -> None:
        seen.update({p: p.stat().st_mtime_ns for p in path.parent.glob("s.parts/*")})

    original = Path.replace

    def replace(self: Path, target: Path) -> Path:
        watch(output)
        return original(self, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "replace", replace)
        assert extract(given, output, "--config", str(config)) == 0
    assert {path: seen[path] for path in finished} == finished
    books = ledger.read(ledger.path_of(output))
    assert books.counts["wats_failed"] == 4 and len(books.counts["failures"]) == 4
    assert books.counts["wats"] == 2


def test_damage_is_counted_with_its_place(tmp_path: Path, wats: list[Path]) -> None:
    pages = [payload(one) for one in some_pages(5)]
    pieces = [record(one) for one in pages]
    broken_json = record(pages[3][:-9])
    short = pieces[4][:-20]
    flipped = bytearray(pieces[1])
    flipped[len(flipped) // 2] ^= 255
    lying = gzip.decompress(pieces[2]).replace(b"Content-Length: ", b"Content-Length: 1")
    members = [pieces[0], bytes(flipped), gzip.compress(lying), broken_json, pieces[0], short]
    wat = tmp_path / "d.warc.wat.gz"
    wat.write_bytes(b"".join(members))
    assert extract([wat], tmp_path / "d.parquet") == 0
    counts = ledger.read(ledger.path_of(tmp_path / "d.parquet")).counts
    assert (counts["records_read"], counts["records_damaged"]) == (3, 3)
    assert counts["records_repaired"] == 1
    starts = [sum(map(len, members[:n])) for n in range(6)]
    assert counts["damage"] == [
        f"d.warc.wat.gz@{starts[1]}, {len(flipped)} bytes: corrupt gzip member",
        f"d.warc.wat.gz@{starts[2]}: wrong Content-Length, read all the same",
        next(line for line in counts["damage"] if f"@{starts[3]}: invalid JSON" in line),
        f"d.warc.wat.gz@{starts[5]}, {len(short)} bytes: cut short",
    ]
    assert counts["bytes_damaged"] == len(flipped) + len(short)
    assert counts["pages"] == 3


def test_columns_of_page_and_image(tmp_path: Path) -> None:
    license_ = "https://creativecommons.org/licenses/by/4.0/"
    head = {"Metas": [{"name": "HTML@/lang", "content": "de-AT"}], "Base": "//cdn.org/d/"}
    links = [
        image("x.jpg", "a red boat", title=" the\tboat "),
        image("größe.jpg", "ein rotes Boot", title="ÄÖ"),
        {"path": "A@/href", "url": license_, "rel": "license"},
        image("/y.jpg", "a blue boat"),
    ]
    pages = [page("http://e.org/p", links, head=head), page("http://e.org/q", links[:1])]
    wat = write_wat(tmp_path / "w.warc.wat.gz", pages)
    assert extract([wat], tmp_path / "s.parquet") == 0
    rows = pq.read_table(tmp_path / "s.parquet").to_pylist()
    found = {
        (row["page_url"], row["url"]): (
            row["title"], row["page_language"], row["license"], row["link_position"]
        )
        for row in rows
    }  # fmt: skip
    assert found == {
        ("http://e.org/p", "http://cdn.org/d/x.jpg"): ("the boat", "de-AT", license_, 0),
        ("http://e.org/p", "http://cdn.org/d/gr%C3%B6%C3%9Fe.jpg"): ("ÄÖ", "de-AT", license_, 1),
        ("http://e.org/p", "http://cdn.org/y.jpg"): ("", "de-AT", license_, 2),
        ("http://e.org/q", "http://e.org/x.jpg"): ("the boat", "", "?", 0),
    }


def test_broken_links_in_a_record_cost_the_record(tmp_path: Path) -> None:
    good = payload(page(links=[image("x.jpg", "a red boat")]))
    broken = payload(page(links=[image("y.jpg", "a BROKEN boat")])).replace(b"BROKEN", b"\\x")
    wat = tmp_path / "w.warc.wat.gz"
    wat.write_bytes(record(good) + record(broken) + record(good))
    assert extract([wat], tmp_path / "s.parquet") == 0
    counts = ledger.read(tmp_path / "s.ledger.json").counts
    assert (counts["records_read"], counts["records_damaged"], counts["pages"]) == (2, 1, 2)
    assert f"@{len(record(good))}: invalid JSON" in counts["damage"][0]


PEAK = """
import sys
from laion_hpc.cli import main
code = main(sys.argv[1:])
status = open("/proc/self/status").read()
print("peak", int(status.partition("VmHWM:")[2].split()[0]) // 1024)
sys.exit(code)
"""


def test_a_record_of_500_megabytes_is_skipped_within_the_memory_that_is_stated(
    tmp_path: Path,
) -> None:
    from isal import igzip

    pieces = [record(payload(one)) for one in some_pages(2)]
    size = 500_000_000
    header = b"WARC/1.0\r\nWARC-Type: metadata\r\nContent-Length: %d\r\n\r\n" % size
    filler = b'{"path":"IMG@/src","url":"x.jpg","alt":"a red boat"},' * 20_000
    wat = tmp_path / "w.warc.wat.gz"
    with wat.open("wb") as stream:
        stream.write(pieces[0])
        with igzip.open(stream, "wb", compresslevel=1) as huge:
            huge.write(header)
            for begin in range(0, size, len(filler)):
                huge.write(filler[: size - begin])
            huge.write(b"\r\n\r\n")
        stream.write(pieces[1])
    run = [*command([wat], tmp_path / "s.parquet")[3:]]
    done = patience.run([sys.executable, "-c", PEAK, *run])
    assert done.returncode == 0, done.stderr
    counts = ledger.read(tmp_path / "s.ledger.json").counts
    assert (counts["records_read"], counts["records_damaged"], counts["pages"]) == (2, 1, 2)
    assert "record too large" in counts["damage"][0]
    assert f"w.warc.wat.gz@{len(pieces[0])}, " in counts["damage"][0]
    # The command's help says 1 GB; the record alone would be half of it.
    assert int(done.stdout.split()[-1]) < 600


def test_what_the_garbage_collector_left_out_is_freed_at_the_end(
    wats: list[Path], tmp_path: Path
) -> None:
    """DuckDB's bindings tell of what is not, and would bury the summary of these tests."""
    program = "import duckdb, sys; from laion_hpc.cli import main; sys.exit(main(sys.argv[1:]))"
    arguments = command(wats[:1], tmp_path / "s.parquet")[3:]
    done = patience.run([sys.executable, "-c", program, *arguments])
    assert done.returncode == 0
    assert "leaked" not in done.stderr


def test_no_links_at_all(tmp_path: Path) -> None:
    wat = write_wat(tmp_path / "w.warc.wat.gz", [page(links=[])])
    assert extract([wat], tmp_path / "s.parquet") == 0
    file = pq.ParquetFile(tmp_path / "s.parquet")
    assert (file.num_row_groups, file.metadata.num_rows) == (BLOCKS, 0)
    books = ledger.read(tmp_path / "s.ledger.json")
    assert (books.inputs, books.kept) == (0, 0)


def test_wats_of_a_lock(
    tmp_path: Path, wats: list[Path], reference: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lock = tmp_path / "C-1.json"
    folder = wats[0].parents[3]
    assert main(["crawl", "C-1", "--folder", str(folder), "--output", str(lock)]) == 0
    output = tmp_path / "12.3.parquet"
    run = ["extract", "--lock", str(lock), "--blocks", str(BLOCKS), "--output", str(output)]
    assert main([*run, "--segment", "12.3"]) == 0
    assert contents(output) == contents(reference)
    assert main([*run, "--segment", "9"]) == 2
    assert "no segment '9'" in capsys.readouterr().err


def test_wrong_usage_is_told(
    tmp_path: Path, wats: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "s.parquet"
    cases: list[tuple[Sequence[Path | str], str]] = [
        ([wats[0], wats[0]], "2 WATs have this name"),
        (["s3://commoncrawl"], "write s3://BUCKET/KEY"),
        ([], "no WAT files"),
    ]
    for given, says in cases:
        assert extract(given, output) == 2
        assert says in capsys.readouterr().err
    assert extract(wats, tmp_path / "s.csv") == 2
    assert "must end in .parquet" in capsys.readouterr().err
    assert extract(wats, output, "--blocks", "0") == 2
    assert "dataset.blocks" in capsys.readouterr().err


def test_a_wat_of_many_candidates_is_spilled_in_runs(
    tmp_path: Path, wats: list[Path], reference: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from laion_hpc.stages.extract import external_sort, fast

    monkeypatch.setattr(external_sort, "RUN_ROWS", 10)
    monkeypatch.setattr(fast, "BATCH_BYTES", 5_000)
    assert extract(wats, tmp_path / "12.3.parquet") == 0
    assert contents(tmp_path / "12.3.parquet") == contents(reference)


def test_old_records_are_decoded_new_ones_are_not(tmp_path: Path) -> None:
    links = [image("a.jpg?x=1&amp;y=2", "Tom &amp; Jerry on a boat")]
    old = page("http://old.org/", links, date="2014-08-21T04:21:14Z")
    new = page("http://new.org/", links, date="2022-08-21T04:21:14Z")
    wat = write_wat(tmp_path / "w.warc.wat.gz", [old, new])
    assert extract([wat], tmp_path / "s.parquet") == 0
    rows = {r["page_url"]: r for r in pq.read_table(tmp_path / "s.parquet").to_pylist()}
    assert rows["http://old.org/"]["url"] == "http://old.org/a.jpg?x=1&y=2"
    assert rows["http://old.org/"]["text"] == "Tom & Jerry on a boat"
    assert rows["http://new.org/"]["url"] == "http://new.org/a.jpg?x=1&amp;y=2"
    assert rows["http://new.org/"]["text"] == "Tom &amp; Jerry on a boat"
