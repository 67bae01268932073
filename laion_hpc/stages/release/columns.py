"""The columns of the release: LAION's own, then tags, then ours; pure functions on tables.

`laion-en` and its sisters have exactly LAION's columns. The `-joined` variants and the subsets
follow them with the scores of every head, the zero-shot class and what we know beyond LAION.
No two names differ by case alone: DuckDB would silently return the wrong one of WIDTH and width.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from laion_hpc.errors import InputError
from laion_hpc.files.schemas import EMBEDDED_SAMPLE, LANGUAGE_CLASSES, RELEASE, TAGS, describe

SPLITS = {name: f"laion-{name}" for name in LANGUAGE_CLASSES}
"""LAION-5B's name of the part of each language class."""

HEADS_FIRST = ("pwatermark", "punsafe")
"""LAION's joined collections have these two directly after `hash`, in this order."""

OWN = (
    "key",
    "language_class",
    "language_probability",
    "language_reliable",
    "license",
    "page_url",
    "page_language",
    "title",
    "content_type",
    "bytes",
    "sha256",
    "crawl",
    "segment",
    "wat",
    "record_offset",
    "link_position",
)
"""Columns of EMBEDDED_SAMPLE that follow the tags.

Two kinds are left out: those that LAION's columns repeat (url, caption, language, the sizes), and
those that need the image and are in the shard's own table (exif, md5, final_url).
"""

_FROM_SAMPLE = {"URL": "url", "TEXT": "caption", "WIDTH": "original_width"} | {
    "HEIGHT": "original_height",
    "similarity": "similarity",
}
READ = [*dict.fromkeys([*_FROM_SAMPLE.values(), "language", *OWN])]
"""All columns of EMBEDDED_SAMPLE that go into the release."""


def head_names(tags: pa.Schema) -> list[str]:
    """The score columns of a tags table, LAION's two first, the others in the table's order."""
    fixed = {*TAGS.names, "nsfw"}
    names = [field.name for field in tags if field.name not in fixed]
    first = [name for name in HEADS_FIRST if name in names]
    return first + [name for name in names if name not in first]


def wide_schema(tags: pa.Schema) -> pa.Schema:
    """All columns of the release, LANGUAGE included, given the schema of the tags.

    InputError if a head's column is no float32 or has the name, in any case, of another column.
    """
    heads = head_names(tags)
    fields: list[pa.Field[Any]] = [*RELEASE]
    for name in heads:
        if tags.field(name).type != pa.float32():
            raise InputError(f"tags: column {name} is {tags.field(name).type}, expected float")
        fields.append(pa.field(name, pa.float32(), metadata=_meaning_of_head(tags.field(name))))
    if "nsfw" in tags.names:
        fields.append(EMBEDDED_SAMPLE.field("nsfw"))
    fields += [EMBEDDED_SAMPLE.field(name) for name in OWN]
    names = [field.name.lower() for field in fields]
    for name in heads:
        if names.count(name.lower()) > 1:
            raise InputError(
                f"tags: the head {name} has the name of a column of the release; rename it"
            )
    return pa.schema(fields)


def _meaning_of_head(field: pa.Field[Any]) -> dict[str, str]:
    meanings = {
        "punsafe": "probability that the image is unsafe for work, 0 … 1",
        "pwatermark": "probability that the image bears a watermark, 0 … 1",
        "aesthetic": "predicted rating of the image's looks, about 1 … 10",
    }
    said = describe(field) or f"score of the head {field.name}"
    return {"description": meanings.get(field.name, said)}


def base_schema(split: str) -> pa.Schema:
    """LAION's columns of a split: LANGUAGE in laion-multi only."""
    return pa.schema([field for field in RELEASE if _belongs(field.name, split)])


def joined_schema(wide: pa.Schema, split: str) -> pa.Schema:
    """All columns of a split's joined variant."""
    return pa.schema([field for field in wide if _belongs(field.name, split)])


def _belongs(column: str, split: str) -> bool:
    return column != "LANGUAGE" or split == SPLITS["multi"]


def join(samples: pa.Table, tags: pa.Table, wide: pa.Schema) -> pa.Table:
    """Rows of EMBEDDED_SAMPLE and their tags, in the same order -> rows of the wide schema.

    URL and TEXT do not change. LANGUAGE is empty for nolang: CLD3 is not sure of the language.
    """
    detected = pc.not_equal(samples["language_class"], "nolang")
    made = {
        "LANGUAGE": pc.if_else(detected, samples["language"], ""),
        "hash": tags["hash"],
        **{name: tags[name] for name in head_names(tags.schema)},
        **{name: samples[name] for name in OWN},
        **{ours: samples[theirs] for ours, theirs in _FROM_SAMPLE.items()},
    }
    if "nsfw" in tags.schema.names:
        made["nsfw"] = tags["nsfw"]
    columns = [made[field.name].cast(field.type) for field in wide]
    return pa.Table.from_arrays(columns, schema=wide)


def first_of_each(hashes: np.ndarray[Any, np.dtype[np.int64]]) -> np.ndarray[Any, np.dtype[Any]]:
    """True for the first row of each hash: the row that is released."""
    keep = np.zeros(len(hashes), dtype=bool)
    keep[np.unique(hashes, return_index=True)[1]] = True
    return keep
