"""Searches every file of a crawl for traces of samples that were taken down. It compares hashes.

In tables (parquet, Arrow) it compares the columns of URLs, keys and hashes. In tars it compares the
metadata and the bytes of each sample. In every other text (reports, logs, JSON) it compares the
URLs, hosts and keys. Vectors and Bloom filters hold no names. The ledgers prove that there is one
vector for each row of the metadata.
"""

from __future__ import annotations

import hashlib
import html
import json
import re
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa

from laion_hpc.errors import InputError
from laion_hpc.files import tombstones
from laion_hpc.files.shards import read_shard
from laion_hpc.files.tables import open_arrow, open_parquet
from laion_hpc.files.takedown_list import Takedowns
from laion_hpc.web.url import host_of

URLS = ("url", "URL", "final_url")
HOSTS = ("host",)
KEYS = ("key", "image_path")
HASHES = ("sha256", "md5")
TEXTS = {".json", ".html", ".md", ".log", ".txt", ".tsv", ".yaml", ".csv", ""}
BINARIES = {".npy", ".index", ".ivfdata", ".seen"}
"""Vectors, their index, Bloom filters: they hold nothing to compare."""

_URL = re.compile(r"https?://[^\s\"'<>\\`|]+")
_HOST = re.compile(r"[\w-]+(?:\.[\w-]+)+")
_KEY = re.compile(r"[\w-]+-\d{4}-\d{5}-\d{5}")
_TRAILING = ".,;:!?)]}*_"


class _Suspects:
    """The hashes to search for, and the counts of what was found."""

    def __init__(self, takedowns: Takedowns, keys: frozenset[str], holds_places: bool) -> None:
        self._takedowns = takedowns
        self._keys = frozenset() if holds_places else keys
        self.found: dict[str, int] = {}

    def urls(self, urls: Iterable[str]) -> None:
        """Count URLs that are taken down."""
        given = [url or "" for url in urls]
        hits = tombstones.covered(given, map(host_of, given), self._takedowns).sum()
        self._count("URLs", int(hits))

    def keys(self, keys: Iterable[str]) -> None:
        """Count keys of samples that are taken down."""
        if self._keys:
            self._count("keys", sum(tombstones.sha256(key) in self._keys for key in keys))

    def hashes(self, hashes: Iterable[str]) -> None:
        """Count hashes of images that are taken down."""
        self._count("images", sum(digits in self._takedowns.images for digits in hashes))

    def hosts(self, names: Iterable[str]) -> None:
        """Count hosts that are taken down."""
        listed = self._takedowns.hosts
        if listed:
            hits = sum(
                any(tombstones.sha256(one) in listed for one in tombstones.hosts_above(name))
                for name in names
            )
            self._count("hosts", hits)

    def _count(self, what: str, number: int) -> None:
        if number:
            self.found[what] = self.found.get(what, 0) + number


def search(path: Path, *, crawl: Path, takedowns: Takedowns, numbering: str) -> list[str]:
    """What one file under `crawl` still holds, as lines to print; empty if nothing."""
    stage = path.relative_to(crawl).parts[0]
    keys = frozenset(s.key for s in takedowns.samples if s.numbering == numbering)
    # In these stages a tombstone keeps the place of the sample, under its key.
    suspects = _Suspects(takedowns, keys, holds_places=stage in ("shuffle", "download"))
    try:
        if path.suffix == ".parquet":
            _search_parquet(path, suspects)
        elif path.suffix == ".arrow":
            _search_arrow(path, suspects)
        elif path.suffix == ".tar":
            _search_tar(path, suspects)
        elif path.suffix in BINARIES:
            return []
        else:
            _search_text(path, suspects)
    except (InputError, OSError, pa.ArrowException, ValueError) as error:
        return [f"{path}: cannot be searched for what was taken down ({error})"]
    held = ", ".join(f"{number} {what}" for what, number in suspects.found.items())
    return [f"{path}: still holds {held} that were taken down"] if held else []


def _search_parquet(path: Path, suspects: _Suspects) -> None:
    with open_parquet(path) as file:
        names = [n for n in file.schema_arrow.names if n in (*URLS, *HOSTS, *KEYS, *HASHES)]
        if names:
            for batch in file.iter_batches(columns=names):
                _search_columns(batch, suspects)


def _search_arrow(path: Path, suspects: _Suspects) -> None:
    reader = open_arrow(path)
    for number in range(reader.num_record_batches):
        _search_columns(reader.get_batch(number), suspects)


def _search_columns(batch: pa.RecordBatch, suspects: _Suspects) -> None:
    for names, search in (
        (URLS, suspects.urls),
        (HOSTS, suspects.hosts),
        (KEYS, suspects.keys),
        (HASHES, suspects.hashes),
    ):
        for name in names:
            if name in batch.schema.names:
                search(batch.column(name).to_pylist())


def _search_tar(path: Path, suspects: _Suspects) -> None:
    for sample in read_shard(path):
        data = json.loads(sample.members.get("json", b"{}"))
        suspects.urls(str(data.get(name) or "") for name in URLS)
        suspects.keys([sample.key])
        suspects.hashes(str(data.get(name) or "") for name in HASHES)
        for extension, body in sample.members.items():
            if extension not in ("json", "txt"):
                suspects.hashes(
                    (
                        hashlib.sha256(body).hexdigest(),
                        hashlib.md5(body, usedforsecurity=False).hexdigest(),
                    )
                )


def _search_text(path: Path, suspects: _Suspects) -> None:
    data = path.read_bytes()
    if b"\0" in data[:1024]:
        raise ValueError(
            "not a text file; remove it, or add its suffix to laion_hpc/run/takedown/traces.py"
        )
    text = html.unescape(data.decode("utf-8", "replace"))
    # A sentence can end right after a URL, so its last mark may not belong to it. Try both.
    urls = set(_URL.findall(text))
    suspects.urls(urls | {url.rstrip(_TRAILING) for url in urls})
    suspects.hosts(set(_HOST.findall(text)))
    suspects.keys(set(_KEY.findall(text)))
