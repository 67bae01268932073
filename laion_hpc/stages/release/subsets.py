"""Subsets: the joined rows for which an SQL predicate of the config holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack
from pathlib import Path

import pyarrow as pa

from laion_hpc.config.sections import SubsetConfig
from laion_hpc.files.tables import open_parquet
from laion_hpc.stages.release.block_counts import IMPLIED, Counting
from laion_hpc.stages.release.part_files import PartsWriter

AGAIN = "run `release_block` again"

FOLDER = "subsets"
AT_ONCE = 8
"""Subsets written side by side: each holds up to two row groups in memory."""
PORTION = 65_536
"""Rows that are read at a time."""


def write(
    subsets: Sequence[SubsetConfig],
    joined: Mapping[str, Sequence[Path]],
    counting: Counting,
    wide: pa.Schema,
    *,
    block: int,
    release: Path,
    rows_per_part: int,
    pool: Executor | None = None,
) -> dict[str, list[tuple[Path, int]]]:
    """Write the rows of a block's joined parts (by split) that belong to each subset.

    They keep the order of the splits (en, multi, nolang), then of the parts. They have all
    columns, LANGUAGE included. Returns the parts of every subset with their rows.
    """
    made: dict[str, list[tuple[Path, int]]] = {}
    for first in range(0, len(subsets), AT_ONCE):
        some = [subset.name for subset in subsets[first : first + AT_ONCE]]
        masks = {
            split: {name: counting.members(split, f"{FOLDER}/{name}") for name in some}
            for split in joined
        }
        with ExitStack() as stack:
            writers = {
                name: stack.enter_context(
                    PartsWriter(
                        release / FOLDER / name,
                        block=block,
                        rows=sum(int(masks[split][name].sum()) for split in joined),
                        schema=wide,
                        rows_per_part=rows_per_part,
                        pool=pool,
                    )
                )
                for name in some
            }
            for split, files in joined.items():
                row = 0
                for table in _portions(files, IMPLIED.get(split)):
                    for name, writer in writers.items():
                        chosen = masks[split][name][row : row + table.num_rows]
                        if chosen.any():
                            writer.write(table.filter(pa.array(chosen)))
                    row += table.num_rows
        made |= {name: writer.parts for name, writer in writers.items()}
    return made


def _portions(files: Sequence[Path], implied: str | None) -> Iterator[pa.Table]:
    """Rows of parts in order, with the LANGUAGE that a split's name implies."""
    for path in files:
        with open_parquet(path, AGAIN) as file:
            for batch in file.iter_batches(PORTION):
                table = pa.Table.from_batches([batch])
                if implied is not None:
                    table = table.append_column("LANGUAGE", pa.repeat(implied, table.num_rows))
                yield table
