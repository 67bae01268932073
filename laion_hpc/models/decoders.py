"""Processes that read and decode for one that uses a GPU, and the memory they share with it.

Threads share one interpreter, which decodes some 700 images a second on any number of cores. The
processes never import torch. The memory has no name: if a process dies, nothing is left of it.
"""

from __future__ import annotations

import contextlib
import heapq
import mmap
import os
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import count
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import DupFd
from signal import SIGKILL
from threading import Event, Lock, Thread
from typing import Any

from laion_hpc.errors import LaionHpcError
from laion_hpc.models.decoder_process import serve

IN_HAND = 2
"""Tasks that a process holds: after one it has the next."""


@dataclass(order=True)
class _Task:
    rank: tuple[int, int]
    at: object = field(compare=False)
    message: tuple[Any, ...] = field(compare=False)
    future: Future[Any] = field(compare=False)


@dataclass
class _Worker:
    process: Any
    connection: Connection
    in_hand: dict[int, _Task] = field(default_factory=dict)


class Decoders:
    """`workers` processes, and `room` bytes that they share with this one."""

    def __init__(self, workers: int, room: int, *, in_hand: int = IN_HAND) -> None:
        """`in_hand`: tasks that a process holds.

        It must be 1 where tasks and results can both fill a pipe (some 100 kB). With 2, each
        of the two could wait for the other: one sends a task, the other a result, and none reads.
        """
        self._in_hand = in_hand
        self._descriptor = os.memfd_create("laion-hpc-pixels")
        os.ftruncate(self._descriptor, room)
        self.memory = mmap.mmap(self._descriptor, room)
        self._lock = Lock()
        self._numbers = count()
        self._waiting: list[_Task] = []
        self._workers: list[_Worker] = []
        self.failure: LaionHpcError | None = None
        """The reason to take no more tasks."""
        self._wake, self._woken = get_context("spawn").Pipe()
        started = Event()
        # Linux ends the processes with the *thread* that started them (`die_with`): this one stays.
        self._thread = Thread(target=self._run, args=(workers, started), daemon=True)
        self._thread.start()
        started.wait()
        if self.failure:
            raise self.failure

    @property
    def pids(self) -> list[int]:
        """Of the processes."""
        return [worker.process.pid for worker in self._workers]

    def submit(
        self, function: Callable[..., Any], *arguments: Any, at: object, before: int = 0
    ) -> Future[Any]:
        """`function(desk, *arguments)` in one of the processes (`decoder_process.Desk`).

        Tasks with a lower `before` are begun first. An exception of the function is the future's;
        LaionHpcError that names `at` if a process dies.
        """
        future: Future[Any] = Future()
        with self._lock:
            if self.failure:
                raise self.failure
            number = next(self._numbers)
            message = (number, function, arguments)
            heapq.heappush(self._waiting, _Task((before, number), at, message, future))
            self._hand_out()
        return future

    def close(self, reason: str = "decoding was stopped") -> None:
        """End the processes; threads that wait for a task get an error."""
        self._fail(LaionHpcError(reason))
        with contextlib.suppress(OSError):
            self._wake.send(None)
        self._thread.join()

    def _hand_out(self) -> None:
        while self._waiting:
            worker = min(self._workers, key=lambda w: len(w.in_hand))
            if len(worker.in_hand) >= self._in_hand:
                return
            task = heapq.heappop(self._waiting)
            worker.in_hand[task.message[0]] = task
            # If it is dead, the thread finds out, and this task gets the same error.
            with contextlib.suppress(OSError):
                worker.connection.send(task.message)

    def _run(self, workers: int, started: Event) -> None:
        try:
            context = get_context("spawn")
            for _ in range(workers):
                mine, theirs = context.Pipe()
                process = context.Process(
                    target=serve,
                    args=(theirs, DupFdOnStart(self._descriptor), len(self.memory), os.getpid()),
                    daemon=True,
                )
                process.start()
                theirs.close()
                self._workers.append(_Worker(process, mine))
        except Exception as error:
            self.failure = LaionHpcError(f"cannot start processes that decode: {error}")
        finally:
            started.set()
        try:
            while not self.failure:
                self._collect()
        except Exception as error:
            # Without this thread no future gets a result.
            self._fail(LaionHpcError(f"decoding failed: {type(error).__name__}: {error}"))
        finally:
            for worker in self._workers:
                worker.process.terminate()
                worker.connection.close()
            for worker in self._workers:
                worker.process.join()
            os.close(self._descriptor)

    def _collect(self) -> None:
        by_connection = {id(w.connection): w for w in self._workers}
        ready = wait([*(w.connection for w in self._workers), self._woken])
        for connection in ready:
            worker = by_connection.get(id(connection))
            if worker is None:
                return
            try:
                number, done, found = worker.connection.recv()
            except (EOFError, OSError):
                self._fail(_death(worker), first=worker)
                return
            with self._lock:
                task = worker.in_hand.pop(number)
                self._hand_out()
            if done:
                task.future.set_result(found)
            else:
                task.future.set_exception(found)

    def _fail(self, error: LaionHpcError, first: _Worker | None = None) -> None:
        with self._lock:
            if self.failure:
                return
            self.failure = error
            # Who waits for the dead one gets the error first.
            workers = sorted(self._workers, key=lambda worker: worker is not first)
            tasks = [task for worker in workers for task in worker.in_hand.values()]
            tasks += self._waiting
            self._waiting = []
        for task in tasks:
            with contextlib.suppress(Exception):  # it may be done by now
                task.future.set_exception(error)


def _death(worker: _Worker) -> LaionHpcError:
    worker.process.join(1)
    task = next(iter(worker.in_hand.values()), None)
    at = f" at {task.at}" if task else ""
    code = worker.process.exitcode
    if code == -SIGKILL:
        return LaionHpcError(
            f"a process that decodes was killed{at} (exit code {code}), most likely for lack of "
            "memory; ask for more memory or fewer processes and run the same command again"
        )
    return LaionHpcError(
        f"a process that decodes ended{at} (exit code {code}); see its message above"
    )


class DupFdOnStart:
    """A file descriptor that a spawned process inherits."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __reduce__(self) -> tuple[Any, ...]:
        return (_detached, (DupFd(self._descriptor),))


def _detached(duplicate: Any) -> int:
    return int(duplicate.detach())
