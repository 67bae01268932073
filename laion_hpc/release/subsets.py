"""Subsets: the joined rows for which an SQL predicate of the config holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import duckdb
import pyarrow as pa

from laion_hpc.config.sections import SubsetConfig
from laion_hpc.errors import UsageError
from laion_hpc.release.columns import SPLITS
from laion_hpc.release.parts import PartsWriter

FOLDER = "subsets"


def check(subsets: Sequence[SubsetConfig], wide: pa.Schema) -> None:
    """UsageError, naming the key at fault, unless every predicate can be asked of these columns."""
    empty = wide.empty_table()
    with duckdb.connect() as connection:
        connection.register("rows", empty)
        for number, subset in enumerate(subsets):
            try:
                found = connection.execute(f"SELECT ({subset.where}\n) FROM rows").description
                kind = str(found[0][1]) if found else ""
            except duckdb.Error as error:
                first_line = str(error).splitlines()[0]
                raise UsageError(
                    f"release.subsets[{number}] ({subset.name}): {subset.where!r} cannot be asked "
                    f"of the columns {', '.join(wide.names)}: {first_line}"
                ) from None
            if kind != "BOOLEAN":
                raise UsageError(
                    f"release.subsets[{number}] ({subset.name}): {subset.where!r} is no condition "
                    f"but a value of type {kind}"
                )


def write(
    subset: SubsetConfig,
    joined: Mapping[str, Sequence[Path]],
    wide: pa.Schema,
    *,
    block: int,
    release: Path,
    rows_per_part: int,
    threads: int = 1,
) -> list[tuple[Path, int]]:
    """Write the rows of a block's joined parts (by split) that belong to a subset.

    Their order is that of the splits (en, multi, nolang), then that of the parts. All columns
    are there, LANGUAGE included. Returns the parts with their rows.
    """
    if not any(joined.values()):
        return []
    where = f"FROM ({rows_of(joined)}) WHERE ({subset.where}\n)"
    with duckdb.connect() as connection:
        connection.execute(f"SET threads = {threads}")
        count = connection.sql(f"SELECT count(*) {where}").fetchall()[0][0]
        writer = PartsWriter(
            release / FOLDER / subset.name,
            block=block,
            rows=count,
            schema=wide,
            rows_per_part=rows_per_part,
        )
        with writer:
            if count:
                names = ", ".join(f'"{name}"' for name in wide.names)
                for batch in connection.sql(f"SELECT {names} {where}").to_arrow_reader(65_536):
                    writer.write(pa.Table.from_batches([batch]))
    return writer.parts


def rows_of(joined: Mapping[str, Sequence[Path]]) -> str:
    """SQL for all joined rows: the LANGUAGE that a split's name implies is added to its rows."""
    implied = {SPLITS["en"]: ", 'en' AS LANGUAGE", SPLITS["nolang"]: ", '' AS LANGUAGE"}
    return " UNION ALL BY NAME ".join(
        f"SELECT *{implied.get(split, '')} FROM read_parquet({sql_list(files)})"
        for split, files in joined.items()
        if files
    )


def sql_list(files: Sequence[Path]) -> str:
    """Paths as an SQL list of strings."""
    return "[" + ", ".join("'" + str(file).replace("'", "''") + "'" for file in files) + "]"
