"""Removing large files that verified others have replaced, so that every tool knows of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from laion_hpc.errors import InputError
from laion_hpc.files import ledger
from laion_hpc.files.atomic import write_bytes


def verify(manifest: Path) -> None:
    """InputError unless the files that a ledger lists have its sizes and SHA-256."""
    for entry in ledger.read(manifest).files:
        file = manifest.parent / entry.name
        if not file.exists() or (
            ledger.describe(file, rows=entry.rows, root=manifest.parent) != entry
        ):
            raise InputError(
                f"{file}: is not what {manifest} lists; remove it and run the command again"
            )


def remove(folder: Path, names: Sequence[str]) -> int:
    """Remove files that the folder's manifest lists; returns the bytes that this frees.

    `removed.json` names them with size and SHA-256 before the first one goes: a kill
    leaves nothing unexplained. A file that is not what the manifest lists is not touched
    (InputError). Removing again what is removed does nothing.
    """
    listed = {entry.name: entry for entry in ledger.read(folder / ledger.MANIFEST).files}
    known = ledger.removed(folder)
    going = []
    for name in sorted(names):
        entry, file = listed[name], folder / name
        if not file.exists():
            continue
        if file.stat().st_size != entry.bytes:
            raise InputError(f"{file}: has not the size in {folder / ledger.MANIFEST}; not removed")
        known[name] = entry
        going.append(file)
    if not going:
        return 0
    data = {"files": [asdict(known[name]) for name in sorted(known)]}
    write_bytes(
        folder / ledger.REMOVED, (json.dumps(data, indent=1, sort_keys=True) + "\n").encode()
    )
    freed = sum(listed[file.name].bytes for file in going)
    for file in going:
        file.unlink()
    return freed
