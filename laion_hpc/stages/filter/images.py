"""Finds the images of candidates: in the downloaded tars, or in the shards kept before."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from laion_hpc.errors import InputError
from laion_hpc.files import ledger
from laion_hpc.files.tables import read_parquet

EARLIER = "earlier"
"""Folder of a block's earlier kept shards, while new ones are made from them."""
WHOLE = "complete"
"""Empty file in it: all of them are there."""
OBSOLETE = "obsolete"
"""The name of that folder during its removal."""

Kept = Mapping[str, list[tuple[Path, pa.Array]]]
"""For a downloaded shard: the tars of kept shards that hold samples of it, with their keys."""


def removed(source: Path, shards: list[str]) -> list[str]:
    """The downloaded shards whose tar was removed on purpose."""
    gone = ledger.removed(source)
    return [
        shard
        for shard in shards
        if f"{shard}.tar" in gone and not (source / f"{shard}.tar").exists()
    ]


def kept_before(output: Path) -> Kept:
    """The samples of the block's kept shards; after an interrupted cut, of those set aside."""
    if (output / EARLIER).is_dir():
        set_aside(output)
    found: dict[str, list[tuple[Path, pa.Array]]] = {}
    folder = output / EARLIER if (output / EARLIER).is_dir() else output
    for path in sorted(folder.glob("[0-9]*.parquet")):
        keys = read_parquet(path, "run `filter` again", columns=["key"])["key"].combine_chunks()
        # A key ends in SHARD-INDEX.
        shards = pc.list_element(pc.split_pattern(keys, "-", max_splits=2, reverse=True), 1)
        for shard in pc.unique(shards).to_pylist():
            mine = keys.filter(pc.equal(shards, shard))
            found.setdefault(shard, []).append((path.with_suffix(".tar"), mine))
    return found


def suffice(kept: Kept, shard: str, wanted: pa.ChunkedArray) -> bool:
    """True if the kept shards hold the images of all these keys of a downloaded shard."""
    parts = [keys for _, keys in kept.get(shard, [])]
    have = pa.chunked_array(parts, pa.string())
    return bool(pc.all(pc.is_in(wanted, have), min_count=0).as_py())


def set_aside(output: Path) -> Path:
    """Move the kept shards of a block out of the way of new ones; returns their folder.

    A call after a kill goes on. Once all are moved, the shards in `output` are new and stay.
    """
    earlier = output / EARLIER
    earlier.mkdir(exist_ok=True)
    if not (earlier / WHOLE).exists():
        for path in output.glob("[0-9]*.ledger.json"):
            path.unlink()
        for path in [*output.glob("[0-9]*.tar"), *output.glob("[0-9]*.parquet")]:
            path.rename(earlier / path.name)
        (earlier / WHOLE).touch()
    return earlier


def forget(output: Path) -> None:
    """Remove the shards set aside, once the new ones are complete."""
    # A half-removed folder must not look like a half-filled one.
    if (output / OBSOLETE).is_dir():
        shutil.rmtree(output / OBSOLETE)
    if (output / EARLIER).is_dir():
        (output / EARLIER).rename(output / OBSOLETE)
        shutil.rmtree(output / OBSOLETE)


def missing(source: Path, shard: str, why: str) -> InputError:
    """The error for an image that is needed, but was removed and not kept."""
    return InputError(
        f"{source / shard}.tar: it was removed when its block was filtered "
        f"(keep.candidate_images: false), and {why}; restore the config, or remove "
        f"{source / ledger.REMOVED} and {source / ledger.MANIFEST} and run `download` of this "
        "block again"
    )
