"""A few decoder processes for one event loop: whatever a picture does to one of them, it costs
that picture only.

Each is a child with a socket as its standard input, so there is nothing to poll and nothing
left when we are killed: the socket closes, the child ends. A child that dies, or that thinks
for longer than a picture can take, is replaced.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict

import trio

from laion_hpc.download.decoder import ANSWER, READY, REQUEST
from laion_hpc.download.image import Picture, Rules, digest
from laion_hpc.errors import LaionHpcError

COMMAND = (sys.executable, "-m", "laion_hpc.download.decoder")
START_SECONDS = 60.0
"""Python and Pillow from a cluster's slow shared disk."""


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

    async def decode(self, body: bytes | bytearray) -> Picture | None:
        """The picture of a body; None if the child died of it."""
        try:
            await self._stream.send_all(REQUEST.pack(len(body)))
            await self._stream.send_all(body)
            meta_length, image_length = ANSWER.unpack(await self._receive(ANSWER.size))
            meta = json.loads(await self._receive(meta_length))
            return Picture(image=await self._receive(image_length), **meta)
        except (trio.BrokenResourceError, EOFError):
            return None

    async def _receive(self, length: int) -> bytes:
        parts, left = [], length
        while left:
            part = await self._stream.receive_some(min(left, 1 << 20))
            if not part:
                raise EOFError
            parts.append(part)
            left -= len(part)
        return b"".join(parts)

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
        self._give.send_nowait(child)

    async def decode(self, body: bytes | bytearray) -> Picture:
        """The picture of a body; its reason is `decoder_crashed` if it kills or hangs a child.

        Killed twice, to be exact: once may have been the kernel, short of memory because of
        others, and would give another fate in another run.
        """
        for _ in range(2):
            child = await self._take.receive()
            picture = None
            with trio.move_on_after(self._seconds) as scope:
                picture = await child.decode(body)
            if picture is not None:
                self._give.send_nowait(child)
                return picture
            self.all.discard(child)
            child.end()
            await self.add()
            if scope.cancelled_caught:
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
