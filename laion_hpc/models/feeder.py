"""Embeds a shard's images on a GPU, while other processes decode them.

Several threads of one process embed a shard each, through one feeder. Their images are decoded in
the order of the shards, and go to the device in that order. While the last batches of one shard
are computed, those of the next are ready, and the one before ends (texts, files).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from threading import Condition
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from laion_hpc.errors import LaionHpcError
from laion_hpc.models.decoder_process import Recipe, decode_some, index
from laion_hpc.models.decoders import IN_HAND, Decoders
from laion_hpc.models.pipeline import Queue
from laion_hpc.models.pixels import Geometry
from laion_hpc.models.shard_images import Images, refuse_others
from laion_hpc.models.tar_index import TarIndex

View = TypeVar("View")

SHARDS_AT_A_TIME = 3
"""One whose images go to the device, one that is decoded ahead, one that ends (texts, files)."""

CHUNK = 16
"""Images of a task."""

BATCHES_AHEAD = 2
"""Batches of a shard that are decoded ahead."""


class FedTower(Protocol):
    """A tower that takes images as rows of pixels."""

    width: int
    """Length of an embedding."""
    device: str
    """Where it runs: cpu or cuda:N."""
    side: int
    """Shorter side of the images that its network sees, pixels."""
    geometry: Geometry | None
    """How images are resized and cropped for it; None: only it knows."""

    def buffer(self, count: int) -> NDArray[np.uint8]:
        """Memory for `count` images (count, height, width, 3) that the device reads quickly."""

    def begin_frames(self, frames: NDArray[np.uint8]) -> Callable[[], NDArray[np.float32]]:
        """Begin to embed a buffer's first images (n, height, width, 3) -> (n, width).

        The function returned waits for the result; until then the buffer must not change.
        """


@dataclass(frozen=True)
class _Lane:
    """A shard's place in the order, and its slots of the shared memory."""

    number: int
    slots: range
    """Starts of the slots of one chunk, bytes."""


@dataclass(frozen=True)
class _Chunk:
    """Some decoded images."""

    rows: list[int]
    """Their positions in the shard."""
    pixels: NDArray[np.uint8]
    """(at least as many, height, width, 3); the next chunk overwrites it."""
    views: list[Any]
    """What the recipe's view gave for each, if it has one."""


class Feeder:
    """Decoding processes and the order of the shards that they decode for."""

    def __init__(self, tower: FedTower, *, workers: int, batch: int) -> None:
        """`workers` processes; `batch`: images of a batch, to know how far to decode ahead."""
        assert tower.geometry is not None
        self._geometry = tower.geometry
        self._slot = CHUNK * tower.geometry.height * tower.geometry.width * 3
        ahead = max(-(-batch * BATCHES_AHEAD // CHUNK), workers * (IN_HAND + 1))
        self.decoders = Decoders(workers, SHARDS_AT_A_TIME * ahead * self._slot)
        self._memory = np.frombuffer(self.decoders.memory, np.uint8)
        self._lanes: SimpleQueue[range] = SimpleQueue()
        for lane in range(SHARDS_AT_A_TIME):
            first = lane * ahead * self._slot
            self._lanes.put(range(first, first + ahead * self._slot, self._slot))
        self._turn = Condition()
        self._next = self._entered = 0
        self._over: set[int] = set()

    @property
    def alive(self) -> bool:
        """Whether it can be used."""
        return self.decoders.failure is None

    def close(self) -> None:
        """End the processes; threads that wait for images get an error."""
        self.decoders.close()
        with self._turn:
            self._turn.notify_all()

    def embed_images(
        self,
        tar: Path,
        keys: Sequence[str],
        tower: FedTower,
        size: int,
        *,
        scaled: bool,
        view: Callable[[Image.Image], View] | None,
    ) -> Images[View]:
        """As `batches.embed_images`, with the same results. `view` must be picklable.

        LaionHpcError that names the tar if a process that decodes dies.
        """
        rows: list[int] = []
        views: list[View] = []
        vectors = Queue(tower.width)
        recipe: Recipe = (self._geometry, tower.side if scaled else None, view)
        batch, filled = tower.buffer(size), 0
        with self._lane() as lane:
            found: TarIndex = self.decoders.submit(index, tar, at=tar, before=lane.number).result()
            refuse_others(tar, found.keys, keys)
            with self._decoding(tar, found, lane, recipe) as chunks, self._in_turn(lane):
                for chunk in chunks:
                    rows.extend(chunk.rows)
                    views.extend(chunk.views)
                    done = 0
                    while done < len(chunk.rows):
                        count = min(size - filled, len(chunk.rows) - done)
                        batch[filled : filled + count] = chunk.pixels[done : done + count]
                        filled, done = filled + count, done + count
                        if filled == size:
                            vectors.add(tower.begin_frames(batch))
                            batch, filled = tower.buffer(size), 0
                if filled:
                    vectors.add(tower.begin_frames(batch[:filled]))
        return Images(np.array(rows, np.int64), vectors.all(), views)

    @contextmanager
    def _decoding(
        self, tar: Path, found: TarIndex, lane: _Lane, recipe: Recipe
    ) -> Iterator[Iterator[_Chunk]]:
        """Chunks of decoded images in order; some begin at once, ahead of their use."""
        free = deque(lane.slots)
        firsts = iter(range(0, len(found.spans), CHUNK))
        waiting: deque[tuple[int, int, Future[tuple[list[int], list[Any]]]]] = deque()
        shape = (CHUNK, self._geometry.height, self._geometry.width, 3)

        def begin() -> None:
            while free and (first := next(firsts, None)) is not None:
                slot = free.popleft()
                spans = found.spans[first : first + CHUNK]
                arguments = (tar, found.identity, spans, slot, recipe)
                future = self.decoders.submit(decode_some, *arguments, at=tar, before=lane.number)
                waiting.append((first, slot, future))

        def chunks() -> Iterator[_Chunk]:
            while waiting:
                first, slot, future = waiting[0]
                good, views = future.result()
                pixels = self._memory[slot : slot + self._slot].reshape(shape)
                yield _Chunk([first + at for at in good], pixels, views)
                waiting.popleft()
                free.append(slot)
                begin()

        try:
            begin()
            yield chunks()
        finally:
            # After an error, no task may write into slots that another shard has.
            for _, _, future in waiting:
                future.exception()

    @contextmanager
    def _lane(self) -> Iterator[_Lane]:
        slots = self._lanes.get()
        with self._turn:
            number = self._entered
            self._entered += 1
        try:
            yield _Lane(number, slots)
        finally:
            self._pass_on(number)
            self._lanes.put(slots)

    @contextmanager
    def _in_turn(self, lane: _Lane) -> Iterator[None]:
        """Within it, all images of the shards before have gone to the device."""
        with self._turn:
            self._turn.wait_for(lambda: self._next == lane.number or not self.alive)
        if self.decoders.failure:
            raise LaionHpcError(str(self.decoders.failure))
        yield

    def _pass_on(self, number: int) -> None:
        with self._turn:
            self._over.add(number)
            while self._next in self._over:
                self._over.remove(self._next)
                self._next += 1
            self._turn.notify_all()
