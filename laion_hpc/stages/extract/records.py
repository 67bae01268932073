"""Reads a WAT record by record, whatever is wrong with it; what cannot be read is reported.

A WAT from Common Crawl is a chain of gzip members, one per record. Each is inflated by itself,
with its checksum checked, straight from the memory-mapped file. Damage costs the records it hits
and no other: reading goes on at the next member that begins with a WARC record. Uncompressed
WATs and such as were gzipped in one piece are read as well.
"""

from __future__ import annotations

import mmap
import re
import tempfile
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple, TypeVar

from isal import igzip_lib, isal_zlib

MAX_RECORD_BYTES = 1 << 26
"""Inflated. Common Crawl cuts pages at 5 MB and their metadata is smaller still; a record beyond
this is damage or an attack, and is skipped so that memory stays bounded."""

MAX_MEMBER_BYTES = 1 << 34
"""Inflated. A WAT gzipped in one piece is inflated to a temporary file up to this size."""

_FIRST_CHUNK = 1 << 13
"""Most members are shorter, compressed; what is fed beyond a member's end is copied in vain."""

_InflateError: type[Exception] = igzip_lib.IsalError  # type: ignore[assignment] # its stub errs

_GZIP = b"\x1f\x8b\x08"
_NEXT_GZIP = re.compile(_GZIP)
"""The same: through a file, `search` is twice as fast as `find`."""
_WARC = b"WARC/"
_MAX_HEADER_BYTES = 1 << 16
_BOUNDARY = re.compile(rb"(?<=\n)WARC/1\.")
_HEADER_END = re.compile(rb"\r?\n\r?\n")
_LINE_ENDS = re.compile(rb"[\r\n]*")
_LENGTH = re.compile(rb"\ncontent-length:[ \t]*(\d{1,18})[ \t\r]*\n", re.IGNORECASE)


Item = TypeVar("Item")


class NotAWatError(Exception):
    """The file holds no WARC record at all; the message says what it is instead."""


class Record(NamedTuple):
    """One WARC record: `data[begin:end]` is its payload, what is before `begin` its header.

    `fault` is set if the header lies about the payload, which may be whole all the same.
    """

    offset: int
    """Byte offset in the file of the record, or of the gzip member that holds it."""
    data: bytes
    begin: int
    end: int
    fault: str = ""


@dataclass(frozen=True)
class Damage:
    """A stretch of the file that could not be read: at least one record is lost."""

    offset: int
    size: int
    """Bytes of the file, compressed if it is; 0 if they are part of a member that is whole."""
    reason: str


def read_records(path: Path) -> Iterator[Record | Damage]:
    """All records of a WAT in order, and the damage between them.

    Memory: a few times `MAX_RECORD_BYTES` at most. Raises NotAWatError if the file is empty or
    something else, OSError if it cannot be read.
    """
    return read_wat(path, members)


def read_wat(
    path: Path, of_gzip: Callable[[mmap.mmap], Iterator[Item]]
) -> Iterator[Item | Record | Damage]:
    """The same, where `of_gzip` reads what is gzipped."""
    with path.open("rb") as stream:
        start = stream.read(512)
        if not start:
            raise NotAWatError("the file is empty")
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            if start.startswith(_GZIP[:2]):
                yield from of_gzip(data)
            elif start.startswith(_WARC):
                yield from _split(data, 0)
            elif start.lstrip()[:1] == b"<":
                raise NotAWatError("it is an HTML or XML page, perhaps a proxy's error message")
            else:
                raise NotAWatError("it is neither gzip nor WARC")


class _Member:
    """One gzip member, inflated piece by piece."""

    def __init__(self, view: memoryview, offset: int) -> None:
        self._view, self.offset = view, offset
        self._inflate = isal_zlib.decompressobj(31)
        self._fed = offset
        self._step = _FIRST_CHUNK
        self.fault = ""

    def read(self, limit: int) -> bytes:
        """The next bytes, `limit` of them unless the member ends or is broken before."""
        inflate = self._inflate
        pieces: list[bytes] = []
        got = 0
        try:
            while got < limit and not inflate.eof:
                data: bytes | memoryview = inflate.unconsumed_tail
                if not data:
                    if self._fed >= len(self._view):
                        self.fault = "cut short"
                        break
                    data = self._view[self._fed : self._fed + self._step]
                    self._fed += len(data)
                    self._step = min(2 * self._step, 1 << 18)
                piece = inflate.decompress(data, limit - got)
                got += len(piece)
                pieces.append(piece)
        except _InflateError:
            self.fault = "corrupt gzip member"
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    @property
    def ended(self) -> bool:
        return bool(self._inflate.eof)

    @property
    def after(self) -> int:
        """Where the next member begins, once this one has ended."""
        return self._fed - len(self._inflate.unused_data)


def members(
    data: mmap.mmap, position: int = 0, until: int | None = None
) -> Generator[Record | Damage, None, int]:
    """What gzip members hold, one by one: those from `position` on that begin before `until`.

    Returns where the next one begins.
    """
    size = len(data)
    until = size if until is None else until
    with memoryview(data) as view:
        while position < until:
            following = _NEXT_GZIP.search(data, position + 1)
            end = following.start() if following else size
            inflate = isal_zlib.decompressobj(31)
            try:
                # Nearly always this is all of the member, and nothing else.
                inflated = inflate.decompress(view[position:end], MAX_RECORD_BYTES)
            except _InflateError:
                inflated = b""
            if inflate.eof:
                yield from _whole(inflated, position)
                position = end - len(inflate.unused_data)
                continue
            member = _Member(view, position)
            inflated = member.read(MAX_RECORD_BYTES)
            if member.ended:
                yield from _whole(inflated, position)
                position = member.after
                continue
            if not member.fault:
                yield from _long(member, inflated)
            if member.fault:
                after = _next_record(data, view, position + 1)
                yield Damage(position, after - position, member.fault)
                position = after
            else:
                position = member.after
    return position


def _whole(inflated: bytes, offset: int) -> Iterator[Record | Damage]:
    """The records of a member that has been inflated to its end."""
    record = _single(inflated, offset)
    if record is not None:
        yield record
    else:
        yield from _split(inflated, offset)


def _single(inflated: bytes, offset: int) -> Record | None:
    """The record of one inflated member if, as nearly always, it is one, exactly as declared."""
    begin = inflated.find(b"\r\n\r\n", 0, _MAX_HEADER_BYTES) + 4
    length = b"\r\nContent-Length: %d\r\n\r\n" % (len(inflated) - begin - 4)
    if inflated.startswith(_WARC) and inflated.endswith(length, 0, begin):
        return Record(offset, inflated, begin, len(inflated) - 4)
    return None


def _long(member: _Member, inflated: bytes) -> Iterator[Record | Damage]:
    """The records of a member that is longer than one record may be."""
    header_end = _HEADER_END.search(inflated, 0, _MAX_HEADER_BYTES)
    length = _LENGTH.search(inflated, 0, header_end.end()) if header_end else None
    if length is None or int(length[1]) > MAX_RECORD_BYTES or not inflated.startswith(_WARC):
        while not member.ended and not member.fault:
            member.read(1 << 20)
        if not member.fault:
            yield Damage(member.offset, member.after - member.offset, "record too large")
        return
    with tempfile.TemporaryFile() as spool:
        written = spool.write(inflated)
        while not member.ended and not member.fault:
            written += spool.write(member.read(1 << 20))
            if written > MAX_MEMBER_BYTES:
                member.fault = "gzip member too large"
        yield from _split_file(spool, member.offset)


def _split_file(spool: IO[bytes], offset: int) -> Iterator[Record | Damage]:
    spool.flush()
    with mmap.mmap(spool.fileno(), 0, access=mmap.ACCESS_READ) as data:
        yield from _split(data, offset, shared=True)


def _split(
    data: bytes | mmap.mmap, offset: int, *, shared: bool | None = None
) -> Iterator[Record | Damage]:
    """The records of inflated data. In a `shared` member they all have the member's offset."""
    shared = isinstance(data, bytes) if shared is None else shared
    position, size = 0, len(data)
    while position < size:
        here = offset if shared else offset + position
        header_end = None
        if data[position : position + len(_WARC)] == _WARC:
            header_end = _HEADER_END.search(data, position, position + _MAX_HEADER_BYTES)
        if header_end is None:
            after = _boundary(data, position + 1)
            if data[position : min(after, position + _MAX_HEADER_BYTES)].strip():
                yield Damage(here, 0 if shared else after - position, "not a WARC record")
            position = after
            continue
        begin = header_end.end()
        header = data[position:begin]
        length = _LENGTH.search(header)
        end = begin + int(length[1]) if length else size + 1
        after = _next_start(data, end)
        fault = ""
        if after < 0:
            after = _boundary(data, begin)
            end, fault = after, "wrong Content-Length"
        if end - begin > MAX_RECORD_BYTES:
            yield Damage(here, 0 if shared else after - position, "record too large")
        else:
            payload = data[begin:end].rstrip(b"\r\n") if fault else data[begin:end]
            record = header + payload
            yield Record(here, record, len(header), len(record), fault)
        position = after


def _boundary(data: bytes | mmap.mmap, position: int) -> int:
    """Where the next line that begins a WARC record starts, or the end of the data."""
    found = _BOUNDARY.search(data, position)
    return found.start() if found else len(data)


def _next_start(data: bytes | mmap.mmap, end: int) -> int:
    """Where the record after one that ends at `end` starts; -1 if none does: `end` is wrong."""
    if end > len(data):
        return -1
    blank = _LINE_ENDS.match(data, end, end + 16)
    after = blank.end() if blank else end
    return after if after == len(data) or data[after : after + len(_WARC)] == _WARC else -1


def _next_record(data: mmap.mmap, view: memoryview, position: int) -> int:
    """Where the next gzip member begins that starts with a WARC record, or the end of the file."""
    while (position := data.find(_GZIP, position)) >= 0:
        if _Member(view, position).read(len(_WARC)) == _WARC:
            return position
        position += 1
    return len(data)
