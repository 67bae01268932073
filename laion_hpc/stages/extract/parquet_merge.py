"""Parquet files of the same columns made into one, without decoding them.

A segment's row groups are encoded by all processes at once, each some of them, into a file of its
own. Here their bytes come one after the other, under one footer in which every row group has its
new place: the very bytes that one writer would have written. PyArrow can append the metadata of
row groups but not move them, so the footer (Thrift's compact protocol) is read and written here.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

_MAGIC = b"PAR1"
_TAIL = 8
"""Bytes after the footer: its length, and the magic number."""

# Thrift's types, as the compact protocol numbers them.
_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(1, 13)
_NUMBERS = (_I16, _I32, _I64)

# Numbers of fields in parquet.thrift.
_FILE_ROWS, _FILE_GROUPS = 3, 4
_GROUP_COLUMNS, _GROUP_OFFSET, _GROUP_ORDINAL = 1, 5, 7
_COLUMN_OFFSET, _COLUMN_METADATA = 2, 3
_COLUMN_INDEXES = 4, 6
_DATA_PAGE, _INDEX_PAGE, _DICTIONARY_PAGE, _BLOOM_FILTER = 9, 10, 11, 14


class _Field(NamedTuple):
    number: int
    kind: int
    value: Any


_Struct = list[_Field]
_List = tuple[int, list[Any]]
"""The type of its elements, and they."""


def join(parts: Sequence[Path], output: Path) -> None:
    """Write the row groups of all `parts`, in order, into `output`.

    The parts are of one schema and one writer's settings, without page indexes and Bloom filters;
    ValueError if not. The caller makes the output atomic.
    """
    whole: _Struct = []
    groups: list[_Struct] = []
    rows = 0
    with output.open("wb") as out:
        out.write(_MAGIC)
        for path in parts:
            with path.open("rb") as part:
                footer, end = _footer(part)
                found = _groups(footer)
                for group in found:
                    groups.append(_moved(group, out.tell() - len(_MAGIC), len(groups)))
                if whole and _without_rows(footer) != _without_rows(whole):
                    raise ValueError(f"{path}: not of the columns or the writer of {parts[0]}")
                whole = whole or footer
                rows += _value(footer, _FILE_ROWS)
                part.seek(len(_MAGIC))
                _copy(part, out, end - len(_MAGIC))
        changed = {_FILE_ROWS: rows, _FILE_GROUPS: (_STRUCT, groups)}
        encoded = bytearray()
        _write_struct(encoded, [field._replace(value=changed.get(field.number, field.value))
                                for field in whole])  # fmt: skip
        out.write(encoded + len(encoded).to_bytes(4, "little") + _MAGIC)


def _copy(source: BinaryIO, to: BinaryIO, size: int) -> None:
    shutil.copyfileobj(_Limited(source, size), to, 1 << 20)


class _Limited:
    """The next `count` bytes of a stream."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self._stream, self._left = stream, size

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(min(size, self._left) if size >= 0 else self._left)
        self._left -= len(data)
        return data


def _footer(stream: BinaryIO) -> tuple[_Struct, int]:
    """The footer of a file, and where it begins."""
    size = stream.seek(0, 2)
    stream.seek(size - _TAIL)
    tail = stream.read(_TAIL)
    begin = size - _TAIL - int.from_bytes(tail[:4], "little")
    if tail[4:] != _MAGIC or begin < len(_MAGIC):
        raise ValueError("not a Parquet file")
    stream.seek(begin)
    return _Reader(stream.read(size - _TAIL - begin)).struct(), begin


def _value(struct: _Struct, number: int) -> Any:
    return next(field.value for field in struct if field.number == number)


def _groups(footer: _Struct) -> list[_Struct]:
    groups: list[_Struct] = _value(footer, _FILE_GROUPS)[1]
    return groups


def _without_rows(footer: _Struct) -> _Struct:
    return [field for field in footer if field.number not in (_FILE_ROWS, _FILE_GROUPS)]


def _moved(group: _Struct, by: int, ordinal: int) -> _Struct:
    """A row group's metadata once its bytes have moved by this number."""

    def further(struct: _Struct, numbers: tuple[int, ...]) -> _Struct:
        return [
            field._replace(value=field.value + by)
            # Arrow writes 0 for an offset that it does not state.
            if field.number in numbers and field.value
            else field
            for field in struct
        ]

    def column(chunk: _Struct) -> _Struct:
        if any(field.number in _COLUMN_INDEXES for field in chunk):
            raise ValueError("page indexes cannot be moved")
        moved = further(chunk, (_COLUMN_OFFSET,))
        places = _DATA_PAGE, _INDEX_PAGE, _DICTIONARY_PAGE, _BLOOM_FILTER
        return [
            field._replace(value=further(field.value, places))
            if field.number == _COLUMN_METADATA
            else field
            for field in moved
        ]

    moved = []
    for field in further(group, (_GROUP_OFFSET,)):
        if field.number == _GROUP_COLUMNS:
            field = field._replace(value=(_STRUCT, [column(one) for one in field.value[1]]))
        elif field.number == _GROUP_ORDINAL:
            field = field._replace(value=ordinal)
        moved.append(field)
    return moved


class _Reader:
    """Reads Thrift's compact protocol."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def struct(self) -> _Struct:
        fields: _Struct = []
        number = 0
        while head := self._byte():
            kind, delta = head & 15, head >> 4
            number = number + delta if delta else _signed(self._varint())
            fields.append(_Field(number, kind, self._value(kind)))
        return fields

    def _value(self, kind: int) -> Any:
        if kind in _NUMBERS:
            return _signed(self._varint())
        if kind == _BINARY:
            return self._bytes(self._varint())
        if kind == _STRUCT:
            return self.struct()
        if kind in (_TRUE, _FALSE):
            return kind == _TRUE  # as a field, the type is the value
        if kind in (_LIST, _SET):
            head = self._byte()
            size = head >> 4 if head >> 4 < 15 else self._varint()
            inner = head & 15
            if inner in (_TRUE, _FALSE):
                return inner, [self._byte() for _ in range(size)]
            return inner, [self._value(inner) for _ in range(size)]
        if kind == _BYTE:
            return self._byte()
        if kind == _DOUBLE:
            return self._bytes(8)
        raise ValueError(f"a Parquet footer with a value of Thrift's type {kind}")

    def _byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1]

    def _bytes(self, size: int) -> bytes:
        self._at += size
        return self._data[self._at - size : self._at]

    def _varint(self) -> int:
        data, at = self._data, self._at
        value = shift = 0
        while (byte := data[at]) & 0x80:
            value |= (byte & 0x7F) << shift
            shift += 7
            at += 1
        self._at = at + 1
        return value | byte << shift


def _signed(zigzag: int) -> int:
    return zigzag >> 1 ^ -(zigzag & 1)


def _write_struct(out: bytearray, struct: _Struct) -> None:
    before = 0
    for number, kind, value in struct:
        if kind in (_TRUE, _FALSE):
            kind = _TRUE if value else _FALSE
        if 0 < number - before <= 15:
            out.append((number - before) << 4 | kind)
        else:
            out.append(kind)
            _write_varint(out, _zigzag(number))
        before = number
        if kind not in (_TRUE, _FALSE):
            _write(out, kind, value)
    out.append(0)


def _write(out: bytearray, kind: int, value: Any) -> None:
    if kind in _NUMBERS:
        _write_varint(out, _zigzag(value))
    elif kind == _BINARY:
        _write_varint(out, len(value))
        out += value
    elif kind == _STRUCT:
        _write_struct(out, value)
    elif kind in (_LIST, _SET):
        inner, values = value
        if len(values) < 15:
            out.append(len(values) << 4 | inner)
        else:
            out.append(0xF0 | inner)
            _write_varint(out, len(values))
        for one in values:
            if inner in (_TRUE, _FALSE, _BYTE):
                out.append(one)
            else:
                _write(out, inner, one)
    elif kind == _BYTE:
        out.append(value)
    else:
        out += value


def _zigzag(value: int) -> int:
    return value << 1 if value >= 0 else (-value << 1) - 1


def _write_varint(out: bytearray, value: int) -> None:
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
