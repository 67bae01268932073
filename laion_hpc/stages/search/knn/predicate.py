"""A condition in SQL that DuckDB tests on every row, without access to anything else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from laion_hpc.errors import UsageError
from laion_hpc.stages.search.knn.filters import Condition, Filter, Mask

if TYPE_CHECKING:
    import pyarrow as pa

LOCKED: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": "false",
    "python_enable_replacements": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "lock_configuration": "true",
    "threads": "1",
}
"""The SQL cannot use files, addresses or Python variables, and cannot change these settings."""


class Predicate:
    """`where` as a condition on record batches of one schema. Not for several threads at once."""

    def __init__(self, where: str, schema: pa.Schema) -> None:
        """UsageError that says what is wrong, unless it is a condition on the columns of a row."""
        import duckdb

        self._connection = duckdb.connect(config=LOCKED)
        self._sql = f"SELECT row_of_batch FROM batch WHERE (\n{where}\n)"
        if not self._is_one_condition():
            raise UsageError(
                f"--where {where!r}: give one condition on the columns of a row, without SELECT"
            )
        try:
            self._rows(schema.empty_table())
            found = self._connection.execute(f"SELECT (\n{where}\n) FROM batch").description
        except duckdb.Error as error:
            raise UsageError(
                f"--where {where!r} does not fit the columns {', '.join(schema.names)}: "
                f"{str(error).splitlines()[0]}"
            ) from None
        kind = str(found[0][1]) if found else ""
        if kind != "BOOLEAN":
            raise UsageError(f"--where {where!r} is not a condition but a {kind}")

    def __call__(self, batch: pa.RecordBatch) -> Mask:
        """Which rows fulfil it; UsageError where it fails on a value."""
        import duckdb
        import pyarrow as pa

        try:
            rows = self._rows(pa.Table.from_batches([batch]))
        except duckdb.Error as error:
            raise UsageError(f"--where: {str(error).splitlines()[0]}") from None
        mask = np.zeros(batch.num_rows, bool)
        mask[rows] = True
        return mask

    def _rows(self, table: pa.Table) -> Any:
        import pyarrow as pa

        numbered = table.append_column("row_of_batch", pa.array(np.arange(table.num_rows)))
        self._connection.register("batch", numbered)
        return self._connection.execute(self._sql).fetchnumpy()["row_of_batch"]

    def _is_one_condition(self) -> bool:
        """True if the parsed SQL is our own SELECT with a WHERE and no query inside it."""
        found = self._connection.execute("SELECT json_serialize_sql(?)", [self._sql]).fetchall()
        parsed = json.loads(found[0][0])
        if parsed["error"]:
            # SQL that does not parse fails when it is run; SQL that is not a SELECT is not run.
            return str(parsed.get("error_type")) == "parser"
        if len(parsed["statements"]) != 1:
            return False
        node = parsed["statements"][0]["node"]
        plain = node["type"] == "SELECT_NODE" and node["from_table"]["type"] == "BASE_TABLE"
        return plain and not node["modifiers"] and "SUBQUERY" not in _types(node)


def _types(part: Any) -> set[str]:
    if isinstance(part, dict):
        own = {part["type"]} if isinstance(part.get("type"), str) else set()
        return own.union(*(_types(value) for value in part.values()))
    return set().union(*(_types(value) for value in part)) if isinstance(part, list) else set()


def condition(where: str, schema: pa.Schema) -> Condition:
    """An SQL predicate as a condition; UsageError if it is not a condition."""
    return Predicate(where, schema)


def as_sql(wanted: Filter) -> str:
    """The same filter in SQL, for `laion-hpc subset --where`; empty if it has no conditions."""
    tests = []
    for name, words in (
        ("language", wanted.language),
        ("language_class", wanted.language_class),
        ("license", wanted.license),
    ):
        if words:
            tests.append(f"{name} IN ({', '.join(_quoted(word) for word in words)})")
    if wanted.host:
        host = wanted.host.lower().rstrip(".")
        tests.append(f"(host = {_quoted(host)} OR ends_with(host, {_quoted('.' + host)}))")
    for name, sign, limit in (
        ("similarity", ">=", wanted.min_similarity),
        ("similarity", "<=", wanted.max_similarity),
        ("aesthetic", ">=", wanted.min_aesthetic),
        ("width", ">=", wanted.min_width),
        ("height", ">=", wanted.min_height),
        ("punsafe", "<", wanted.max_punsafe),
        ("pwatermark", "<", wanted.max_pwatermark),
    ):
        if limit is not None:
            # Compared in the column's type: 0.3 in 32 bits is another number.
            number = f"{limit}::FLOAT" if isinstance(limit, float) else str(limit)
            # To SQL, NaN (never scored) is above all numbers; here it fulfils no comparison.
            known = f" AND NOT isnan({name})" if sign == ">=" and isinstance(limit, float) else ""
            tests.append(f"{name} {sign} {number}{known}")
    return " AND ".join(tests)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
