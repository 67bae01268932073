"""A lane: one process with one event loop that carries several shards, one after the other.

Why so: fetching costs a millisecond of CPU an image and decoding two, so a lane is a trio loop
with hundreds of requests in flight, and one or a few decoder processes beside it; `--processes
N` is N such lanes, or, for a single shard, one lane with N decoders. Shards overlap in a lane:
while the last slow servers of one are waited for, the next is under way, so that no core is
idle. A process per image would cost a start each; threads would share one interpreter lock and
die together with the decoder that crashes.

Memory: a body above LARGE_BODY (1 MB) needs one of a few permits, images wait on disk
(`shard`), and a decoder's memory is limited: 256 connections stay below 1 GB.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import trio

from laion_hpc.errors import LaionHpcError
from laion_hpc.files import tombstones
from laion_hpc.files.ledger import Ledger, fingerprint
from laion_hpc.stages.download.blur import Box
from laion_hpc.stages.download.decoders import Decoders, open_decoders
from laion_hpc.stages.download.image import Picture, Rules, digest
from laion_hpc.stages.download.inputs import Source, read_boxes, read_shard
from laion_hpc.stages.download.lane_counts import Tally
from laion_hpc.stages.download.retry_failed import take_over
from laion_hpc.stages.download.schedule import Schedule
from laion_hpc.stages.download.shard import OpenShard
from laion_hpc.web.client import Answer, Client, Settings, open_client
from laion_hpc.web.url import host_of


@dataclass(frozen=True)
class Download:
    """All that the lanes of a download share."""

    source: Source
    output: Path
    settings: Settings
    rules: Rules
    min_bytes: int
    blocked: frozenset[str]
    """MD5 and SHA-256 digests, hex, of bodies that must not be kept."""
    taken_down: frozenset[str]
    """The same, of bodies whose samples must leave no trace."""
    connections: int
    decode_seconds: float
    config: str
    """Digest of the config, for the ledgers."""
    fingerprint: str
    """Of the input file and how it is cut."""
    progress: Path


@dataclass(frozen=True)
class Lane:
    """The shards that one process makes."""

    number: int
    shards: tuple[int, ...]
    decoders: int
    again: frozenset[int] = frozenset()
    """Those of the shards that are finished and of which only failed samples are asked for."""


def shard_source(job_fingerprint: str, shard: int) -> str:
    """The fingerprint of what a shard is made from."""
    return fingerprint(job_fingerprint, f"shard {shard}")


def run_lane(job: Download, lane: Lane) -> list[Ledger]:
    """Make the shards of a lane; their ledgers in order."""
    runner = _Runner(job, lane)
    try:
        with closing(runner.tally):
            trio.run(runner.run)
    except BaseExceptionGroup as group:
        _raise_first(group)
    if runner.stopped_by is not None:
        raise SystemExit(128 + runner.stopped_by)
    return [runner.ledgers[shard] for shard in lane.shards]


def _raise_first(group: BaseExceptionGroup[BaseException]) -> NoReturn:
    """Of the errors that tasks raised together, the one that a user can act on."""
    leaves: list[BaseException] = []

    def collect(error: BaseException) -> None:
        if isinstance(error, BaseExceptionGroup):
            for inner in error.exceptions:
                collect(inner)
        else:
            leaves.append(error)

    collect(group)
    for kind in (KeyboardInterrupt, SystemExit, LaionHpcError, OSError):
        for leaf in leaves:
            if isinstance(leaf, kind):
                raise leaf from None
    raise group


class _Runner:
    def __init__(self, job: Download, lane: Lane) -> None:
        self._job = job
        self._lane = lane
        self.ledgers: dict[int, Ledger] = {}
        self.tally = Tally(job.progress, lane.number)
        self.stopped_by: int | None = None
        self._open: dict[int, OpenShard] = {}
        self._writing = trio.CapacityLimiter(1)
        self._changed = trio.Event()
        self._cpu = time.process_time()
        self._schedule = Schedule(
            self._samples(),
            per_host=job.settings.connections_per_host,
            # About two shards may be waiting for slow hosts before no further one is begun.
            most_aside=2 * max((job.source.sizes[s] for s in lane.shards), default=1),
        )

    def _samples(self) -> Iterator[tuple[str, tuple[OpenShard, int]]]:
        """The samples of one shard after the other, with the host that decides their turn."""
        for number in self._lane.shards:
            table = read_shard(self._job.source, number)
            source = shard_source(self._job.fingerprint, number)
            boxes = read_boxes(self._job.source, number)
            shard = OpenShard(number, table, self._job.output, source=source, boxes=boxes)
            self._open[number] = shard
            rows: Iterable[int] = range(table.num_rows)
            if number in self._lane.again:
                rows = take_over(shard, self._job.output)
            if shard.complete:
                self._nursery.start_soon(self._write, shard)
            for row in rows:
                yield host_of(shard.urls[row]), (shard, row)

    async def run(self) -> None:
        try:
            async with trio.open_nursery() as watch:
                if _signals_are_ours():
                    watch.start_soon(self._stop_on_signal, watch.cancel_scope)
                await self._work()
                watch.cancel_scope.cancel()
        finally:
            for shard in self._open.values():
                shard.close()

    async def _stop_on_signal(self, scope: trio.CancelScope) -> None:
        # An exception raised by a signal handler in the middle of trio's own loop would be
        # taken for a bug of trio's: here the signal is an event like any other.
        with trio.open_signal_receiver(signal.SIGTERM) as signals:
            async for number in signals:
                self.stopped_by = int(number)
                scope.cancel()

    async def _work(self) -> None:
        job = self._job
        slots = trio.Semaphore(job.connections)
        async with (
            open_decoders(self._lane.decoders, job.rules, job.decode_seconds) as decoders,
            open_client(job.settings) as client,
            trio.open_nursery() as self._nursery,
        ):
            in_flight = 0

            async def sample(host: str, shard: OpenShard, row: int) -> None:
                nonlocal in_flight
                await self._sample(client, decoders, shard, row)
                in_flight -= 1
                slots.release()
                self._schedule.done(host)
                self._changed.set()

            while True:
                await slots.acquire()
                taken = self._schedule.take()
                while taken is None:
                    if self._schedule.exhausted and not in_flight:
                        return
                    self._changed = trio.Event()
                    await self._changed.wait()
                    taken = self._schedule.take()
                host, (shard, row) = taken
                in_flight += 1
                self._nursery.start_soon(sample, str(host), shard, row)

    async def _sample(self, client: Client, decoders: Decoders, shard: OpenShard, row: int) -> None:
        url = shard.urls[row]
        if url.startswith(tombstones.PREFIX):
            answer, reason, picture = Answer(tombstones.REASON), tombstones.REASON, Picture()
        else:
            async with client.get(url) as answer:
                boxes = shard.boxes[row] if shard.boxes else ()
                reason, picture = await self._picture(answer, decoders, boxes)
        shard.store(row, _without_body(answer), picture, reason)
        self.tally.count(reason)
        # The loop's CPU time since the last sample counts for this sample's shard.
        now = time.process_time()
        shard.cpu["fetch"] += now - self._cpu
        self._cpu = now
        if shard.complete:
            self._nursery.start_soon(self._write, shard)

    async def _picture(
        self, answer: Answer, decoders: Decoders, boxes: Sequence[Box]
    ) -> tuple[str, Picture]:
        if answer.reason:
            return answer.reason, Picture()
        if len(answer.body) < self._job.min_bytes:
            sha256, md5 = digest(answer.body)
            reason = "too_small" if not {sha256, md5} & self._job.taken_down else tombstones.REASON
            return reason, Picture(sha256=sha256, md5=md5)
        picture = await decoders.decode(answer.body, boxes)
        if picture.sha256 in self._job.taken_down or picture.md5 in self._job.taken_down:
            return tombstones.REASON, Picture()
        if picture.sha256 in self._job.blocked or picture.md5 in self._job.blocked:
            picture.image, picture.width, picture.height = b"", 0, 0
            return "blocked_hash", picture
        return picture.reason, picture

    async def _write(self, shard: OpenShard) -> None:
        extension = self._job.rules.encode_format
        self.ledgers[shard.number] = await trio.to_thread.run_sync(
            lambda: shard.write(extension=extension, config=self._job.config),
            limiter=self._writing,
        )
        # Its thread's time is in the process's: not the fetching's.
        self._cpu += shard.cpu["write"]
        del self._open[shard.number]


def _without_body(answer: Answer) -> Answer:
    return Answer(
        reason=answer.reason,
        status=answer.status,
        url=answer.url,
        content_type=answer.content_type,
        received=answer.received,
        opt_out=answer.opt_out,
        attempts=answer.attempts,
    )


def _signals_are_ours() -> bool:
    """True in a process that reacts to SIGTERM; a worker of the team simply ends."""
    main = threading.current_thread() is threading.main_thread()
    return main and callable(signal.getsignal(signal.SIGTERM))
