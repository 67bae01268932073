"""Finds the places of a shard's images in its tar: any process reads just the bytes it needs."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from laion_hpc.errors import InputError

BLOCK = 512
_READ_AHEAD = 1 << 20
_PLAIN = (b"0", b"\0")
"""Types of a member that is a file, as `ShardWriter` writes it."""

Span = tuple[int, int]
"""Offset and length in bytes; length 0: no image."""


@dataclass(frozen=True)
class TarIndex:
    """The samples of a tar in order."""

    keys: list[str]
    spans: list[Span]
    """The place of each sample's image."""
    identity: tuple[int, int, int]
    """Inode, time and size of the file that the offsets are for."""


def index_tar(path: Path, extensions: tuple[str, ...]) -> TarIndex:
    """Read the headers of a tar; `extensions` of images, the preferred ones first.

    Raises InputError, naming the file, if the tar is missing, cut short or not a tar.
    """
    try:
        with path.open("rb", buffering=_READ_AHEAD) as stream:
            status = os.fstat(stream.fileno())
        members = _plain_members(path, status.st_size)
        if members is None:
            members = list(_members(path, status.st_size))
    except FileNotFoundError:
        raise InputError(f"{path}: no such shard") from None
    except tarfile.TarError as error:
        raise InputError(f"{path}: not a whole tar ({error}); make this shard again") from None
    keys: list[str] = []
    spans: list[Span] = []
    for key, found in _samples(members):
        keys.append(key)
        spans.append(next((found[e] for e in extensions if e in found), (0, 0)))
    return TarIndex(keys, spans, (status.st_ino, status.st_mtime_ns, status.st_size))


def _samples(members: list[tuple[str, Span]]) -> Iterator[tuple[str, dict[str, Span]]]:
    """Consecutive members that share the part before the first dot."""
    key, found = "", dict[str, Span]()
    for name, span in members:
        stem, _, extension = name.partition(".")
        if stem != key and found:
            yield key, found
            found = {}
        key = stem
        found[extension] = span
    if found:
        yield key, found


def _plain_members(path: Path, size: int) -> list[tuple[str, Span]] | None:
    """The members of a tar of plain files with short names, 20 times as fast as tarfile.

    None if it holds anything else, or is damaged: then use tarfile.
    """
    members = []
    with path.open("rb", buffering=_READ_AHEAD) as stream:
        at = 0
        while at < size:
            stream.seek(at)
            header = stream.read(BLOCK)
            if len(header) < BLOCK:
                return None
            if header[0] == 0 and not any(header):
                break
            try:
                total = int(header[148:156].strip(b" \0"), 8)
                length = int(header[124:136].strip(b" \0"), 8)
            except ValueError:
                return None
            if length < 0:  # it would lead back to bytes that were read
                return None
            # The field of the sum itself counts as eight blanks.
            if sum(header) - sum(header[148:156]) + 8 * 32 != total:
                return None
            name = header[:100].partition(b"\0")[0]
            if header[156:157] not in _PLAIN or header[345] or name.endswith(b"/"):
                return None
            start = at + BLOCK
            at = start + -(-length // BLOCK) * BLOCK
            if at > size:
                return None
            members.append((name.decode("utf-8", "surrogateescape"), (start, length)))
    return members or None


def _members(path: Path, size: int) -> Iterator[tuple[str, Span]]:
    with tarfile.open(path, "r:") as tar:
        for info in tar:
            if not info.isfile():
                continue
            if info.offset_data + info.size > size:
                raise tarfile.ReadError("unexpected end of data")
            yield info.name, (info.offset_data, info.size)
