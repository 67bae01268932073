"""Images and embeddings of a selection, cut into full shards of their own, block by block.

`images/NAME/` has the samples of a subset: `0007-00012.tar` + `.parquet` as `filter` writes them,
and img_emb, text_emb and metadata with the same rows, as `embed` writes them. With
`laion400m_layout` all released samples are also written in LAION-400M's layout (`layout`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from laion_hpc.config.sections import ReleaseConfig
from laion_hpc.errors import InputError
from laion_hpc.files import ledger
from laion_hpc.files.atomic import atomic
from laion_hpc.files.ledger import File, Ledger
from laion_hpc.files.shards import Sample, ShardWriter, names_in, read_shard
from laion_hpc.files.tables import open_embeddings, read_parquet
from laion_hpc.runtime.progress import progress

IMAGES = "images"
LAYOUT = "laion-400m-layout"
LEDGERS = "image-blocks"

LAION400M = pa.schema(
    [
        pa.field("key", pa.string()),
        pa.field("url", pa.string()),
        pa.field("caption", pa.string()),
        pa.field("NSFW", pa.string()),
        pa.field("similarity", pa.float64()),
        pa.field("LICENSE", pa.string()),
        pa.field("status", pa.string()),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("original_width", pa.int32()),
        pa.field("original_height", pa.int32()),
        pa.field("sha256", pa.string()),
    ]
)
"""Columns of LAION-400M's tables, for its readers."""


@dataclass(frozen=True)
class ImageBlock:
    """One block of the release, and the folders of its images and embeddings."""

    number: int
    release: Path
    filtered: Path
    embedded: Path
    config: ReleaseConfig
    samples_per_shard: int
    digest: str

    @property
    def ledger(self) -> Path:
        """Digest of all that is made of the block."""
        return ledger_path(self.release, self.number)


def ledger_path(release: Path, block: int) -> Path:
    """The path of the ledger of a block's images."""
    return release / LEDGERS / f"{block:04d}.ledger.json"


def make_block(block: ImageBlock) -> Ledger:
    """Write the images and embeddings of a block that the config names; return its ledger.

    InputError if the block is not released, or a released sample has no image or no embedding.
    """
    released = ledger.read(block.release / "blocks" / f"{block.number:04d}.ledger.json")
    manifests = [folder / ledger.MANIFEST for folder in (block.filtered, block.embedded)]
    source = ledger.fingerprint(
        *(entry.sha256 for entry in released.files),
        *(entry.sha256 for path in manifests for entry in ledger.read(path).files),
    )
    done = ledger.finished(block.ledger, config=block.digest, source=source)
    if done is not None:
        return done
    block.ledger.unlink(missing_ok=True)
    made: list[tuple[Path, int]] = []
    counts = {}
    for name, keys, form in _selections(block, released):
        written = _reshard(block, keys, form)
        counts[name] = len(keys)
        made += written
    _remove_stale(block, {path for path, _ in made})
    total = sum(counts.values())
    book = Ledger(
        stage="release",
        unit="images",
        inputs=total,
        kept=total,
        config=block.digest,
        source=source,
        counts={"images": counts},
        files=tuple(_entry(path, rows, block.ledger.parent) for path, rows in made),
    )
    book.write(block.ledger)
    return book


@dataclass(frozen=True)
class _Form:
    """How a selection is written."""

    folder: Path
    """Folder of the tars and their tables."""
    embeddings: Path
    """Folder of img_emb, text_emb and metadata."""
    prefix: str
    sample: Callable[[Sample, dict[str, Any], int], Sample]
    """A sample for the new tar, from its row and its place in the shard."""
    table: Callable[[pa.Table], pa.Table]


def _selections(block: ImageBlock, released: Ledger) -> Iterator[tuple[str, set[str], _Form]]:
    for subset in block.config.subsets:
        if subset.images:
            folder = block.release / IMAGES / subset.name
            keys = _keys(block, released, f"subsets/{subset.name}/")
            form = _Form(
                folder, folder, f"{block.number:04d}-", lambda s, _row, _n: s, lambda table: table
            )
            yield subset.name, keys, form
    if block.config.laion400m_layout:
        folder = block.release / LAYOUT / "blocks" / f"{block.number:04d}"
        form = _Form(folder, folder, "", _numbered_sample, _numbered_table)
        yield LAYOUT, _keys(block, released, "-joined/"), form


def _keys(block: ImageBlock, released: Ledger, part: str) -> set[str]:
    keys: set[str] = set()
    for entry in released.files:
        if part in entry.name:
            path = block.release / "blocks" / entry.name
            keys.update(
                read_parquet(path, "run `release_block` again", columns=["key"])["key"].to_pylist()
            )
    return keys


def _numbered_sample(sample: Sample, row: dict[str, Any], number: int) -> Sample:
    """Keys count from 0 in every shard: a reader of LAION-400M finds the row by this number."""
    members = {name: data for name, data in sample.members.items() if name != "json"}
    numbered = _numbered_row(row, number)
    return Sample(f"{number:05d}", members | {"json": json.dumps(numbered).encode()})


def _numbered_row(row: dict[str, Any], number: int) -> dict[str, Any]:
    named = row | {"key": f"{number:05d}", "NSFW": row["nsfw"], "LICENSE": row["license"]}
    return {name: named[name] for name in LAION400M.names}


def _numbered_table(table: pa.Table) -> pa.Table:
    rows = [_numbered_row(row, number) for number, row in enumerate(table.to_pylist())]
    return pa.Table.from_pylist(rows, schema=LAION400M)


class _Writer:
    """Full shards of samples with their rows and embeddings, one after the other."""

    def __init__(self, form: _Form, size: int) -> None:
        self.made: list[tuple[Path, int]] = []
        self._form, self._size = form, size
        self._number = self._count = 0
        self._open = ExitStack()
        self._tar: ShardWriter | None = None
        self._rows: list[pa.Table] = []
        self._vectors: tuple[list[Any], list[Any]] = ([], [])

    def add(self, sample: Sample, row: pa.Table, image: Any, text: Any) -> None:
        """Append a sample: its row (a table of one) and its two vectors."""
        if self._tar is None:
            path = self._form.folder / f"{self._name}.tar"
            self._tar = self._open.enter_context(
                ShardWriter(self._open.enter_context(atomic(path)))
            )
        self._tar.add(self._form.sample(sample, row.to_pylist()[0], self._count))
        self._rows.append(row)
        for vectors, vector in zip(self._vectors, (image, text), strict=True):
            vectors.append(np.array(vector))
        self._count += 1
        if self._count == self._size:
            self.flush()

    @property
    def _name(self) -> str:
        return f"{self._form.prefix}{self._number:05d}"

    def flush(self) -> None:
        """Finish the shard that is open, if any."""
        if self._tar is None:
            return
        self._open.close()
        name, form = self._name, self._form
        table = form.table(pa.concat_tables(self._rows).combine_chunks())
        tables = (
            form.folder / f"{name}.parquet",
            form.embeddings / "metadata" / f"metadata_{name}.parquet",
        )
        for path in tables:
            with atomic(path) as aside:
                pq.write_table(table, aside, compression="zstd")
        vectors = []
        for kind, values in zip(("img_emb", "text_emb"), self._vectors, strict=True):
            vectors.append(form.embeddings / kind / f"{kind}_{name}.npy")
            with atomic(vectors[-1]) as aside, aside.open("wb") as stream:
                np.save(stream, np.ascontiguousarray(np.stack(values)))
        paths = (form.folder / f"{name}.tar", *tables, *vectors)
        self.made += [(path, self._count) for path in paths]
        self._number, self._count = self._number + 1, 0
        self._tar, self._rows, self._vectors = None, [], ([], [])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.flush()
        self._open.__exit__(kind, error, trace)


def _reshard(block: ImageBlock, keys: set[str], form: _Form) -> list[tuple[Path, int]]:
    """Write the samples with these keys, in the order of the filtered shards."""
    left = set(keys)
    names = names_in(ledger.read(block.filtered / ledger.MANIFEST))
    with (
        _Writer(form, block.samples_per_shard) as writer,
        progress(f"images {block.number:04d}", len(names), "shards") as shown,
    ):
        for name in names:
            for sample, row, image, text in _shard(block, name, left):
                left.discard(sample.key)
                writer.add(sample, row, image, text)
            shown.advance()
    if left:
        raise InputError(
            f"{block.filtered}, {block.embedded}: no image and embedding of the released sample "
            f"{min(left)}; run `embed` and `release block` on this block again"
        )
    return writer.made


def _shard(
    block: ImageBlock, name: str, keys: set[str]
) -> Iterator[tuple[Sample, pa.Table, Any, Any]]:
    metadata = block.embedded / f"metadata/metadata_{name}.parquet"
    if not metadata.exists():  # a shard without an embedding has none
        return
    embedded = read_parquet(metadata, "run `embed` again", columns=["image_path"])[
        "image_path"
    ].to_pylist()
    places = {key: place for place, key in enumerate(embedded) if key in keys}
    if not places:
        return
    table = read_parquet(block.filtered / f"{name}.parquet", "run `filter` again")
    table = table.filter(pc.is_in(table["key"], pa.array(list(places)))).combine_chunks()
    rows = {key: number for number, key in enumerate(table["key"].to_pylist())}
    images, texts = (
        open_embeddings(block.embedded / kind / f"{kind}_{name}.npy")
        for kind in ("img_emb", "text_emb")
    )
    for sample in read_shard(block.filtered / f"{name}.tar"):
        if sample.key in places and sample.key in rows:
            place = places[sample.key]
            yield sample, table.slice(rows[sample.key], 1), images[place], texts[place]


def _remove_stale(block: ImageBlock, made: set[Path]) -> None:
    """Remove other files of this block, from an earlier run."""
    number = f"{block.number:04d}"
    found = [*(block.release / IMAGES).rglob(f"*{number}-[0-9][0-9][0-9][0-9][0-9].*")]
    found += (block.release / LAYOUT / "blocks" / number).rglob("*.*")
    for path in found:
        if path.is_file() and path not in made:
            path.unlink()


def _entry(path: Path, rows: int, folder: Path) -> File:
    entry = ledger.describe(path, rows=rows)
    return replace(entry, name=Path(os.path.relpath(path, folder)).as_posix())


def number_layout(release: Path, books: Sequence[Ledger]) -> list[File]:
    """Link the blocks' shards under one numbering over all of them, as LAION-400M's readers count.

    Returns the files, named relative to the release. Links are hard if the file system has
    them: no file takes space twice.
    """
    layout = release / LAYOUT
    files: dict[str, File] = {}
    number = -1
    for book in books:
        entries = [entry for entry in book.files if f"{LAYOUT}/blocks/" in entry.name]
        tars = sorted(entry.name for entry in entries if entry.name.endswith(".tar"))
        numbers = {Path(name).stem: number + 1 + n for n, name in enumerate(tars)}
        number += len(tars)
        for entry in entries:
            path = Path(entry.name)
            shard = path.stem.rpartition("_")[2]
            target = _numbered(path, numbers[shard])
            source = release / LEDGERS / entry.name
            _link(source.resolve(), layout / target)
            files[target] = replace(entry, name=f"{LAYOUT}/{target}")
    for path in [*layout.glob("images/*"), *layout.glob("embeddings/*/*")]:
        if path.relative_to(layout).as_posix() not in files:
            path.unlink()
    return sorted(files.values(), key=lambda entry: entry.name)


def _numbered(path: Path, number: int) -> str:
    if path.parent.name in ("img_emb", "text_emb", "metadata"):
        kind = path.stem.rpartition("_")[0]
        return f"embeddings/{path.parent.name}/{kind}_{number}{path.suffix}"
    return f"images/{number:05d}{path.suffix}"


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        target.hardlink_to(source)
    except OSError:
        target.symlink_to(os.path.relpath(source, target.parent))
