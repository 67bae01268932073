"""The loop of a process that decodes: it takes tasks from a pipe until the pipe ends."""

from __future__ import annotations

import contextlib
import mmap
import os
import pickle
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from laion_hpc.errors import InputError, LaionHpcError
from laion_hpc.models.pixels import Geometry
from laion_hpc.models.shard_images import IMAGE_EXTENSIONS, decode
from laion_hpc.models.tar_index import Span, TarIndex, index_tar
from laion_hpc.runtime.work import die_with

NICENESS = 5
"""The process that uses the GPU goes first."""

OPEN_TARS = 8


class Desk:
    """State of a process between tasks: the shared memory and the open tars."""

    def __init__(self, memory: mmap.mmap) -> None:
        self.memory = memory
        self._open: dict[tuple[Path, tuple[int, int, int]], int] = {}

    def read(self, tar: Path, identity: tuple[int, int, int], span: Span) -> bytes:
        """Bytes of a tar; InputError if it is another file than the one that was indexed."""
        descriptor = self._open.get((tar, identity))
        if descriptor is None:
            descriptor = os.open(tar, os.O_RDONLY | os.O_CLOEXEC)
            status = os.fstat(descriptor)
            if (status.st_ino, status.st_mtime_ns, status.st_size) != identity:
                os.close(descriptor)
                raise InputError(f"{tar}: was replaced while it was read; run this again")
            while len(self._open) >= OPEN_TARS:
                os.close(self._open.pop(next(iter(self._open))))
            self._open[tar, identity] = descriptor
        offset, length = span
        parts = []
        while length:
            part = os.pread(descriptor, length, offset)
            if not part:
                raise InputError(f"{tar}: cut short while it was read; make this shard again")
            parts.append(part)
            offset, length = offset + len(part), length - len(part)
        return b"".join(parts)


def index(_desk: Desk, tar: Path) -> TarIndex:
    """Task: the places of the images in a tar."""
    return index_tar(tar, IMAGE_EXTENSIONS)


Recipe = tuple[Geometry, int | None, Callable[[Image.Image], Any] | None]
"""Geometry of the model; `least` of `decode`; a view of each image."""


def decode_some(
    desk: Desk,
    tar: Path,
    identity: tuple[int, int, int],
    spans: list[Span],
    at: int,
    recipe: Recipe,
) -> tuple[list[int], list[Any]]:
    """Task: decode images into the shared memory from byte `at` on, without gaps.

    Returns which of `spans` are images, and what the recipe's view gave for each of these.
    """
    geometry, least, view = recipe
    shape = (len(spans), geometry.height, geometry.width, 3)
    frames = np.frombuffer(desk.memory, np.uint8, int(np.prod(shape)), at).reshape(shape)
    good: list[int] = []
    views: list[Any] = []
    for number, span in enumerate(spans):
        image = decode(desk.read(tar, identity, span), least)
        if image is None:
            continue
        geometry.put(image, frames[len(good)])
        good.append(number)
        if view:
            views.append(view(image))
    return good, views


def serve(connection: Connection, descriptor: int, room: int, parent: int) -> None:
    """Run the tasks from `connection`, and send what they return or raise."""
    # Ctrl-C goes to the whole group; the leader alone handles it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A process of a pool has another handler, which a spawned one does not inherit, but a set mask.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    die_with(parent)
    with contextlib.suppress(OSError):
        os.nice(NICENESS)
    desk = Desk(mmap.mmap(descriptor, room))
    os.close(descriptor)
    while True:
        try:
            number, function, arguments = connection.recv()
        except (EOFError, OSError):
            return
        try:
            message = (number, True, function(desk, *arguments))
        except Exception as error:
            message = (number, False, _sendable(error))
        try:
            connection.send(message)
        except OSError:
            return
        except Exception as error:  # a result that cannot be pickled
            connection.send((number, False, _sendable(error)))


def _sendable(error: Exception) -> Exception:
    """`error`, or its text: some exceptions cannot be unpickled."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return LaionHpcError(f"{type(error).__name__}: {error}")
    return error
