"""Write the lock file of a crawl: its segments and their WAT files, or a sample of them.

  laion-hpc crawl CC-MAIN-2024-10 --output config/crawls/CC-MAIN-2024-10.json
  laion-hpc crawl CC-MAIN-2024-10 --paths wat.paths.gz --sample 100 --seed 1 --output …
  laion-hpc crawl mine --folder wats/ --output config/crawls/mine.json
  laion-hpc crawl mine --list my-wats.txt --output config/crawls/mine.json

Run it once, on a machine with a network, and commit the file: a workflow that reads it plans the
same jobs every time, without a network. Without --paths, --list or --folder the list is fetched
from Common Crawl.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from laion_hpc.errors import InputError, UsageError

COMMON_CRAWL = "https://data.commoncrawl.org/"

_SEGMENT = re.compile(r"(?:^|/)segments/([^/]+)/")
_LAST_NUMBER = re.compile(r"(.*(?<!\d))(\d{5})((?!\d).*)", re.DOTALL)
_RANGE = re.compile(r"\[(\d+)-(\d+)\]")


@dataclass(frozen=True)
class Lock:
    """A crawl as it is processed: which WATs, in which segments, found where."""

    name: str
    prefix: str
    """URL (with its last slash) or folder that the paths are relative to; may be empty."""
    segments: Mapping[str, tuple[str, ...]]
    """Segment -> paths of its WATs, both in sorted order."""

    def wats(self, segment: str) -> tuple[str, ...]:
        """Full paths or URLs of a segment's WATs; UsageError if there is no such segment."""
        try:
            paths = self.segments[segment]
        except KeyError:
            raise UsageError(
                f"crawl {self.name} has no segment {segment!r}; it has "
                + ", ".join(list(self.segments)[:3])
                + (" …" if len(self.segments) > 3 else "")
            ) from None
        if not self.prefix or "://" in self.prefix:
            return tuple(self.prefix + path for path in paths)
        return tuple(str(Path(self.prefix) / path) for path in paths)


def read_lock(path: Path) -> Lock:
    """Read a lock file; UsageError that says how to make it if it is missing or is none."""
    try:
        data = json.loads(path.read_bytes())
        lock = Lock(
            name=data["name"],
            prefix=data["prefix"],
            segments={
                segment: tuple(path for entry in entries for path in _unfold(entry))
                for segment, entries in sorted(data["segments"].items())
            },
        )
    except FileNotFoundError:
        raise UsageError(
            f"{path}: no such crawl lock; make it with "
            f"`laion-hpc crawl {path.stem} --output {path}`"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{path}: not a crawl lock ({error}); make it again") from None
    _check(lock, origin=str(path))
    return lock


def write_lock(lock: Lock, path: Path) -> None:
    """Write a lock file: sorted, a line for each run of numbered files (usually a segment)."""
    from laion_hpc.atomic import write_bytes

    _check(lock, origin=f"crawl {lock.name}")
    segments = {name: list(_fold(paths)) for name, paths in sorted(lock.segments.items())}
    data = {"name": lock.name, "prefix": lock.prefix, "segments": segments}
    write_bytes(path, (json.dumps(data, indent=1, ensure_ascii=False) + "\n").encode())


def _check(lock: Lock, origin: str) -> None:
    if not isinstance(lock.name, str) or not isinstance(lock.prefix, str):
        raise UsageError(f"{origin}: name and prefix must be strings")
    if not lock.segments or not all(lock.segments.values()):
        raise UsageError(f"{origin}: no WAT files in it, or in one of its segments")
    for segment in lock.segments:
        if not segment or "/" in segment or segment.startswith("."):
            raise UsageError(f"{origin}: {segment!r} cannot be the name of a segment's file")


def _fold(paths: Iterable[str]) -> Iterator[str]:
    """Runs of paths that differ only in their last number, one after the other, as one line.

    `a-00000.gz, a-00001.gz, a-00002.gz` becomes `a-[00000-00002].gz`.
    """
    run: tuple[str, str, str, str] | None = None  # before, first number, last number, after
    for path in paths:
        if _RANGE.search(path):
            raise UsageError(f"{path}: a path may not hold a range such as [0-9]; rename the file")
        before, number, after = _split_number(path)
        if (
            run
            and number
            and (run[0], run[3]) == (before, after)
            and len(number) == len(run[2])
            and int(number) == int(run[2]) + 1
        ):
            run = (before, run[1], number, after)
            continue
        if run:
            yield _line(*run)
        run = (before, number, number, after)
    if run:
        yield _line(*run)


def _split_number(path: str) -> tuple[str, str, str]:
    """A path before, in and after its last number of five digits, as Common Crawl counts WATs."""
    found = _LAST_NUMBER.match(path)
    return (found[1], found[2], found[3]) if found else (path, "", "")


def _line(before: str, first: str, last: str, after: str) -> str:
    return before + (first if first == last else f"[{first}-{last}]") + after


def _unfold(line: str) -> Iterator[str]:
    found = _RANGE.search(line)
    if not found:
        yield line
        return
    first, last = found[1], found[2]
    for number in range(int(first), int(last) + 1):
        yield f"{line[: found.start()]}{number:0{len(first)}d}{line[found.end() :]}"


def by_segment(paths: Iterable[str], otherwise: str) -> dict[str, tuple[str, ...]]:
    """Paths sorted into their segments, as in `…/segments/ID/wat/…`; `otherwise`: all the rest."""
    segments: dict[str, set[str]] = {}
    for path in paths:
        found = _SEGMENT.search(path)
        segments.setdefault(found[1] if found else otherwise, set()).add(path)
    return {name: tuple(sorted(segments[name])) for name in sorted(segments)}


def sample(
    segments: Mapping[str, Sequence[str]], number: int, seed: int
) -> dict[str, tuple[str, ...]]:
    """`number` of the WATs, drawn without replacement and spread evenly over the segments.

    Segments give equally many, up to one more or less, as far as they have as many. The same
    seed and segments give the same sample. UsageError if there are not `number` of them.
    """
    available = sum(map(len, segments.values()))
    if not 1 <= number <= available:
        raise UsageError(f"--sample {number}: the crawl has {available} WATs")
    draw = random.Random(seed)
    pools = {name: draw.sample(list(segments[name]), len(segments[name])) for name in segments}
    taken: dict[str, list[str]] = {name: [] for name in segments}
    while number:
        rest = [name for name in segments if pools[name]]
        for name in draw.sample(rest, min(number, len(rest))):
            taken[name].append(pools[name].pop())
            number -= 1
    return {name: tuple(sorted(paths)) for name, paths in taken.items() if paths}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `laion-hpc crawl`."""
    parser.add_argument("name", metavar="NAME", help="such as CC-MAIN-2024-10, or your own")
    parser.add_argument("--output", required=True, type=Path, metavar="FILE.json")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--paths", type=Path, metavar="FILE", help="the crawl's wat.paths[.gz]")
    source.add_argument("--list", type=Path, metavar="FILE", help="paths or URLs, one a line")
    source.add_argument("--folder", type=Path, metavar="DIR", help="all .wat and .wat.gz in it")
    parser.add_argument(
        "--prefix",
        metavar="URL",
        help=f"default: {COMMON_CRAWL}; --list: none; s3://commoncrawl/ reads from S3",
    )
    parser.add_argument("--sample", type=int, metavar="N", help="only N WATs, over all segments")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of the sample")


def run(options: argparse.Namespace) -> int:
    """Write the lock file that the arguments ask for."""
    name: str = options.name
    if any(c in "./\\ " for c in name) or not name:
        raise UsageError(f"{name!r}: a crawl's name may not hold dots, slashes or spaces")
    prefix = options.prefix if options.prefix is not None else COMMON_CRAWL
    if "://" in prefix and not prefix.endswith("/"):
        prefix += "/"
    if options.folder:
        prefix, segments = str(options.folder), _in_folder(options.folder)
    elif options.list:
        prefix = prefix if options.prefix is not None else ""
        segments = by_segment(_lines(options.list), name)
    elif options.paths:
        segments = by_segment(_lines(options.paths), name)
    else:
        segments = by_segment(_fetched(name, prefix), name)
    total = sum(map(len, segments.values()))
    if options.sample is not None:
        segments = sample(segments, options.sample, options.seed)
    lock = Lock(name, prefix, segments)
    write_lock(lock, options.output)
    kept = sum(map(len, segments.values()))
    print(f"{options.output}: {kept} of {total} WATs in {len(segments)} segments")
    return 0


def _in_folder(folder: Path) -> dict[str, tuple[str, ...]]:
    if not folder.is_dir():
        raise UsageError(f"--folder {folder}: no such folder")
    paths = [
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.name.endswith((".wat", ".wat.gz")) and path.is_file()
    ]
    if not paths:
        raise UsageError(f"--folder {folder}: no .wat or .wat.gz files in it")
    return by_segment(paths, folder.resolve().name)


def _lines(path: Path) -> list[str]:
    import gzip

    try:
        data = path.read_bytes()
        text = gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data
        lines = [line.strip() for line in text.decode().splitlines()]
    except FileNotFoundError:
        raise UsageError(f"{path}: no such list of WATs") from None
    except (EOFError, OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a list of WATs ({error}); fetch it again") from None
    paths = [line for line in lines if line and not line.startswith("#")]
    if not paths or paths[0].startswith("<"):
        raise InputError(f"{path}: not a list of WATs, but empty or HTML; fetch it again")
    return paths


def _fetched(name: str, prefix: str) -> list[str]:
    import tempfile

    from laion_hpc.transfer import fetch, is_url

    if not is_url(prefix):
        raise UsageError(f"--prefix {prefix}: give --paths, --list or --folder with a local prefix")
    url = f"{prefix}crawl-data/{name}/wat.paths.gz"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "wat.paths.gz"
        try:
            fetch(url, path)
        except InputError as error:
            raise InputError(
                f"{error}\nIs {name} one of https://data.commoncrawl.org/crawl-data/index.html? "
                "Without a network, fetch its wat.paths.gz elsewhere and give it with --paths."
            ) from None
        return _lines(path)
