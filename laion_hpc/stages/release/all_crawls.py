"""The releases of several crawls -> one release over all of them, without a copy of the data."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from laion_hpc.config import Config, digest
from laion_hpc.errors import InputError, UsageError
from laion_hpc.files import ledger
from laion_hpc.files.ledger import File, Ledger
from laion_hpc.stages.release.gather import BLOCKS, describe
from laion_hpc.stages.release.subsets import FOLDER


def together(
    releases: Sequence[Path], output: Path, config: Config, *, threads: int = 1, memory: str = "4GB"
) -> Ledger:
    """Link the parts of all releases into `output` and describe them as one; its manifest.

    `releases` are the `release` folders of crawls (results/CRAWL/release). A part is called
    CRAWL-part-0007-000.parquet here. The links are hard if the file system has them, else
    relative symbolic ones. Statistics are over all rows, from the counts of all blocks.
    InputError if a release is missing, changed, or of another config.
    """
    names = [path.resolve().parent.name for path in releases]
    if len(set(names)) < len(names):
        raise UsageError("releases of the same crawl: give each once")
    books, files, counted = [], [], []
    for crawl, release in zip(names, releases, strict=True):
        path = release / ledger.MANIFEST
        books.append(ledger.read(path))
        if books[-1].config != digest(config, "release"):
            raise InputError(f"{path}: made with another config; run `release gather` again")
        files += [_linked(crawl, release, entry, output) for entry in _parts(books[-1])]
        counted += [release / one.name for one in books[-1].files if _is_counted(one)]
    files.sort(key=lambda entry: entry.name)
    _remove_others(output, {entry.name for entry in files})
    output.mkdir(parents=True, exist_ok=True)
    written = describe(output, config, files, counted, threads=threads, memory=memory)
    book = ledger.total(
        books,
        source=ledger.fingerprint(*(book.source for book in books)),
        files=(*files, *written),
    )
    book.write(output / ledger.MANIFEST)
    return book


def _parts(book: Ledger) -> list[File]:
    """The parquet parts of splits and subsets; shards of images stay with their crawl."""
    return [
        entry
        for entry in book.files
        if entry.name.endswith(".parquet")
        and not _is_counted(entry)
        and (entry.name.count("/") == 1 or entry.name.startswith(f"{FOLDER}/"))
    ]


def _is_counted(entry: File) -> bool:
    return entry.name.startswith(f"{BLOCKS}/")


def _linked(crawl: str, release: Path, entry: File, output: Path) -> File:
    source = release / entry.name
    if not source.exists() or source.stat().st_size != entry.bytes:
        raise InputError(f"{source}: missing or different from its manifest; run `release` again")
    folder, _, part = entry.name.rpartition("/")
    target = output / folder / f"{crawl}-{part}"
    target.parent.mkdir(parents=True, exist_ok=True)
    if not (target.exists() and target.samefile(source)):
        target.unlink(missing_ok=True)
        try:
            target.hardlink_to(source.resolve())
        except OSError:
            target.symlink_to(os.path.relpath(source.resolve(), target.parent.resolve()))
    return replace(entry, name=target.relative_to(output).as_posix())


def _remove_others(output: Path, names: set[str]) -> None:
    for pattern in ("laion-*/*.parquet", f"{FOLDER}/*/*.parquet"):
        for path in output.glob(pattern):
            if path.relative_to(output).as_posix() not in names:
                path.unlink()
