"""The Arrow schema of every table that the pipeline writes, column by column.

The stages pass these tables on; a column is defined here once and has the same name, type and
meaning wherever it appears. Downloaded shards use img2dataset's column names (`caption` for the
text) so that its users' tools work; the release uses LAION's (`URL`, `TEXT`, `WIDTH` …).
Strings are never null unless a column says so: a missing one is the empty string.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

LANGUAGE_CLASSES = ("en", "multi", "nolang")
"""LAION-5B's three parts: English, another language, no detected language."""


def _field(name: str, kind: pa.DataType, meaning: str) -> pa.Field[Any]:
    return pa.field(name, kind, metadata={"description": meaning})


_LANGUAGE = [
    _field("language", pa.string(), "BCP-47 code that CLD3 gives the text; empty if none"),
    _field("language_probability", pa.float32(), "CLD3's probability of that language, 0 … 1"),
    _field("language_reliable", pa.bool_(), "CLD3's own judgement"),
    _field("language_class", pa.string(), "en, multi or nolang: decides threshold and text tower"),
]

_PROVENANCE = [
    _field("license", pa.string(), "Creative Commons link found on the page; ? if none"),
    _field("page_url", pa.string(), "page that shows the image"),
    _field("page_language", pa.string(), "lang attribute of the page; empty if none"),
    _field("title", pa.string(), "title attribute of the image; empty if none"),
    _field("crawl", pa.string(), "crawl, such as CC-MAIN-2022-05"),
    _field("segment", pa.string(), "segment, such as 1642320299852.23"),
    _field("wat", pa.string(), "file name of the WAT"),
    _field("record_offset", pa.int64(), "byte offset in the WAT of the record's gzip member"),
    _field("link_position", pa.int32(), "position of the link among the record's image links"),
]

CANDIDATE = pa.schema(
    [
        _field("url", pa.string(), "absolute URL of the image"),
        _field("host", pa.string(), "its host, canonical: lower case, IDNA, no last dot"),
        _field("text", pa.string(), "alt text, cleaned"),
        *_LANGUAGE,
        *_PROVENANCE,
    ]
)
"""`extract`: one row per candidate link; row group b holds the rows of block b."""

CANDIDATES = "candidates 2"
"""This format's name, in the fingerprints of what is made of it: 2 has the column `host`."""

KEYED_CANDIDATE = pa.schema(
    [
        _field("key", pa.string(), "sample key CRAWL-BLOCK-SHARD-INDEX, unique in the dataset"),
        *CANDIDATE,
    ]
)
"""`shuffle`: CANDIDATE plus the sample key; row group s holds shard s."""

SAMPLE = pa.schema(
    [
        _field("key", pa.string(), "sample key; name of the sample in the tar"),
        _field("url", pa.string(), "absolute URL of the image"),
        _field("caption", pa.string(), "alt text"),
        _field("status", pa.string(), "success, failed_to_download or failed_to_resize"),
        _field(
            "error_message", pa.string(), "reason of the failure (see docs/download.md); or empty"
        ),
        _field("http_status", pa.int32(), "last HTTP status; 0 if there was no answer"),
        _field("final_url", pa.string(), "URL after redirects; empty if no answer"),
        _field("content_type", pa.string(), "Content-Type of the answer"),
        _field("bytes", pa.int64(), "length of the body that was read"),
        _field("width", pa.int32(), "stored image, pixels; 0 if none"),
        _field("height", pa.int32(), "stored image, pixels; 0 if none"),
        _field("original_width", pa.int32(), "downloaded image, pixels; 0 if unknown"),
        _field("original_height", pa.int32(), "downloaded image, pixels; 0 if unknown"),
        _field("exif", pa.string(), "EXIF of the downloaded image as JSON; empty if none"),
        _field("sha256", pa.string(), "of the downloaded bytes, hex; empty if none"),
        _field("md5", pa.string(), "of the downloaded bytes, hex; empty if none"),
        *_LANGUAGE,
        *_PROVENANCE,
    ]
)
"""`download`: every input row with its outcome, in input order, one parquet beside each tar."""

SCORED_SAMPLE = pa.schema(
    [
        *SAMPLE,
        _field(
            "similarity", pa.float32(), "cosine of image and text (B/32 towers); NaN if unscored"
        ),
        _field("nsfw", pa.string(), "LAION-400M's class: UNLIKELY, UNSURE, NSFW or UNTAGGED"),
        _field("fate", pa.string(), "kept, or the ledger's reason for the drop"),
    ]
)
"""`filter`: scores of all downloaded samples (kept or not), and of the kept shards."""

EMBEDDED_SAMPLE = pa.schema(
    [
        _field("image_path", pa.string(), "sample key (clip-retrieval's name for it)"),
        *[
            field
            for field in SCORED_SAMPLE
            if field.name not in ("status", "error_message", "fate")
        ],
    ]
)
"""`embed`: one row per row of img_emb and text_emb, in clip-retrieval's layout."""

TAGS = pa.schema(
    [
        _field("key", pa.string(), "sample key"),
        _field("hash", pa.int64(), "LAION's join key: low 64 bits of murmur3_x64_128(url + text)"),
    ]
)
"""`tag`: one row per embedding; then one float32 column per head, and `nsfw` (string)."""

RELEASE = pa.schema(
    [
        _field("URL", pa.string(), "absolute URL of the image"),
        _field("TEXT", pa.string(), "alt text"),
        _field("WIDTH", pa.int32(), "of the downloaded image, pixels"),
        _field("HEIGHT", pa.int32(), "of the downloaded image, pixels"),
        _field("similarity", pa.float64(), "cosine of image and text (B/32 towers)"),
        _field("LANGUAGE", pa.string(), "BCP-47 code; in laion-multi only"),
        _field("hash", pa.int64(), "LAION's join key"),
    ]
)
"""`release`: LAION's columns; tags and our own columns follow them."""


def join_hash(url: str, text: str) -> int:
    """LAION's join key of a sample: signed 64 bit, MurmurHash3 x64 128, seed 0, low half."""
    import mmh3

    return int(mmh3.hash64((url + text).encode("utf-8", "surrogatepass"))[0])


def describe(field: pa.Field[Any]) -> str:
    """What a column means, as its schema says."""
    return str((field.metadata or {}).get(b"description", b"").decode())
