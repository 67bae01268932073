"""All blocks of a release -> its statistics, card, Croissant description, checksums, manifest."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from laion_hpc import __version__
from laion_hpc.config import Config, digest
from laion_hpc.errors import InputError
from laion_hpc.files import ledger
from laion_hpc.files.atomic import write_bytes
from laion_hpc.files.ledger import File, Ledger
from laion_hpc.files.tables import parquet_schema
from laion_hpc.stages.release import card, columns, croissant, shards, statistics, subsets
from laion_hpc.stages.release.json_text import encode

AGAIN = "run `release_block` again"

BLOCKS = "blocks"
STATISTICS = "statistics.json"
CARD = "README.md"
CROISSANT = "croissant.json"
CHECKSUMS = "SHA256SUMS"
COUNTS, HOSTS = ".counts.parquet", ".hosts.parquet"
"""Ends of the names of the blocks' tables of counts."""


def gather(
    release: Path, config: Config, *, blocks: int | None, threads: int = 1, memory: str = "4GB"
) -> Ledger:
    """Describe a release whose blocks are all made; return its manifest.

    `blocks`: the number there must be (None: those that are there). InputError if one is missing
    or was made with another config, or if a parquet file is in no block's ledger.
    """
    books = read_blocks(release, blocks, digest(config, "release"))
    files = block_files(release, books)
    _check_strays(release, files)
    counted = count_files(release, books)
    images = image_files(release, config, list(books))
    paths = [release / entry.name for entry in counted]
    written = describe(release, config, files, paths, images, threads=threads, memory=memory)
    book = ledger.total(
        books.values(),
        stage="release",
        unit="samples",
        config=digest(config, "release"),
        source=ledger.fingerprint(*(book.source for book in books.values())),
        files=(*files, *counted, *images, *written),
    )
    book.write(release / ledger.MANIFEST)
    return book


def describe(
    release: Path,
    config: Config,
    files: Sequence[File],
    counted: Sequence[Path],
    images: Sequence[File] = (),
    *,
    threads: int = 1,
    memory: str = "4GB",
) -> list[File]:
    """Write the statistics, card, Croissant description and checksums of a release.

    `counted`: the blocks' tables of counts, of the rows of the parts `files`.
    """
    with tempfile.TemporaryDirectory(dir=release, prefix=".statistics.") as scratch:
        numbers = statistics.compute(
            [path for path in counted if path.name.endswith(COUNTS)],
            [path for path in counted if path.name.endswith(HOSTS)],
            _datasets(files),
            heads=_heads(release, files),
            threads=threads,
            memory=memory,
            scratch=Path(scratch),
        )
    about = card.About(
        title=config.release.title,
        license=config.release.license,
        contact=config.release.contact,
        date_published=config.release.date_published,
        cite_as=config.release.cite_as,
        subsets={subset.name: subset.where for subset in config.release.subsets},
        statistics=numbers,
        version=__version__,
        digests={"release": digest(config, "release")},
        schemas=_schemas(release, files),
    )
    written = [
        _write(release / STATISTICS, encode({"version": __version__, "datasets": numbers})),
        _write(release / CARD, card.text(about).encode()),
        _write(release / CROISSANT, encode(croissant.describe(about))),
    ]
    sums = sorted((entry.name, entry.sha256) for entry in [*files, *images, *written])
    written.append(
        _write(release / CHECKSUMS, "".join(f"{sha}  {name}\n" for name, sha in sums).encode())
    )
    _remove_empty_folders(release)
    return written


def read_blocks(release: Path, blocks: int | None, config: str) -> dict[int, Ledger]:
    """The ledgers of all blocks by number, checked for gaps, leftovers and config."""
    found = {}
    for path in sorted((release / BLOCKS).glob("*.ledger.json")):
        name = path.name.removesuffix(".ledger.json")
        if not re.fullmatch(r"\d{4}", name):
            raise InputError(f"{path}: not a block of the release; remove it")
        found[int(name)] = ledger.read(path)
        if found[int(name)].config != config:
            raise InputError(
                f"{path}: this block was made with another config (digest "
                f"{found[int(name)].config or 'none'}, now {config}); run `release block` again"
            )
    expected = range(blocks) if blocks is not None else range(max(found, default=-1) + 1)
    if missing := [number for number in expected if number not in found]:
        raise InputError(
            f"{release / BLOCKS}: block {missing[0]:04d} is missing"
            + (f" and {len(missing) - 1} more" if missing[1:] else "")
            + "; run `release block` on it first"
        )
    if beyond := [number for number in found if number not in expected]:
        raise InputError(
            f"{release / BLOCKS}/{beyond[0]:04d}.ledger.json: the config has {blocks} blocks only; "
            "this one is of another run: remove the release folder and make it again"
        )
    if not found:
        raise InputError(f"{release / BLOCKS}: no ledger of a block; run `release block` first")
    return found


def block_files(release: Path, books: dict[int, Ledger]) -> list[File]:
    """All parquet parts, named relative to the release; InputError if one is not as recorded."""
    files = []
    for number, book in books.items():
        for entry in book.files:
            if entry.name.startswith("../"):
                name = entry.name.removeprefix("../")
                _check(release / name, entry, number)
                files.append(replace(entry, name=name))
    return sorted(files, key=lambda entry: entry.name)


def count_files(release: Path, books: dict[int, Ledger]) -> list[File]:
    """The tables of counts of all blocks, named likewise; InputError if a block has none."""
    files = []
    for number, book in books.items():
        own = [entry for entry in book.files if not entry.name.startswith("../")]
        if not own:
            raise InputError(
                f"{release / BLOCKS}/{number:04d}.ledger.json: lists no table of counts; "
                f"run `release block` on block {number:04d} again"
            )
        for entry in own:
            _check(release / BLOCKS / entry.name, entry, number)
            files.append(replace(entry, name=f"{BLOCKS}/{entry.name}"))
    return files


def _check(path: Path, entry: File, number: int) -> None:
    if not path.exists() or path.stat().st_size != entry.bytes:
        raise InputError(
            f"{path}: missing or different from its ledger; "
            f"run `release block` on block {number:04d} again"
        )


def image_files(release: Path, config: Config, blocks: Sequence[int]) -> list[File]:
    """The shards of images of all blocks, named relative to the release; the layout numbered.

    InputError if those of a block are missing or of another config.
    """
    if not config.release.has_images:
        for folder in (shards.IMAGES, shards.LAYOUT, shards.LEDGERS):
            shutil.rmtree(release / folder, ignore_errors=True)
        return []
    books = []
    for number in blocks:
        path = shards.ledger_path(release, number)
        books.append(ledger.read(path))
        if books[-1].config != digest(config, "release"):
            raise InputError(f"{path}: made with another config; run `release images` again")
    found = shards.number_layout(release, books)
    for book in books:
        for entry in book.files:
            name = entry.name.removeprefix("../")
            if name.startswith(f"{shards.IMAGES}/"):
                found.append(replace(entry, name=name))
    return found


def _check_strays(release: Path, files: Sequence[File]) -> None:
    known = {entry.name for entry in files}
    for pattern in ("laion-*/*.parquet", f"{subsets.FOLDER}/*/*.parquet"):
        for path in sorted(release.glob(pattern)):
            if path.relative_to(release).as_posix() not in known:
                raise InputError(f"{path}: this file is in no block's ledger; remove it")


def _datasets(files: Sequence[File]) -> list[str]:
    """The splits, and the folders of all subsets that have rows."""
    folders = sorted({entry.name.rpartition("/")[0] for entry in files})
    return [*columns.SPLITS.values(), *(f for f in folders if f.startswith(f"{subsets.FOLDER}/"))]


def _heads(release: Path, files: Sequence[File]) -> list[str]:
    """The columns of scores of the joined files; InputError if they differ."""
    found: list[str] = []
    first = ""
    for entry in files:
        if not entry.name.partition("/")[0].endswith("-joined"):
            continue
        names = parquet_schema(release / entry.name, AGAIN).names
        tags = names[names.index("hash") + 1 : names.index("key")]
        if first and tags != found:
            raise InputError(
                f"{entry.name} has the tags {tags}, {first} has {found}: "
                "tag all blocks with the same heads"
            )
        found, first = tags, first or entry.name
    return [name for name in found if name != "nsfw"]


def _schemas(release: Path, files: Sequence[File]) -> dict[str, Any]:
    """The schema of every folder that holds files: the splits, then the subsets."""
    first: dict[str, str] = {}
    for entry in files:
        first.setdefault(entry.name.rpartition("/")[0], entry.name)
    splits = [name + kind for name in columns.SPLITS.values() for kind in ("", "-joined")]
    order = [folder for folder in splits if folder in first]
    order += [folder for folder in first if folder not in splits]
    return {folder: parquet_schema(release / first[folder], AGAIN) for folder in order}


def _write(path: Path, data: bytes) -> File:
    write_bytes(path, data)
    return ledger.describe(path, rows=0)


def _remove_empty_folders(release: Path) -> None:
    """Folders of subsets that are no longer in the config."""
    for folder in [*release.glob("laion-*"), *release.glob(f"{subsets.FOLDER}/*")]:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
