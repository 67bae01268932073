"""The one way to open what stages hand each other: parquet, arrow and npy.

Whatever is wrong with a file is an InputError that names the file, the column if it is one, and
`again`: the words that say how to make the file anew, such as "run `embed` again".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from laion_hpc.errors import InputError

AGAIN = "make it again"


@contextmanager
def reading(path: Path, again: str = AGAIN) -> Iterator[None]:
    """Within it, what pyarrow, numpy or the system say of a file becomes an InputError."""
    if path.is_dir():  # pyarrow would look for tables in it
        raise InputError(f"{path}: cannot be read (a folder, not a file); {again}")
    try:
        yield
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; {again}") from None
    except KeyError as error:  # of a column that is to be read as a dictionary
        name = error.args[0]
        column = name.decode() if isinstance(name, bytes) else name
        raise InputError(f"{path}: no column {column}; {again}") from None
    except (pa.ArrowException, OSError, ValueError, EOFError) as error:
        raise damaged(path, error, again) from None


def damaged(path: Path, error: Exception, again: str = AGAIN) -> InputError:
    """What to raise for an error that a library had with a file."""
    # Some go on with a stack of C++ and an advice for programmers: the first line says it.
    said = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return InputError(f"{path}: cannot be read ({said}); {again}")


def open_parquet(path: Path, again: str = AGAIN, **options: Any) -> pq.ParquetFile:
    """A parquet file, to be closed by the caller; `options` are those of pyarrow."""
    with reading(path, again):
        return pq.ParquetFile(str(path), **options)


def read_parquet(
    path: Path,
    again: str = AGAIN,
    *,
    columns: Sequence[str] | None = None,
    schema: pa.Schema | None = None,
) -> pa.Table:
    """A whole table, or some columns of it. With `schema`, columns have its types and names, and
    one that the file lacks is null."""
    if columns is not None and schema is None:
        require_columns(path, parquet_schema(path, again), columns, again)
    with reading(path, again):
        named = None if columns is None else list(columns)
        # pyarrow would take a folder called `a=b` for a column.
        return pq.read_table(path, columns=named, schema=schema, partitioning=None)


def parquet_footer(path: Path, again: str = AGAIN) -> pq.FileMetaData:
    """What a parquet file says of itself: rows, row groups, sizes."""
    with reading(path, again):
        return pq.read_metadata(path)


def parquet_schema(path: Path, again: str = AGAIN) -> pa.Schema:
    """The columns of a parquet file."""
    with reading(path, again):
        return pq.read_schema(path)


def require_columns(
    path: Path, schema: pa.Schema, columns: Sequence[str], again: str = AGAIN
) -> None:
    """InputError, naming the first one, if a table lacks one of these columns."""
    for name in columns:
        if name not in schema.names:
            there = ", ".join(schema.names)
            raise InputError(f"{path}: no column {name}; it has {there}; {again}")


def open_arrow(path: Path, again: str = AGAIN) -> Any:
    """A reader of record batches in an Arrow file, memory-mapped."""
    with reading(path, again):
        return pa.ipc.open_file(pa.memory_map(str(path)))


def open_array(path: Path, again: str = AGAIN, *, mapped: bool = True) -> npt.NDArray[Any]:
    """The array of a .npy file; `mapped`: read from the disk as it is used."""
    with reading(path, again):
        array: npt.NDArray[Any] = np.load(
            path, mmap_mode="r" if mapped else None, allow_pickle=False
        )
        return array


def open_embeddings(
    path: Path, again: str = "run `embed` again", *, width: int = 0, mapped: bool = True
) -> npt.NDArray[np.float16]:
    """Embeddings (n, width), fp16 as `embed` writes them, or other floats.

    InputError if they are not a 2-D array of floats in C order, or of another width than `width`
    (0: any).
    """
    array = open_array(path, again, mapped=mapped)
    if array.ndim != 2 or array.dtype.kind != "f" or not array.flags.c_contiguous:
        raise InputError(
            f"{path}: {array.dtype} {array.shape}; embeddings are a 2-D float array in C order; "
            f"{again}"
        )
    if width and array.shape[1] != width:
        raise InputError(
            f"{path}: vectors of {array.shape[1]} numbers, the others have {width}; {again}"
        )
    return array
