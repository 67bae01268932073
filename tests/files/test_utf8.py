"""Strings as Arrow keeps them."""

from __future__ import annotations

from itertools import pairwise

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from laion_hpc.files import utf8


@given(st.lists(st.text(max_size=5)), st.integers(0, 3), st.integers(0, 5))
def test_every_string_of_a_slice_is_there(texts: list[str], first: int, number: int) -> None:
    offsets, data = utf8.of_column(pa.array(texts, pa.string()).slice(first, number))
    spans = pairwise(offsets.tolist())
    found = [bytes(data[begin:end]).decode() for begin, end in spans]
    assert found == texts[first : first + number]
