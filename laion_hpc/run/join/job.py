"""One join: keys of the samples into DuckDB, matched with the tags there, written file by file.

Only the keys go through the database; the rows of the samples are read twice and pass unchanged.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from laion_hpc.errors import InputError, UsageError
from laion_hpc.files import ledger
from laion_hpc.files.atomic import atomic
from laion_hpc.files.ledger import File, Ledger
from laion_hpc.files.tables import open_parquet, reading
from laion_hpc.run.join.tables import HASH, Samples, Tags, joined_schema, samples_in, tags_in

_BATCH = 65_536


@dataclass(frozen=True)
class Resources:
    """What a join may use."""

    memory_gb: float = 4
    threads: int = 1
    scratch: Path | None = None
    """Folder for what does not fit in memory; default: beside the output."""


def join(
    samples: Path,
    tags: Sequence[Path],
    output: Path,
    *,
    columns: Sequence[str] = (),
    resources: Resources | None = None,
) -> Ledger:
    """Write the samples with the tags of their hashes; returns the ledger, written last.

    All rows stay, in their order; `output` is a file or a folder as `samples` is. InputError and
    UsageError say what is wrong before any work.
    """
    left, right = samples_in(samples), tags_in(tags, columns)
    schema = joined_schema(left, right)
    if samples.is_dir() != (output.suffix != ".parquet"):
        kind = "a folder" if samples.is_dir() else "a .parquet file"
        raise UsageError(f"--output {output}: must be {kind}, as {samples} is")
    if output.resolve() == samples.resolve():
        raise UsageError(f"--output {output}: would overwrite what is read")
    book = output / ledger.MANIFEST if samples.is_dir() else ledger.path_of(output)
    book.unlink(missing_ok=True)
    with _database(resources or Resources(), output) as connection:
        rows, differing = _enter_keys(connection, left)
        conflicting = [_match(connection, number, tag) for number, tag in enumerate(right)]
        files = _write(connection, left, right, schema, samples, output)
        counts = _counts(connection, right) | {"conflicting_tags": sum(conflicting)}
    done = Ledger(
        stage="join",
        unit="samples",
        inputs=rows,
        kept=rows,
        source=ledger.fingerprint(
            *left.files, *(f"{f.name} {f.stat().st_size}" for tag in right for f in tag.files)
        ),
        counts=counts | {"hash_not_of_url_and_text": differing},
        files=tuple(files),
    )
    done.write(book)
    return done


@contextmanager
def _database(resources: Resources, output: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A database in a scratch folder of its own, removed at the end."""
    place = resources.scratch or output.resolve().parent
    place.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=place, prefix=".join-") as scratch,
        duckdb.connect(
            f"{scratch}/join.duckdb",
            config={
                "memory_limit": f"{resources.memory_gb}GB",
                "temp_directory": f"{scratch}/spill",
                "threads": resources.threads,
            },
        ) as connection,
    ):
        yield connection


def _enter_keys(connection: duckdb.DuckDBPyConnection, left: Samples) -> tuple[int, int]:
    """Table `keys` of all samples: hash, `twin` (the other 64 bits) and place, counted from 0.

    Returns the number of rows, and of those whose hash is not that of their URL and text.
    """
    connection.execute("CREATE TABLE keys (hash BIGINT, twin BIGINT, place BIGINT)")
    place = differing = 0
    names = [n for n in (HASH if left.has_hash else None, left.url, left.text) if n]
    for file in left.files:
        for batch in _batches(file, names):
            hashes, twins, wrong = _keys(batch, left)
            differing += wrong
            places = pa.array(np.arange(place, place + len(batch)))
            found = pa.table([hashes, twins, places], names=["hash", "twin", "place"])
            connection.register("found", found)
            connection.execute("INSERT INTO keys SELECT * FROM found")
            connection.unregister("found")
            place += len(batch)
    return place, differing


def _batches(file: Path, names: list[str] | None) -> Iterator[pa.RecordBatch]:
    with reading(file), open_parquet(file) as source:
        yield from source.iter_batches(_BATCH, columns=names)


def _keys(batch: pa.RecordBatch, left: Samples) -> tuple[pa.Array, pa.Array, int]:
    """The hashes of some rows, their twins (null where they cannot be known), and how many of the
    hashes that are there differ from those computed.
    """
    own = batch.column(HASH) if left.has_hash else None
    if left.url is None or left.text is None:
        assert own is not None, "samples_in has seen to it"
        return own, pa.nulls(len(batch), pa.int64()), 0
    import mmh3

    # schemas.join_hash, and the half of the hash that LAION throws away: it tells collisions.
    urls, texts = (batch.column(name).to_pylist() for name in (left.url, left.text))
    both = [
        mmh3.hash64(((url or "") + (text or "")).encode("utf-8", "surrogatepass"))
        for url, text in zip(urls, texts, strict=True)
    ]
    computed = pa.array([pair[0] for pair in both], pa.int64())
    twins = pa.array([pair[1] for pair in both], pa.int64())
    if own is None:
        return computed, twins, 0
    wrong = sum(a != b for a, b in zip(own.to_pylist(), computed.to_pylist(), strict=True))
    return own, twins, wrong


def _match(connection: duckdb.DuckDBPyConnection, number: int, tag: Tags) -> int:
    """Table `scoresN`: the tags of every sample that has some, by place. Returns how many hashes
    have more than one opinion.
    """
    ours = list(tag.columns.values())
    highest = ", ".join(f'max("{theirs}")::FLOAT AS "{own}"' for theirs, own in tag.columns.items())
    differ = " OR ".join(f'min("{theirs}") <> max("{theirs}")' for theirs in tag.columns)
    listed = ", ".join(f'"{name}"' for name in ours)
    try:
        connection.execute(
            f"CREATE TABLE tags{number} AS SELECT hash, {highest}, count(*) AS times, "
            f"coalesce({differ}, false) AS differ FROM read_parquet(?) SEMI JOIN keys USING (hash) "
            "GROUP BY hash",
            [[str(file) for file in tag.files]],
        )
    except duckdb.Error as error:
        raise InputError(f"{tag.files[0]} …: cannot be read ({str(error)[:300]})") from None
    connection.execute(
        f"CREATE TABLE scores{number} AS SELECT place, {listed} FROM keys "
        f"JOIN tags{number} USING (hash) ORDER BY place"
    )
    return _number(connection, f"SELECT count(*) FROM tags{number} WHERE differ")


def _write(
    connection: duckdb.DuckDBPyConnection,
    left: Samples,
    right: Sequence[Tags],
    schema: pa.Schema,
    samples: Path,
    output: Path,
) -> list[File]:
    """The joined files; each has its own row groups cut as the samples' are."""
    files, place = [], 0
    for file in left.files:
        target = output / file.relative_to(samples) if samples.is_dir() else output
        rows = 0
        with atomic(target) as aside, pq.ParquetWriter(aside, schema, compression="zstd") as writer:
            source = open_parquet(file)
            for group in range(source.num_row_groups):
                table = source.read_row_group(group)
                columns = [table.column(name) for name in left.schema.names]
                if not left.has_hash:
                    keys = f"SELECT hash FROM keys WHERE {_between(place, table)} ORDER BY place"
                    columns.append(_table(connection, keys)["hash"])
                for number, tag in enumerate(right):
                    columns += _scores(connection, number, tag, place, table)
                joined = pa.table(columns, schema=schema)
                writer.write_table(joined, row_group_size=max(1, table.num_rows))
                place += table.num_rows
                rows += table.num_rows
        files.append(ledger.describe(target, rows=rows, root=None if target == output else output))
    return files


def _scores(
    connection: duckdb.DuckDBPyConnection, number: int, tag: Tags, place: int, table: pa.Table
) -> list[pa.Array]:
    """The tags of some rows, null where there are none."""
    found = _table(
        connection, f"SELECT * FROM scores{number} WHERE {_between(place, table)} ORDER BY place"
    )
    at = found["place"].to_numpy() - place
    columns = []
    for name in tag.columns.values():
        values = np.zeros(table.num_rows, np.float32)
        missing = np.ones(table.num_rows, np.bool_)
        values[at] = found[name].fill_null(0).to_numpy()
        missing[at] = found[name].is_null().to_numpy()
        columns.append(pa.array(values, pa.float32(), mask=missing))
    return columns


def _between(place: int, table: pa.Table) -> str:
    return f"place >= {place} AND place < {place + table.num_rows}"


def _counts(connection: duckdb.DuckDBPyConnection, right: Sequence[Tags]) -> dict[str, Any]:
    """What the ledger says of the match."""
    matched = {
        name: _number(connection, f'SELECT count("{name}") FROM scores{number}')
        for number, tag in enumerate(right)
        for name in tag.columns.values()
    }
    without = " ".join(f"ANTI JOIN tags{number} USING (hash)" for number in range(len(right)))
    repeated = " + ".join(f"(SELECT sum(times - 1) FROM tags{n})" for n in range(len(right)))
    return {
        "matched": matched,
        "unmatched": _number(connection, f"SELECT count(*) FROM keys {without}"),
        # Rows whose hash an earlier row has, too.
        "duplicates": _number(
            connection, "SELECT count(*) - count(DISTINCT hash) FROM keys WHERE hash IS NOT NULL"
        ),
        # Hashes that stand for different URLs and texts.
        "collisions": _number(
            connection,
            "SELECT count(*) FROM (SELECT hash FROM keys GROUP BY hash HAVING min(twin) <> "
            "max(twin))",
        ),
        "repeated_tags": _number(connection, f"SELECT {repeated}"),
    }


def _table(connection: duckdb.DuckDBPyConnection, query: str) -> pa.Table:
    return connection.sql(query).to_arrow_table()


def _number(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    return int(connection.execute(query).fetchall()[0][0] or 0)
