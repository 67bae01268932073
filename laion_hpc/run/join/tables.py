"""The tables of a join: which files there are, and which of their columns matter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from laion_hpc.errors import InputError, UsageError
from laion_hpc.files.tables import parquet_schema

HASH = "hash"

KNOWN = {"punsafe": "punsafe", "prediction": "punsafe", "pwatermark": "pwatermark"} | {
    "aesthetic": "aesthetic"
}
"""Columns of LAION's tag collections -> ours. `prediction` is punsafe in laion2B-en-safety …"""

_URLS = ("URL", "url")
_TEXTS = ("TEXT", "caption", "text")


@dataclass(frozen=True)
class Samples:
    """The left side: files that share a schema."""

    files: tuple[Path, ...]
    schema: pa.Schema
    url: str | None
    text: str | None

    @property
    def has_hash(self) -> bool:
        """Whether the join key is there already."""
        return HASH in self.schema.names


@dataclass(frozen=True)
class Tags:
    """Files of tags that have the same columns."""

    files: tuple[Path, ...]
    columns: dict[str, str]
    """Theirs -> ours."""


def files_of(path: Path) -> list[Path]:
    """A parquet file, or those of a folder (of all levels), in the order of their names."""
    found = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
    # Scratch files and unfinished ones begin with a dot.
    found = [f for f in found if not any(p.startswith(".") for p in f.relative_to(path).parts)]
    if not found:
        raise InputError(f"{path}: holds no .parquet file")
    return found


def samples_in(path: Path) -> Samples:
    """The left side; InputError if its files differ in columns or have no key."""
    files = files_of(path)
    schema = parquet_schema(files[0])
    for file in files[1:]:
        other = parquet_schema(file)
        if not other.equals(schema):
            raise InputError(f"{file}: has other columns than {files[0]}; join them one by one")
    url, text = (next((n for n in names if n in schema.names), None) for names in (_URLS, _TEXTS))
    if HASH in schema.names:
        if schema.field(HASH).type != pa.int64():
            raise InputError(f"{files[0]}: hash is {schema.field(HASH).type}, expected int64")
    elif url is None or text is None:
        raise InputError(
            f"{files[0]}: has neither hash nor URL and TEXT to compute it from; it has "
            f"{', '.join(schema.names)}"
        )
    return Samples(tuple(files), schema, url, text)


def tags_in(paths: Sequence[Path], wanted: Sequence[str]) -> list[Tags]:
    """The right sides, files with the same columns together; `wanted`: THEIRS or THEIRS=OURS.

    InputError or UsageError if a file has no hash or no tags, or two collections the same column.
    """
    names = KNOWN
    if wanted:
        pairs = [name.partition("=") for name in wanted]
        names = {theirs: ours or theirs for theirs, _, ours in pairs}
    groups: dict[tuple[tuple[str, str], ...], list[Path]] = {}
    for path in paths:
        for file in files_of(path):
            groups.setdefault(_columns(file, names), []).append(file)
    seen: dict[str, Path] = {}
    for columns, files in groups.items():
        for _, ours in columns:
            if ours in seen:
                raise UsageError(
                    f"{files[0]} and {seen[ours]}: both have {ours}, but not the same columns; "
                    "give one of them, or choose with --column"
                )
            seen[ours] = files[0]
    absent = {ours for ours in names.values() if ours not in seen}
    if wanted and absent:
        raise UsageError(f"--column {sorted(absent)[0]}: no file of tags has it")
    return [Tags(tuple(files), dict(columns)) for columns, files in groups.items()]


def _columns(file: Path, names: dict[str, str]) -> tuple[tuple[str, str], ...]:
    schema = parquet_schema(file)
    if HASH not in schema.names or not pa.types.is_integer(schema.field(HASH).type):
        raise InputError(f"{file}: no column hash of integers; it has {', '.join(schema.names)}")
    columns = tuple((theirs, names[theirs]) for theirs in schema.names if theirs in names)
    if not columns:
        raise InputError(
            f"{file}: none of the columns {', '.join(names)}; it has {', '.join(schema.names)}"
        )
    for theirs, ours in columns:
        kind = schema.field(theirs).type
        if not (pa.types.is_floating(kind) or pa.types.is_integer(kind)):
            raise InputError(f"{file}: {theirs} is {kind}, expected a number")
        if [o for _, o in columns].count(ours) > 1:
            raise UsageError(f"{file}: two of its columns would be called {ours}; use --column")
    return columns


def joined_schema(samples: Samples, tags: Sequence[Tags]) -> pa.Schema:
    """The samples' columns, hash if they have none, and the tags as float32.

    UsageError if a tag would be called, up to case, as a column that is there.
    """
    fields = [] if samples.has_hash else [pa.field(HASH, pa.int64())]
    fields += [pa.field(ours, pa.float32()) for tag in tags for ours in tag.columns.values()]
    schema = samples.schema
    taken = {name.lower() for name in schema.names}
    for field in fields:
        if field.name.lower() in taken:
            raise UsageError(
                f"{samples.files[0]}: has a column {field.name} already; rename the tags' with "
                f"--column {field.name}={field.name}_laion"
            )
        schema = schema.append(field)
    return schema
