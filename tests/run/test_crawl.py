from __future__ import annotations

import gzip
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laion_hpc.cli import main
from laion_hpc.errors import UsageError
from laion_hpc.files.crawl_lock import Lock, read_lock, write_lock
from laion_hpc.run.crawl import COMMON_CRAWL, by_segment, sample

ROOT = Path(__file__).parents[2]


def paths_of(segments: int, wats: int, crawl: str = "CC-MAIN-2022-40") -> list[str]:
    return [
        f"crawl-data/{crawl}/segments/{1664030331677 + s}.{s:02d}/wat/"
        f"CC-MAIN-20220924151538-2022092418{s:04d}-{n:05d}.warc.wat.gz"
        for s in range(segments)
        for n in range(wats)
    ]


def test_the_lock_of_a_whole_crawl_is_small_and_read_fast(tmp_path: Path) -> None:
    paths = paths_of(100, 900)
    listed = tmp_path / "wat.paths.gz"
    listed.write_bytes(gzip.compress("\n".join(paths).encode()))
    output = tmp_path / "CC-MAIN-2022-40.json"
    arguments = ["crawl", "CC-MAIN-2022-40", "--paths", str(listed), "--output", str(output)]
    assert main(arguments) == 0
    assert output.stat().st_size < 30_000
    lock = read_lock(output)
    found = [url for segment in lock.segments for url in lock.wats(segment)]
    assert sorted(found) == sorted(COMMON_CRAWL + path for path in paths)
    assert len(lock.segments) == 100
    # The Snakefile reads it each time: nothing heavy may come with it.
    code = "import sys, laion_hpc.run.crawl; print({m.partition('.')[0] for m in sys.modules})"
    modules = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert not any(name in modules for name in ("'pyarrow'", "'numpy'", "'httpx'", "'pydantic'"))


name = st.from_regex(r"[A-Za-z0-9._-]{1,12}", fullmatch=True).filter(lambda t: t[0] != ".")
numbered = st.builds("{}-{:05d}.warc.wat.gz".format, name, st.integers(0, 12))


@given(
    st.dictionaries(
        name,
        st.lists(numbered | name, min_size=1, max_size=30, unique=True).map(sorted),
        min_size=1,
        max_size=4,
    )
)
def test_a_lock_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, segments: dict[str, list[str]]
) -> None:
    path = tmp_path_factory.mktemp("lock") / "x.json"
    lock = Lock("x", "", {key: tuple(paths) for key, paths in sorted(segments.items())})
    write_lock(lock, path)
    first = path.read_bytes()
    assert read_lock(path) == lock
    write_lock(read_lock(path), path)
    assert path.read_bytes() == first


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=12),
    st.integers(0, 5),
    st.data(),
)
def test_samples_are_even_reproducible_and_without_replacement(
    sizes: list[int], seed: int, data: st.DataObject
) -> None:
    segments = {f"s{n:02d}": [f"{n}-{i}" for i in range(size)] for n, size in enumerate(sizes)}
    number = data.draw(st.integers(1, sum(sizes)))
    drawn = sample(segments, number, seed)
    assert drawn == sample(segments, number, seed)
    assert sum(map(len, drawn.values())) == number
    for segment, paths in drawn.items():
        assert set(paths) <= set(segments[segment]) and len(set(paths)) == len(paths)
        assert list(paths) == sorted(paths)
    # Even: a segment has two fewer than another only if it has no more to give.
    taken = Counter({segment: len(drawn.get(segment, ())) for segment in segments})
    most = max(taken.values())
    assert all(taken[s] >= most - 1 or taken[s] == len(segments[s]) for s in segments)


def test_another_seed_is_another_sample() -> None:
    segments = {"a": [str(n) for n in range(100)]}
    assert sample(segments, 10, 0) != sample(segments, 10, 1)
    with pytest.raises(UsageError, match="has 100 WATs"):
        sample(segments, 101, 0)


def test_by_segment() -> None:
    paths = ["x/segments/2.1/wat/b.gz", "segments/2.1/wat/a.gz", "y/z.gz", "y/z.gz"]
    assert by_segment(paths, "rest") == {
        "2.1": ("segments/2.1/wat/a.gz", "x/segments/2.1/wat/b.gz"),
        "rest": ("y/z.gz",),
    }


def test_folders_with_and_without_segments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in ("web/segments/1.1/wat/a.warc.wat.gz", "web/segments/2.2/wat/b.wat",
                 "flat/c.wat.gz", "flat/notes.txt"):  # fmt: skip
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    monkeypatch.chdir(tmp_path)
    for folder in ("web", "flat"):
        assert main(["crawl", folder, "--folder", folder, "--output", f"{folder}.json"]) == 0
    web, flat = read_lock(Path("web.json")), read_lock(Path("flat.json"))
    assert web.wats("1.1") == ("web/segments/1.1/wat/a.warc.wat.gz",)
    assert list(web.segments) == ["1.1", "2.2"]
    assert flat.wats("flat") == ("flat/c.wat.gz",)
    assert main(["crawl", "none", "--folder", "web/segments/1.1/wat/x", "--output", "n.json"]) == 2


def test_a_list_may_hold_paths_and_urls(tmp_path: Path) -> None:
    listed, output = tmp_path / "list", tmp_path / "mine.json"
    listed.write_text("# mine\nhttps://e.org/a.wat.gz\n\n/data/b.wat.gz\n")
    assert main(["crawl", "mine", "--list", str(listed), "--output", str(output)]) == 0
    assert read_lock(output).wats("mine") == ("/data/b.wat.gz", "https://e.org/a.wat.gz")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("<html>", "not a crawl lock"),
        ("[]", "not a crawl lock"),
        ('{"name": "x", "prefix": "", "segments": {}}', "no WAT files"),
        ('{"name": "x", "prefix": "", "segments": {"a": []}}', "no WAT files"),
        ('{"name": "x", "prefix": 3, "segments": {"a": ["b"]}}', "must be strings"),
        ('{"name": "x", "prefix": "", "segments": {"a/b": ["c"]}}', "'a/b' cannot be"),
        ('{"name": "x", "prefix": "", "segments": {"a": [3]}}', "not a crawl lock"),
    ],
)
def test_what_is_no_lock_is_told(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(content)
    with pytest.raises(UsageError, match=says):
        read_lock(path)


def test_a_missing_lock_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="laion-hpc crawl CC-MAIN-2024-10 --output"):
        read_lock(tmp_path / "CC-MAIN-2024-10.json")


def test_wrong_names_and_empty_lists_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = str(tmp_path / "x.json")
    assert main(["crawl", "a.b", "--output", output]) == 2
    assert "may not hold dots" in capsys.readouterr().err
    listed = tmp_path / "wat.paths.gz"
    for content in (b"", b"<html>403</html>", gzip.compress(b"x\n" * 99)[:20]):
        listed.write_bytes(content)
        assert main(["crawl", "a", "--paths", str(listed), "--output", output]) == 1
        assert "not a list of WATs" in capsys.readouterr().err


def test_the_sample_in_the_repository() -> None:
    lock = read_lock(ROOT / "config" / "crawls" / "CC-MAIN-2022-40-sample.json")
    assert lock.name == "CC-MAIN-2022-40-sample"
    assert lock.wats("1664030331677.90") == tuple(
        f"{COMMON_CRAWL}crawl-data/CC-MAIN-2022-40/segments/1664030331677.90/wat/"
        f"CC-MAIN-20220924151538-20220924181538-0000{n}.warc.wat.gz"
        for n in range(4)
    )
