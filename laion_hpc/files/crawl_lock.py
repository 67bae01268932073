"""The lock file of a crawl: its segments and their WAT files, written once and read by every run.

Runs of numbered files are one line, so that a crawl of 90,000 WATs is a file of 100 lines:
`a-00000.gz, a-00001.gz, a-00002.gz` is written `a-[00000-00002].gz`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from laion_hpc.errors import UsageError
from laion_hpc.files.atomic import write_bytes

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
    """Read a lock file; UsageError that says how to make it if it is missing or invalid."""
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
