"""One block of embedded and tagged samples -> its parts of the splits and of the subsets."""

from __future__ import annotations

import json
import os
import tempfile
from collections import Counter
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from laion_hpc.config.sections import ReleaseConfig
from laion_hpc.errors import InputError, UsageError
from laion_hpc.files import ledger
from laion_hpc.files.ledger import File, Ledger
from laion_hpc.files.schemas import TAGS
from laion_hpc.files.tables import parquet_footer, read_parquet
from laion_hpc.runtime.progress import progress
from laion_hpc.stages.release import columns, predicates, subsets
from laion_hpc.stages.release.block_counts import Counting
from laion_hpc.stages.release.part_files import PartsWriter

UNIT = "samples"
FORMAT = "with counts"
"""Format of a block's outputs: outputs of another format are made again."""


@dataclass(frozen=True)
class TableBlock:
    """One job: the block, its output, its config."""

    number: int
    release: Path
    ledger: Path
    config: ReleaseConfig
    digest: str
    threads: int = 1

    def beside(self, name: str) -> Path:
        """A file of the block beside its ledger: `0007.NAME`."""
        return self.ledger.with_name(f"{self.number:04d}.{name}")


def make_block(embeddings: Path, tags: Path, block: TableBlock) -> Ledger:
    """Write a block's parts of all splits and subsets; return its ledger (unit: samples).

    It writes nothing if this is done already from the same inputs and config. It removes other
    parts, of an earlier attempt. InputError if embeddings and tags are not of the same samples in
    the same order.
    """
    listed = metadata_files(embeddings)
    sources = list(listed)
    source = _source(listed, tags)
    done = ledger.finished(block.ledger, config=block.digest, source=source)
    if done is not None:
        return done
    tagged = _read_tags(tags)
    wide = columns.wide_schema(tagged.schema)
    if wrong := list(predicates.faults(block.config.subsets, wide)):
        raise UsageError("\n".join(wrong))
    keep = columns.first_of_each(tagged["hash"].to_numpy())
    counts = _count_classes(sources, tags, keep)

    block.ledger.unlink(missing_ok=True)
    tables = (block.beside("counts.parquet"), block.beside("hosts.parquet"))
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(block.threads)) if block.threads > 1 else None
        scratch = stack.enter_context(
            tempfile.TemporaryDirectory(dir=_made(block.ledger.parent), prefix=".counting.")
        )
        where = {f"{subsets.FOLDER}/{subset.name}": subset.where for subset in block.config.subsets}
        heads = columns.head_names(tagged.schema)
        counting = stack.enter_context(Counting(where, heads, Path(scratch)))
        parts = _write_splits(sources, tagged, tags, keep, wide, counts, block, counting, pool)
        of_subsets = subsets.write(
            block.config.subsets,
            _joined(parts, block.release),
            counting,
            wide,
            block=block.number,
            release=block.release,
            rows_per_part=block.config.rows_per_part,
            pool=pool,
        )
        counting.write(*tables)
    parts += [part for made in of_subsets.values() for part in made]
    _remove_stale(block, {path for path, _ in parts})

    kept = sum(counts.values())
    in_subset = {name: sum(rows for _, rows in made) for name, made in of_subsets.items()}
    book = Ledger(
        stage="release",
        unit=UNIT,
        inputs=len(keep),
        kept=kept,
        dropped={"duplicate_hash": len(keep) - kept},
        config=block.digest,
        source=source,
        counts={"class": dict(sorted(counts.items())), "subset": in_subset},
        files=(
            *(_entry(path, rows, block.ledger.parent) for path, rows in parts),
            *(ledger.describe(path, rows=parquet_footer(path).num_rows) for path in tables),
        ),
    )
    book.write(block.ledger)
    return book


def metadata_files(embeddings: Path) -> dict[Path, File | None]:
    """The metadata tables of an embedded block in order, as its manifest lists them.

    Without a manifest (another tool made the embeddings) they are the tables that are there, with
    None for the entry. InputError if one is missing.
    """
    if (embeddings / ledger.MANIFEST).exists():
        listed = ledger.read(embeddings / ledger.MANIFEST).files
        found: dict[Path, File | None] = {
            embeddings / entry.name: entry
            for entry in sorted(listed, key=lambda entry: entry.name)
            if entry.name.startswith("metadata/") and entry.name.endswith(".parquet")
        }
        for path, entry in found.items():
            if entry and (not path.exists() or path.stat().st_size != entry.bytes):
                raise InputError(
                    f"{path}: missing or different from its manifest; run `embed` again"
                )
        return found
    folder = embeddings / "metadata"
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; is {embeddings} an output of `embed`?")
    return dict.fromkeys(sorted(folder.glob("metadata_*.parquet")))


def _source(files: dict[Path, File | None], tags: Path) -> str:
    """Fingerprint of all inputs; it takes the checksums that the block's manifest records."""
    if not tags.exists():
        raise InputError(f"{tags}: no such file; has `tag` run on this block?")
    known = (entry.sha256 if entry else path for path, entry in files.items())
    return ledger.fingerprint(FORMAT, *known, tags)


def _read_tags(path: Path) -> pa.Table:
    table = read_parquet(path, "run `tag` again")
    for field in TAGS:
        if (
            field.name not in table.schema.names
            or table.schema.field(field.name).type != field.type
        ):
            raise InputError(f"{path}: no column {field.name} of type {field.type}: not tags")
    return table


def _count_classes(files: list[Path], tags: Path, keep: np.ndarray[Any, Any]) -> Counter[str]:
    """Released rows per language class, from that one column: even parts need the number first."""
    counts: Counter[str] = Counter(dict.fromkeys(columns.SPLITS, 0))
    row = 0
    for file in files:
        classes = _read_samples(file, ["language_class"])["language_class"]
        mask = pa.array(keep[row : row + len(classes)])
        row += len(classes)
        if len(mask) == len(classes):
            for entry in pc.value_counts(classes.filter(mask)).to_pylist():
                counts[entry["values"]] += entry["counts"]
    if row != len(keep):
        raise InputError(
            f"{tags}: {len(keep)} tags for {row} embeddings in {files[0].parent if files else '?'}:"
            " not of the same block; run `tag` again"
        )
    if unknown := counts.keys() - columns.SPLITS.keys():
        raise InputError(f"{files[0].parent}: unknown language_class {sorted(unknown)[0]!r}")
    return counts


def _read_samples(file: Path, names: list[str]) -> pa.Table:
    return read_parquet(file, "run `embed` again", columns=names)


def _write_splits(
    files: list[Path],
    tagged: pa.Table,
    tags: Path,
    keep: np.ndarray[Any, Any],
    wide: pa.Schema,
    counts: Counter[str],
    block: TableBlock,
    counting: Counting,
    pool: Executor | None,
) -> list[tuple[Path, int]]:
    """The base and the joined parts of every split, in one pass over the rows."""
    writers: dict[tuple[str, str], PartsWriter] = {}
    with ExitStack() as stack:
        for name, split in columns.SPLITS.items():
            for folder, schema, seen in (
                (split, columns.base_schema(split), None),
                (f"{split}-joined", columns.joined_schema(wide, split), counting.of(split)),
            ):
                writers[name, folder] = stack.enter_context(
                    PartsWriter(
                        block.release / folder,
                        block=block.number,
                        rows=counts[name],
                        schema=schema,
                        rows_per_part=block.config.rows_per_part,
                        pool=pool,
                        seen=seen,
                    )
                )
        row = 0
        with progress(f"release {block.number:04d}", len(files), "tables") as shown:
            for file in files:
                samples = _read_samples(file, columns.READ)
                own_tags = tagged.slice(row, samples.num_rows)
                if not samples["key"].equals(own_tags["key"]):
                    raise InputError(
                        f"{tags}: its keys are not those of {file}, row by row; run `tag` again"
                    )
                rows = columns.join(samples, own_tags, wide)
                kept = pa.array(keep[row : row + samples.num_rows])
                for split_class in columns.SPLITS:
                    chosen = rows.filter(
                        pc.and_(kept, pc.equal(rows["language_class"], split_class))
                    )
                    for (name, _), writer in writers.items():
                        if name == split_class and chosen.num_rows:
                            writer.write(chosen)
                row += samples.num_rows
                shown.advance()
    return [part for writer in writers.values() for part in writer.parts]


def _joined(parts: list[tuple[Path, int]], release: Path) -> dict[str, list[Path]]:
    """The joined parts by split."""
    return {
        split: [path for path, _ in parts if path.parent == release / f"{split}-joined"]
        for split in columns.SPLITS.values()
    }


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _remove_stale(block: TableBlock, made: set[Path]) -> None:
    for pattern in ("laion-*", "subsets/*"):
        for path in block.release.glob(f"{pattern}/part-{block.number:04d}-*.parquet"):
            if path not in made:
                path.unlink()


def _entry(path: Path, rows: int, folder: Path) -> File:
    """A file's entry, its name relative to the ledger's folder: `../laion-en/part-….parquet`."""
    entry = ledger.describe(path, rows=rows)
    return replace(entry, name=Path(os.path.relpath(path, folder)).as_posix())


def summary(book: Ledger, number: int) -> str:
    """One line on a finished block."""
    return f"release {number:04d}: {book.kept} of {book.inputs} samples; " + json.dumps(
        {**book.counts["class"], **book.counts["subset"]}
    )
