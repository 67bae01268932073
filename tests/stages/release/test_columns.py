import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from laion_hpc.errors import InputError
from laion_hpc.files.schemas import EMBEDDED_SAMPLE, TAGS
from laion_hpc.stages.release import columns
from tests.stages.release.blocks import TAGS_SCHEMA, samples


def tags_with(*names: str, kind: pa.DataType | None = None) -> pa.Schema:
    return pa.schema([*TAGS, *(pa.field(name, kind or pa.float32()) for name in names)])


def joined(rows: list[dict[str, object]]) -> pa.Table:
    return columns.join(
        pa.Table.from_pylist(rows, schema=EMBEDDED_SAMPLE),
        pa.Table.from_pylist(rows, schema=TAGS_SCHEMA),
        columns.wide_schema(TAGS_SCHEMA),
    )


def test_base_columns_are_exactly_laions() -> None:
    laion = ["URL", "TEXT", "WIDTH", "HEIGHT", "similarity", "hash"]
    assert columns.base_schema("laion-en").names == laion
    assert columns.base_schema("laion-nolang").names == laion
    multi = columns.base_schema("laion-multi")
    assert multi.names == [*laion[:5], "LANGUAGE", "hash"]
    kinds = ["string", "string", "int32", "int32", "double", "string", "int64"]
    assert [str(field.type) for field in multi] == kinds


def test_joined_columns_follow_laions_in_laions_order() -> None:
    wide = columns.wide_schema(TAGS_SCHEMA)
    names = columns.joined_schema(wide, "laion-en").names
    assert names[:8] == [*columns.base_schema("laion-en").names, "pwatermark", "punsafe"]
    assert names[8:10] == ["aesthetic", "nsfw"]
    assert wide.field("punsafe").type == pa.float32()
    assert all(field.metadata[b"description"] for field in wide)


def test_no_two_columns_differ_by_case_alone() -> None:
    names = [name.lower() for name in columns.wide_schema(TAGS_SCHEMA).names]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", ["width", "Url", "hash_"[:4].upper(), "KEY", "similarity"])
def test_a_head_called_like_a_column_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=name):
        columns.wide_schema(tags_with(name))


def test_a_head_that_is_no_float32_is_refused() -> None:
    with pytest.raises(InputError, match="aesthetic"):
        columns.wide_schema(tags_with("aesthetic", kind=pa.float64()))


def test_join_takes_the_size_of_the_downloaded_image_and_leaves_url_and_text_alone() -> None:
    rows = samples(30)
    for before, after in zip(rows, joined(rows).to_pylist(), strict=True):
        assert (after["URL"], after["TEXT"]) == (before["url"], before["caption"])
        assert (after["WIDTH"], after["HEIGHT"]) == (
            before["original_width"],
            before["original_height"],
        )
        assert after["similarity"] == np.float64(np.float32(before["similarity"]))
        assert after["punsafe"] == np.float32(before["punsafe"])
        assert after["hash"] == before["hash"]


def test_a_text_without_a_language_has_none_even_if_cld3_guessed() -> None:
    row = samples(1)[0] | {"language": "la", "language_class": "nolang"}
    assert joined([row])["LANGUAGE"].to_pylist() == [""]


@given(st.lists(st.integers(-3, 3)))
def test_first_of_each_keeps_every_hash_once_and_first(hashes: list[int]) -> None:
    keep = columns.first_of_each(np.array(hashes, dtype=np.int64))
    expected = [value not in hashes[:position] for position, value in enumerate(hashes)]
    assert keep.tolist() == expected
