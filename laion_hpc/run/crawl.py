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
import random
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from laion_hpc.errors import InputError, UsageError
from laion_hpc.files.crawl_lock import Lock, write_lock
from laion_hpc.runtime import console

COMMON_CRAWL = "https://data.commoncrawl.org/"

_SEGMENT = re.compile(r"(?:^|/)segments/([^/]+)/")


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
    console.say(f"{options.output}: {kept} of {total} WATs in {len(segments)} segments")
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

    from laion_hpc.web.fetch import fetch, is_url

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
