"""Every fault of a file is told with its name, the column, and what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from laion_hpc.errors import InputError
from laion_hpc.files import tables

AGAIN = "run `x` again"
TABLE = pa.table({"key": ["a", "b"], "n": [1, 2]})


@pytest.fixture
def parquet(tmp_path: Path) -> Path:
    pq.write_table(TABLE, tmp_path / "a=b.parquet")
    return tmp_path / "a=b.parquet"


@pytest.fixture
def arrow(tmp_path: Path) -> Path:
    path = tmp_path / "t.arrow"
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, TABLE.schema) as writer:
        writer.write_table(TABLE)
    return path


@pytest.fixture
def array(tmp_path: Path) -> Path:
    np.save(tmp_path / "e.npy", np.ones((3, 4), np.float16))
    return tmp_path / "e.npy"


def test_whole_files_are_read(parquet: Path, arrow: Path, array: Path) -> None:
    assert tables.read_parquet(parquet).equals(TABLE)
    assert tables.read_parquet(parquet, columns=("n",)).column_names == ["n"]
    assert tables.parquet_schema(parquet).names == ["key", "n"]
    with tables.open_parquet(parquet) as file:
        assert file.metadata.num_rows == 2
    assert tables.open_arrow(arrow).read_all().equals(TABLE)
    for mapped in (True, False):
        embeddings = tables.open_embeddings(array, width=4, mapped=mapped)
        assert isinstance(embeddings, np.memmap) == mapped
        assert embeddings.shape == (3, 4)


def test_a_schema_makes_its_types_and_columns(parquet: Path) -> None:
    schema = pa.schema([("n", pa.int32()), ("more", pa.string())])
    assert tables.read_parquet(parquet, schema=schema).to_pydict() == {
        "n": [1, 2],
        "more": [None, None],
    }


Open = Callable[..., Any]
OPENERS: list[tuple[Open, str]] = [
    (tables.open_parquet, "a=b.parquet"),
    (tables.read_parquet, "a=b.parquet"),
    (tables.parquet_schema, "a=b.parquet"),
    (tables.open_arrow, "t.arrow"),
    (tables.open_array, "e.npy"),
    (tables.open_embeddings, "e.npy"),
]


@pytest.mark.parametrize(("opened", "name"), OPENERS)
@pytest.mark.parametrize("fault", ["missing", "empty", "cut", "other", "folder"])
def test_a_file_that_is_not_whole(
    opened: Open, name: str, fault: str, parquet: Path, arrow: Path, array: Path, tmp_path: Path
) -> None:
    path = tmp_path / name
    data = path.read_bytes()
    path.unlink()
    if fault == "empty":
        path.write_bytes(b"")
    elif fault == "cut":
        path.write_bytes(data[: len(data) - 9])
    elif fault == "other":
        path.write_bytes(b"<html>not found</html>" * 20)
    elif fault == "folder":
        path.mkdir()
    with pytest.raises(InputError) as error:
        opened(path, AGAIN)
    assert str(error.value).startswith(f"{path}: ")
    assert str(error.value).endswith(f"; {AGAIN}")
    assert ("no such file" in str(error.value)) == (fault == "missing")
    assert "\n" not in str(error.value)


def test_a_column_that_is_not_there_is_named(parquet: Path) -> None:
    with pytest.raises(InputError, match=r"no column score; it has key, n; run `x` again"):
        tables.read_parquet(parquet, AGAIN, columns=["n", "score"])


@pytest.mark.parametrize(
    "wrong",
    [np.ones(3, np.float16), np.ones((3, 4), np.int8), np.asfortranarray(np.ones((3, 4)))],
)
def test_what_is_not_embeddings(wrong: np.ndarray[Any, Any], tmp_path: Path) -> None:
    np.save(tmp_path / "e.npy", wrong)
    with pytest.raises(InputError, match=r"2-D float array in C order; run `embed` again"):
        tables.open_embeddings(tmp_path / "e.npy")


def test_embeddings_of_another_width(array: Path) -> None:
    with pytest.raises(InputError, match="vectors of 4 numbers, the others have 8"):
        tables.open_embeddings(array, width=8)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "e.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(InputError, match="cannot be read"):
        tables.open_array(tmp_path / "e.npy")
