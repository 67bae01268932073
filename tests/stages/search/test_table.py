"""Values read straight from mapped Arrow columns are what Arrow itself says they are."""

import math

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from laion_hpc.stages.search.knn.table import _reader

KINDS = {
    "string": st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    "int32": st.integers(-(2**31), 2**31 - 1),
    "int64": st.integers(-(2**63), 2**63 - 1),
    "float": st.floats(width=32),
    "double": st.floats(),
    "bool": st.booleans(),
    "large_string": st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
}


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_values(kind: str, data: st.DataObject) -> None:
    values = data.draw(st.lists(st.none() | KINDS[kind], max_size=9))
    if data.draw(st.booleans()):
        values = [value for value in values if value is not None]
    column = pa.array(values, pa.type_for_alias(kind))
    if data.draw(st.booleans()):
        column = column.slice(min(1, len(column)))
    read = _reader(column)
    for row, value in enumerate(column.to_pylist()):
        hidden = isinstance(value, float) and not math.isfinite(value)
        assert read(row) == (None if hidden else value)
