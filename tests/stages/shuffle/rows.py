"""Segment files for the tests, as `extract` writes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from laion_hpc.files.schemas import CANDIDATE
from laion_hpc.web.url import host_of


def row(url: str, text: str = "a red boat", **more: Any) -> dict[str, Any]:
    return {
        "url": url,
        "host": host_of(url),
        "text": text,
        "language": "en",
        "language_probability": 0.9,
        "language_reliable": True,
        "language_class": "en",
        "license": "?",
        "page_url": "http://example.org/",
        "page_language": "",
        "title": "",
        "crawl": "C-1",
        "segment": "1.1",
        "wat": "w-0",
        "record_offset": 0,
        "link_position": 0,
        **more,
    }


def write_part(path: Path, *blocks: Iterable[dict[str, Any]]) -> Path:
    """A file of extract: one row group for each of `blocks`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with pq.ParquetWriter(path, CANDIDATE) as writer:
        for rows in blocks:
            writer.write_table(pa.Table.from_pylist(list(rows), CANDIDATE))
    return path


def many(hosts: Sequence[int], *, start: int = 0, **more: Any) -> list[dict[str, Any]]:
    """`hosts[h]` rows of host h, for each of them; host by host, as a crawl has them."""
    return [
        row(f"http://h{h}.org/{start + n}.jpg", record_offset=n, **more)
        for h, count in enumerate(hosts)
        for n in range(count)
    ]
