"""The ledger beside every output: what came in, what was kept, and why the rest was dropped.

A file's ledger is `NAME.ledger.json` beside it; a folder's is its `manifest.json`, which lists
the folder's files with sizes and checksums as well. A ledger holds no times and no host names,
so that the same inputs and config give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from laion_hpc.errors import InputError
from laion_hpc.files.atomic import write_bytes

MANIFEST = "manifest.json"
REMOVED = "removed.json"
"""Beside a manifest: the files that were removed on purpose once others had replaced them."""


@dataclass(frozen=True)
class File:
    """A file that a ledger vouches for; `name` is relative to the ledger's folder."""

    name: str
    bytes: int
    sha256: str
    rows: int


@dataclass(frozen=True)
class Ledger:
    """`inputs = kept + Σ dropped`, with where the inputs came from and which files came out."""

    stage: str
    unit: str
    """What is counted: links, urls, samples, vectors."""
    inputs: int
    kept: int
    dropped: Mapping[str, int] = field(default_factory=dict)
    config: str = ""
    """Digest of the config keys that the stage read (`Config.digest`)."""
    source: str = ""
    """Digest of what was read (`fingerprint`): a finished unit is redone when it changes."""
    counts: Mapping[str, Any] = field(default_factory=dict)
    """Further numbers of interest that are not outcomes, such as kept per language class."""
    files: tuple[File, ...] = ()
    about: Mapping[str, str | int] = field(default_factory=dict)
    """What the output is and was made with, for the jobs that read it: block, index key, …"""

    @property
    def balanced(self) -> bool:
        """True if every input was either kept or dropped for a named reason."""
        return self.inputs == self.kept + sum(self.dropped.values())

    def write(self, path: Path) -> None:
        """Write atomically as sorted JSON; an unbalanced ledger is a bug and is refused."""
        if not self.balanced:
            raise AssertionError(
                f"{path}: {self.inputs} in, {self.kept} kept, {dict(self.dropped)} dropped"
            )
        data = asdict(self)
        data["dropped"] = {name: n for name, n in sorted(self.dropped.items()) if n}
        if not self.about:
            del data["about"]
        write_bytes(path, (json.dumps(data, indent=1, sort_keys=True) + "\n").encode())


def expect(folder: Path, stage: str) -> None:
    """InputError unless the stage that makes a block's folder has finished it."""
    if not (folder / MANIFEST).is_file():
        raise InputError(f"{folder}: no {MANIFEST}; has `{stage}` finished?")


def read(path: Path) -> Ledger:
    """Read a ledger; InputError if it is missing or not one."""
    try:
        data = json.loads(path.read_bytes())
        files = tuple(File(**entry) for entry in data.pop("files"))
        return Ledger(files=files, **data)
    except FileNotFoundError:
        raise InputError(f"{path}: no such ledger; has the stage before this one run?") from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"{path}: not a ledger ({error}); remove it and run again") from None


def path_of(output: Path) -> Path:
    """Where the ledger of an output lies: beside a file, inside a folder."""
    if output.is_dir():
        return output / MANIFEST
    return output.with_name(f"{output.stem}.ledger.json")


def total(ledgers: Iterable[Ledger], **changes: Any) -> Ledger:
    """The sum of ledgers of one stage and unit (`counts` are added key by key, lists joined).

    `changes` sets the fields that a sum cannot know, such as `files` and `source`.
    """
    parts = list(ledgers)
    if not parts and not {"stage", "unit"} <= changes.keys():
        raise ValueError("the total of no ledgers needs `stage` and `unit`")
    dropped: Counter[str] = Counter()
    counts: dict[str, Any] = {}
    for part in parts:
        dropped.update(part.dropped)
        _add_counts(counts, part.counts)
    fields: dict[str, Any] = {
        "stage": parts[0].stage if parts else "",
        "unit": parts[0].unit if parts else "",
        "config": parts[0].config if parts else "",
        "inputs": sum(part.inputs for part in parts),
        "kept": sum(part.kept for part in parts),
        "dropped": dict(dropped),
        "counts": counts,
    }
    return Ledger(**(fields | changes))


def _add_counts(into: dict[str, Any], counts: Mapping[str, Any]) -> None:
    for name, value in counts.items():
        if isinstance(value, Mapping):
            _add_counts(into.setdefault(name, {}), value)
        elif isinstance(value, (list, tuple)):
            into[name] = [*into.get(name, ()), *value]
        else:
            into[name] = into.get(name, 0) + value


def describe(path: Path, *, rows: int, root: Path | None = None) -> File:
    """The `File` entry of a finished file; `root` is the ledger's folder (default: its own)."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    name = path.relative_to(root or path.parent).as_posix()
    return File(name, path.stat().st_size, digest.hexdigest(), rows)


def fingerprint(*parts: str | Path) -> str:
    """Digest of what a unit reads: strings as they are, files by their content.

    A file that has a ledger vouching for it is not read again: its recorded checksum is taken.
    """
    digest = hashlib.sha256()
    for part in parts:
        text = part if isinstance(part, str) else _recorded_sha256(part)
        digest.update(text.encode() + b"\0")
    return digest.hexdigest()[:16]


def _recorded_sha256(path: Path) -> str:
    for ledger_path in (path.parent / MANIFEST, path_of(path)):
        if ledger_path.exists():
            for entry in read(ledger_path).files:
                if entry.name == path.name and (
                    entry.bytes == path.stat().st_size if path.exists() else is_removed(path, entry)
                ):
                    return entry.sha256
    return describe(path, rows=0).sha256


def finished(path: Path, *, config: str, source: str) -> Ledger | None:
    """The ledger at `path` if its unit is done from this very config and source, else None.

    The files that it lists must be there with their recorded sizes: a shard that was removed
    or cut short by hand is made again. One that was removed on purpose counts as there.
    """
    if not path.exists():
        return None
    try:
        ledger = read(path)
    except InputError:
        return None
    if (ledger.config, ledger.source) != (config, source):
        return None
    for entry in ledger.files:
        file = path.parent / entry.name
        if file.exists():
            if file.stat().st_size != entry.bytes:
                return None
        elif not is_removed(file, entry):
            return None
    return ledger


def removed(folder: Path) -> dict[str, File]:
    """The files that were removed from a folder on purpose, by name; InputError if unreadable."""
    path = folder / REMOVED
    try:
        data = json.loads(path.read_bytes())
        return {entry["name"]: File(**entry) for entry in data["files"]}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path}: not a list of removed files ({error})") from None


def is_removed(path: Path, entry: File) -> bool:
    """True if the file at `path`, as `entry` describes it, was removed on purpose."""
    found = removed(path.parent).get(path.name)
    return found is not None and (found.bytes, found.sha256) == (entry.bytes, entry.sha256)
