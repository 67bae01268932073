"""Reads AutoKeras' NSFW heads from their published zip files, without TensorFlow.

A SavedModel keeps its weights in a checkpoint (a LevelDB table of protocol buffers over one file
of raw numbers), and its vocabularies as constants of the graph. This module
reads only what these heads need of both formats.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from laion_hpc.errors import InputError

_TABLE_MAGIC = bytes.fromhex("57fb808b247547db")
_FOOTER_BYTES = 48

# Numbers of tensorflow.DataType.
_FLOAT, _STRING = 1, 7


@dataclass(frozen=True)
class AutoKerasHead:
    """The parts of such a head."""

    mean: NDArray[np.float32]
    variance: NDArray[np.float32]
    layers: list[tuple[NDArray[np.float32], NDArray[np.float32]]]
    """(in, out) weights and (out,) bias of each layer."""
    vocabularies: dict[int, list[str]]
    """By dimension: its words; a word's number is its position from 1."""


def read_autokeras(path: Path) -> AutoKerasHead:
    """The head in a zip of a SavedModel; InputError if it is not such a head."""
    try:
        with zipfile.ZipFile(path) as archive:
            files = {name.rpartition("/")[2]: archive.read(name) for name in archive.namelist()}
        variables = _variables(files["variables.index"], files["variables.data-00000-of-00001"])
        # Layers are numbered from the input; the first, without a kernel, normalises.
        kernels = sorted(
            (name for name in variables if re.fullmatch(r"layer_with_weights-\d+/kernel", name)),
            key=lambda name: int(re.findall(r"\d+", name)[0]),
        )
        normalisation = next(name for name in variables if name.endswith("/mean"))
        head = AutoKerasHead(
            variables[normalisation],
            variables[normalisation.replace("/mean", "/variance")],
            [(variables[name], variables[name.replace("kernel", "bias")]) for name in kernels],
            _vocabularies(files["saved_model.pb"], files["keras_metadata.pb"]),
        )
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (zipfile.BadZipFile, KeyError, ValueError, IndexError, StopIteration) as error:
        raise InputError(f"{path}: not the zip of an AutoKeras head ({str(error)[:100]})") from None
    return head


def _variables(index: bytes, data: bytes) -> dict[str, NDArray[np.float32]]:
    """The float variables of a checkpoint by name."""
    if not index.endswith(_TABLE_MAGIC):
        raise ValueError("variables.index is not a checkpoint index")
    footer = index[-_FOOTER_BYTES:]
    at = 0
    for _ in range(2):  # the handle of the meta index
        _, at = _varint(footer, at)
    offset, at = _varint(footer, at)
    size, at = _varint(footer, at)
    found = {}
    for _, handle in _block_entries(index, offset, size):
        block_offset, at = _varint(handle, 0)
        block_size, _ = _varint(handle, at)
        for name, entry in _block_entries(index, block_offset, block_size):
            plain = name.removesuffix(b"/.ATTRIBUTES/VARIABLE_VALUE").decode()
            fields = dict(_fields(entry))
            if plain and fields.get(1) == _FLOAT:
                shape = [
                    int(dict(_fields(dimension)).get(1, 0))
                    for number, dimension in _fields(_bytes(fields.get(2, b"")))
                    if number == 2 and isinstance(dimension, bytes)
                ]
                start = _int(fields.get(4, 0))
                raw = data[start : start + _int(fields[5])]
                found[plain] = np.frombuffer(raw, "<f4").reshape(shape).copy()
    return found


def _block_entries(table: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """The keys and values of one block of a LevelDB table; keys share prefixes."""
    if table[offset + size] != 0:
        raise ValueError("a compressed checkpoint index")
    block = table[offset : offset + size]
    restarts = int.from_bytes(block[-4:], "little")
    end = len(block) - 4 * (restarts + 1)
    at, key = 0, b""
    while at < end:
        shared, at = _varint(block, at)
        own, at = _varint(block, at)
        length, at = _varint(block, at)
        key = key[:shared] + block[at : at + own]
        at += own
        yield key, block[at : at + length]
        at += length


def _vocabularies(saved_model: bytes, metadata: bytes) -> dict[int, list[str]]:
    """The words of each dimension that the encoding calls `int`, in the order of the graph."""
    found = re.search(rb'"encoding": (\[[^\]]*\])', metadata)
    if found is None:
        raise ValueError("keras_metadata.pb has no encoding")
    dimensions = [i for i, kind in enumerate(json.loads(found[1])) if kind == "int"]
    meta_graph = _first(saved_model, 2)
    graph = _first(meta_graph, 2)
    words = [
        strings
        for number, node in _fields(graph)
        if number == 1 and isinstance(node, bytes)
        for strings in _string_constant(node)
        # Every table is filled from two constants: its words, and the numbers 1, 2, 3 …
        if len(strings) > 1 and all(re.fullmatch(r"-?\d+\.\d{6}", word) for word in strings)
    ]
    if len(words) != len(dimensions):
        raise ValueError(f"{len(words)} vocabularies for {len(dimensions)} dimensions")
    return dict(zip(dimensions, words, strict=True))


def _string_constant(node: bytes) -> Iterator[list[str]]:
    """The strings of a NodeDef if it is a constant of strings."""
    if _first(node, 2) != b"Const":
        return
    for number, attribute in _fields(node):
        if number == 5 and isinstance(attribute, bytes) and _first(attribute, 1) == b"value":
            tensor = _first(_first(attribute, 2), 8)
            parts = list(_fields(tensor))
            if (1, _STRING) in parts:
                yield [_bytes(value).decode("latin-1") for number, value in parts if number == 8]


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a protocol buffer: numbers as int, all else as bytes."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        kind = tag & 7
        if kind == 0:
            value: int | bytes
            value, at = _varint(message, at)
        else:
            if kind == 2:
                length, at = _varint(message, at)
            elif kind in (1, 5):
                length = 8 if kind == 1 else 4
            else:
                raise ValueError("no protocol buffer")
            value = message[at : at + length]
            at += length
        yield tag >> 3, value


def _first(message: bytes, number: int) -> bytes:
    return next((_bytes(value) for n, value in _fields(message) if n == number), b"")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError("no protocol buffer of this kind")
    return value


def _int(value: int | bytes) -> int:
    if not isinstance(value, int):
        raise ValueError("no protocol buffer of this kind")
    return value
