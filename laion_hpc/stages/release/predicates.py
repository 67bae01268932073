"""Checks that the SQL predicates of subsets fit the columns of a release."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import duckdb
import pyarrow as pa

from laion_hpc.config.sections import SubsetConfig


def faults(subsets: Sequence[SubsetConfig], wide: pa.Schema) -> Iterator[str]:
    """The fault of each predicate that does not fit these columns; its config key comes first."""
    with duckdb.connect() as connection:
        connection.register("rows", wide.empty_table())
        for number, subset in enumerate(subsets):
            said = f"release.subsets[{number}] ({subset.name}): {subset.where!r}"
            try:
                found = connection.execute(f"SELECT ({subset.where}\n) FROM rows").description
                kind = str(found[0][1]) if found else ""
                # WHERE refuses what is not of one row, such as sum(WIDTH) > 1.
                connection.execute(f"SELECT 1 FROM rows WHERE ({subset.where}\n)")
            except duckdb.Error as error:
                first_line = str(error).splitlines()[0]
                columns = ", ".join(wide.names)
                yield f"{said} does not fit the columns {columns}: {first_line}"
                continue
            if kind != "BOOLEAN":
                yield f"{said} is not a condition but a value of type {kind}"
