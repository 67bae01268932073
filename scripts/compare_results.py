"""Say in what two results folders differ: a run before a change of the software, and one after it.

  python scripts/compare_results.py BEFORE AFTER [--allow COLUMN ...]

Tars, .npy files, indices and `seen` filters must have the same bytes. Tables must have the same
values in all columns; a column named by --allow may be there in one of them only. Ledgers must
agree in all but what tells how the files were made: the digests of config and source, the sums and
sizes of the files. Texts, charts, logs and times may differ, and are not read.

Exit code: 0 the same, 1 different, 2 a folder is missing.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

SAME_BYTES = (".tar", ".npy", ".index", ".ivfdata", ".seen")
TABLES = (".parquet", ".arrow")
MADE_HOW = frozenset(["config", "source", "about"])
"""Fields of a ledger that hold digests of how it was made."""


def is_ledger(path: Path) -> bool:
    """True for what every stage writes about its outputs."""
    return path.name == "manifest.json" or path.name.endswith(".ledger.json")


def compared(root: Path) -> dict[str, Path]:
    """The files of a results folder that must stay what they are, by their path inside it."""
    found = (path for path in sorted(root.rglob("*")) if path.is_file())
    return {
        str(path.relative_to(root)): path
        for path in found
        if path.suffix in (*SAME_BYTES, *TABLES) or is_ledger(path)
    }


def differences(before: Path, after: Path, allowed: frozenset[str]) -> Iterator[str]:
    """One line for each file that differs; `allowed` are columns that one side may lack."""
    old, new = compared(before), compared(after)
    for name in sorted(old.keys() | new.keys()):
        if name not in new:
            yield f"{name}: only before"
        elif name not in old:
            yield f"{name}: only after"
        else:
            why = _difference(old[name], new[name], allowed)
            if why:
                yield f"{name}: {why}"


def _difference(old: Path, new: Path, allowed: frozenset[str]) -> str:
    if is_ledger(old):
        return _ledgers(_ledger(old), _ledger(new))
    if old.suffix in TABLES:
        return _tables(_table(old), _table(new), allowed)
    return "" if _sum(old) == _sum(new) else "other bytes"


def _sum(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _table(path: Path) -> pa.Table:
    if path.suffix == ".parquet":
        return pq.read_table(path)
    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).read_all()


def _tables(old: pa.Table, new: pa.Table, allowed: frozenset[str]) -> str:
    lone = set(old.column_names) ^ set(new.column_names)
    if lone - allowed:
        return f"columns of one only: {', '.join(sorted(lone - allowed))}"
    if old.num_rows != new.num_rows:
        return f"{old.num_rows} rows before, {new.num_rows} after"
    shared = [name for name in old.column_names if name not in lone]
    # Bytes, not ==: NaN (no score) is the same as NaN.
    changed = [name for name in shared if not _equal(old[name], new[name])]
    return f"other values: {', '.join(changed)}" if changed else ""


def _equal(old: pa.ChunkedArray, new: pa.ChunkedArray) -> bool:
    if old.type != new.type:
        return False
    if old.equals(new):
        return True
    return pa.types.is_floating(old.type) and repr(old.to_pylist()) == repr(new.to_pylist())


def _ledger(path: Path) -> dict[str, Any]:
    book = json.loads(path.read_bytes())
    kept = {name: value for name, value in book.items() if name not in MADE_HOW}
    if "files" in kept:
        kept["files"] = [(entry["name"], entry["rows"]) for entry in kept["files"]]
    return kept


def _ledgers(old: dict[str, Any], new: dict[str, Any]) -> str:
    changed = [name for name in sorted(old.keys() | new.keys()) if old.get(name) != new.get(name)]
    return f"other {', '.join(changed)}" if changed else ""


def main() -> int:
    """Compare as the command line asks; the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--allow", nargs="*", default=(), metavar="COLUMN")
    options = parser.parse_args()
    for folder in (options.before, options.after):
        if not folder.is_dir():
            print(f"{folder}: no such folder", file=sys.stderr)
            return 2
    found = list(differences(options.before, options.after, frozenset(options.allow)))
    print(*found, sep="\n", end="\n" if found else "")
    kinds = Counter(
        "ledger" if is_ledger(path) else path.suffix for path in compared(options.before).values()
    )
    counted = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    print(f"{len(found)} files differ; before: {counted}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
