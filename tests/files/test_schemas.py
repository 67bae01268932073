"""The schemas: documented, free of names that clash, and LAION's join hash."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from laion_hpc.files import schemas

TABLES = {name: value for name, value in vars(schemas).items() if isinstance(value, pa.Schema)}
FORMATS = (Path(__file__).parents[2] / "docs/formats.md").read_text()


@pytest.mark.parametrize("name", sorted(TABLES))
def test_every_column_is_in_the_documentation(name: str) -> None:
    for field in TABLES[name]:
        assert f"| {field.name} | {field.type} | {schemas.describe(field)} |" in FORMATS


@pytest.mark.parametrize("name", sorted(TABLES))
def test_no_two_columns_differ_in_case_only(name: str) -> None:
    # DuckDB is case-insensitive and would return the wrong one in silence.
    names = [field.name.lower() for field in TABLES[name]]
    assert len(set(names)) == len(names)


def test_a_column_has_one_type_everywhere() -> None:
    types: dict[str, pa.DataType] = {}
    for name in ("CANDIDATE", "KEYED_CANDIDATE", "SAMPLE", "SCORED_SAMPLE", "EMBEDDED_SAMPLE"):
        for field in TABLES[name]:
            assert types.setdefault(field.name, field.type) == field.type


@pytest.mark.parametrize(
    ("url", "text", "hash_"),
    [
        # mmh3.hash64((url + text).encode())[0], as LAION's own join computes it.
        ("", "", 0),
        ("http://a.example/b.jpg", "a cat", -3321172948910047164),
    ],
)
def test_the_join_hash(url: str, text: str, hash_: int) -> None:
    assert schemas.join_hash(url, text) == hash_


def test_the_join_hash_takes_what_utf8_cannot_hold() -> None:
    assert isinstance(schemas.join_hash("http://a.example/\ud800", "text"), int)
