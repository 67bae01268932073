"""A few decoder processes for one event loop: whatever a picture does to one of them, it costs
that picture only.

Each is a child with a socket as its standard input, so there is nothing to poll and nothing
left when we are killed: the socket closes, the child ends. A child that dies, or that thinks
for longer than a picture can take, is replaced.
"""

from __future__ import annotations

import contextlib
import enum
import json
import os
import socket
import subprocess
import sys
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict

import trio

from laion_hpc.errors import LaionHpcError
from laion_hpc.stages.download.blur import Box
from laion_hpc.stages.download.decoder import ANSWER, READY, REQUEST
from laion_hpc.stages.download.image import Picture, Rules, digest

COMMAND = (sys.executable, "-m", "laion_hpc.stages.download.decoder")
READ_BYTES = 1 << 18
DEPTH = 2
"""Bodies with a child at a time: the next is there when one is done, or the child would be idle
until the event loop, busy with the network, hears of it."""
START_SECONDS = 60.0
"""Python and Pillow from a cluster's slow shared disk."""


class Outcome(enum.Enum):
    """Why a child gave no picture."""

    CRASHED = enum.auto()
    HUNG = enum.auto()
    BYSTANDER = enum.auto()
    """It crashed or hung over the body before this one, which another child must take."""


class _Decoder:
    """One child and the socket to it."""

    def __init__(self, rules: Rules) -> None:
        ours, theirs = socket.socketpair()
        quiet = None if os.environ.get("LAION_HPC_TRACEBACK") else subprocess.DEVNULL
        # Popen itself, not trio's: nothing here may wait for a thread of trio's pool.
        self._process = subprocess.Popen(
            [*COMMAND, json.dumps(asdict(rules))],
            stdin=theirs.fileno(),
            stdout=subprocess.DEVNULL,
            # libtiff and others print a line per damaged file.
            stderr=quiet,
        )
        theirs.close()
        self._stream = trio.SocketStream(trio.socket.from_stdlib_socket(ours))
        self._sending = trio.StrictFIFOLock()
        self._line: deque[trio.Event] = deque()
        """The bodies that are with the child, in the order in which it takes them."""
        self._rest = bytearray()
        self.dead = False

    async def ready(self) -> None:
        """Wait until it has started; LaionHpcError if it cannot."""
        answer = b""
        with (
            contextlib.suppress(trio.BrokenResourceError),
            trio.move_on_after(START_SECONDS),
        ):
            answer = await self._stream.receive_some(1)
        if answer != READY:
            raise LaionHpcError(
                "a decoder process could not start; set LAION_HPC_TRACEBACK=1 to see why"
            )

    async def decode(
        self, body: bytes | bytearray, boxes: bytes, seconds: float
    ) -> Picture | Outcome:
        """The picture of a body, or what became of the child; `seconds` from its turn on."""
        turn = trio.Event()
        async with self._sending:
            self._line.append(turn)
            if len(self._line) == 1:
                turn.set()
            # Whose fault an error is shows when it is this body's turn.
            broken = (OSError, trio.BrokenResourceError, trio.ClosedResourceError)
            with contextlib.suppress(*broken), trio.move_on_after(2 * seconds) as sending:
                await self._send(body, boxes)
        try:
            await turn.wait()
            if self.dead:
                return Outcome.BYSTANDER
            if sending.cancelled_caught:
                self.dead = True
                return Outcome.HUNG
            with trio.move_on_after(seconds):
                try:
                    return await self._answer()
                except (OSError, trio.BrokenResourceError, EOFError):
                    self.dead = True
                    return Outcome.CRASHED
            self.dead = True
            return Outcome.HUNG
        finally:
            self._line.remove(turn)
            if self._line:
                self._line[0].set()

    async def _send(self, body: bytes | bytearray, boxes: bytes) -> None:
        # All in one call where it fits, and no copy of it together.
        head = REQUEST.pack(len(body), len(boxes))
        sent = await self._stream.socket.sendmsg([head, body, boxes])
        for part in (head, body, boxes):
            if sent < len(part):
                await self._stream.send_all(memoryview(part)[sent:])
            sent = max(0, sent - len(part))

    async def _answer(self) -> Picture:
        answer = self._rest
        await self._receive(answer, ANSWER.size)
        meta_length, image_length = ANSWER.unpack_from(answer)
        image_at = ANSWER.size + meta_length
        end = image_at + image_length
        await self._receive(answer, end)
        # The next picture's answer may have begun.
        self._rest = answer[end:]
        meta = json.loads(answer[ANSWER.size : image_at])
        return Picture(image=bytes(memoryview(answer)[image_at:end]), **meta)

    async def _receive(self, answer: bytearray, length: int) -> None:
        """Read until `answer` is at least so long: as a rule it comes whole, in one read."""
        while len(answer) < length:
            part = await self._stream.receive_some(READ_BYTES)
            if not part:
                raise EOFError
            answer += part

    def end(self) -> None:
        """Kill the child; it holds nothing that is worth a farewell."""
        self._stream.socket.close()
        self._process.kill()
        self._process.wait()


class Decoders:
    """Hands bodies to whichever child is free; made by `open_decoders`."""

    def __init__(self, rules: Rules, seconds: float) -> None:
        self._rules = rules
        self._seconds = seconds
        self.all: set[_Decoder] = set()
        self._give, self._take = trio.open_memory_channel[_Decoder](1_000)

    async def add(self) -> None:
        """Start one more child."""
        child = _Decoder(self._rules)
        self.all.add(child)
        await child.ready()
        for _ in range(DEPTH):
            self._give.send_nowait(child)

    async def decode(self, body: bytes | bytearray, boxes: Sequence[Box] = ()) -> Picture:
        """The picture of a body, its boxes blurred.

        Its reason is `decoder_crashed` if it kills or hangs a child.

        Killed twice, to be exact: once may have been the kernel, short of memory because of
        others, and would give another outcome in another run.
        """
        encoded = json.dumps(boxes).encode() if boxes else b""
        killed = 0
        while killed < 2:
            child = await self._take.receive()
            if child.dead:
                continue
            outcome = await child.decode(body, encoded, self._seconds)
            if isinstance(outcome, Picture):
                self._give.send_nowait(child)
                return outcome
            if outcome is Outcome.BYSTANDER:
                continue
            self.all.discard(child)
            child.end()
            await self.add()
            killed += 1
            if outcome is Outcome.HUNG:
                break
        sha256, md5 = digest(body)
        return Picture("decoder_crashed", sha256=sha256, md5=md5)


@asynccontextmanager
async def open_decoders(number: int, rules: Rules, seconds: float) -> AsyncIterator[Decoders]:
    """`number` decoder processes; `seconds` is what one picture may take. Needs trio."""
    decoders = Decoders(rules, seconds)
    try:
        async with trio.open_nursery() as nursery:
            for _ in range(number):
                nursery.start_soon(decoders.add)
        yield decoders
    finally:
        for child in decoders.all:
            child.end()
