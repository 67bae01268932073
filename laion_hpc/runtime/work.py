"""The work queue: one list of units over local processes or over MPI ranks.

A stage cuts its job into units (WAT files, shards), each of which writes its own outputs
atomically and returns a small result. The same code runs

- in this process (`processes=1`),
- over local processes (`processes=N`),
- over MPI ranks, when started by `mpiexec -n N` or `srun --mpi=pmi2 -n N`.

Which of them it is never changes a byte of the outputs.
"""

from __future__ import annotations

import locale
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from queue import Empty, SimpleQueue
from threading import Lock
from typing import Any, Generic, TypeVar, cast

from laion_hpc.errors import LaionHpcError
from laion_hpc.runtime import console, usage
from laion_hpc.runtime.progress import Progress, progress, silence

_UNWIND_SECONDS = 10.0
"""For workers that are asked to stop; SLURM leaves 30 s between its warning and the kill."""

Unit = TypeVar("Unit")
Result = TypeVar("Result")


class Team:
    """Those who share the units. Only the leader gets results; the other ranks just work."""

    def __init__(
        self,
        executor: Executor | None,
        *,
        leads: bool = True,
        size: int = 1,
        takes_part: bool = False,
    ) -> None:
        """`takes_part`: the leader works on units too, beside the executor's workers."""
        self._executor = executor
        self._takes_part = takes_part
        self.leads = leads
        self.size = size
        """How many units are worked on at the same time."""
        self.cores: int | None = None
        """How many cores they may use, where that is not one each (`models/feeding.py`)."""

    @property
    def of_ranks(self) -> bool:
        """Whether they are MPI ranks: the launcher gave each its cores."""
        return self._takes_part

    def map(
        self,
        function: Callable[[Unit], Result],
        units: Sequence[Unit],
        *,
        label: str,
        unit: str = "units",
        quiet: bool = False,
    ) -> list[Result]:
        """`function` of every unit, in the order of `units` whatever the order of completion.

        With `quiet` the caller shows the progress itself, in units finer than these.

        An exception of `function` stops the map and is raised; units that are bad by
        themselves are for `function` to turn into a result.
        """
        with silence() if quiet else progress(label, len(units), unit) as shown:
            if self._executor is None:
                results = []
                for item in units:
                    results.append(function(item))
                    shown.advance()
                return results
            if self._takes_part:
                shared = _Shared(self._executor, function, units)
                return shared.work(workers=self.size - 1, shown=shown)
            futures: list[Future[Result]] = [self._executor.submit(function, u) for u in units]
            try:
                for future in as_completed(futures):
                    future.result()
                    shown.advance()
            except BrokenProcessPool:
                raise LaionHpcError(
                    f"{label}: a worker process was killed, most likely because memory ran out; "
                    "ask for more memory or fewer processes and run the same command again"
                ) from None
            return [future.result() for future in futures]


class _Shared(Generic[Unit, Result]):
    """Units that the workers of an executor and this process take from one queue.

    A rank of its own that only hands out units would leave its GPU idle.
    """

    def __init__(
        self, executor: Executor, function: Callable[[Unit], Result], units: Sequence[Unit]
    ) -> None:
        self._executor, self._function = executor, function
        self._count = len(units)
        self._left = iter(enumerate(units))
        self._stopped = False
        self._lock = Lock()
        self._finished: SimpleQueue[tuple[int, Future[Result]]] = SimpleQueue()

    def work(self, *, workers: int, shown: Progress) -> list[Result]:
        """All results in the order of the units; the first exception of one ends it."""
        results: dict[int, Result] = {}
        for _ in range(workers):
            self._hand_out()
        try:
            while (taken := self._take()) is not None:
                number, unit = taken
                results[number] = self._function(unit)
                shown.advance()
                self._collect(results, shown, wait=False)
            self._collect(results, shown, wait=True)
        except BaseException:
            with self._lock:
                self._stopped = True
            raise
        return [results[number] for number in range(self._count)]

    def _take(self) -> tuple[int, Unit] | None:
        with self._lock:
            return None if self._stopped else next(self._left, None)

    def _hand_out(self) -> None:
        if (taken := self._take()) is not None:
            number, unit = taken
            future = self._executor.submit(self._function, unit)
            future.add_done_callback(partial(self._done, number))

    def _done(self, number: int, future: Future[Result]) -> None:
        # In the executor's thread: a worker gets its next unit while the leader is at its own.
        if future.exception() is None:
            self._hand_out()
        self._finished.put((number, future))

    def _collect(self, results: dict[int, Result], shown: Progress, *, wait: bool) -> None:
        while len(results) < self._count:
            try:
                number, future = self._finished.get(block=wait)
            except Empty:
                return
            results[number] = future.result()
            shown.advance()


@contextmanager
def team(processes: int = 1) -> Iterator[Team]:
    """Those who work on this job: MPI ranks if there are several, else `processes` processes.

    Under MPI every rank enters; where `leads` is false the body must do nothing: that rank
    works inside the `with` until the leader is done.
    """
    if _mpi_size() > 1:
        yield from _mpi_team()
    elif processes > 1:
        yield from _process_team(processes)
    else:
        yield Team(None)


# What launchers tell a rank: Hydra (MPICH) and SLURM's pmi2, Open MPI, SLURM's pmix.
_RANKS_VARIABLES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "PMIX_SIZE")


def _mpi_size() -> int:
    # mpi4py is imported only under a launcher: it costs time and wants an MPI library.
    launched = any(int(os.environ.get(name) or 1) > 1 for name in _RANKS_VARIABLES)
    if not launched and "mpi4py.MPI" not in sys.modules:
        return 1
    with _letters_of_c():
        from mpi4py import MPI

    return int(MPI.COMM_WORLD.Get_size())


@contextmanager
def _letters_of_c() -> Iterator[None]:
    """Inside, C's own idea of small and large letters.

    UCX, below MPICH, reads its settings when MPI starts, and compares them without regard to
    case. In Turkish the large letter of i is not I, and it refuses its own defaults.
    """
    before = locale.setlocale(locale.LC_CTYPE)
    locale.setlocale(locale.LC_CTYPE, "C")
    try:
        yield
    finally:
        locale.setlocale(locale.LC_CTYPE, before)


_dismissed = False
"""Whether all ranks have left their team, in order, so that none waits for this one."""


def end_together(code: int) -> int:
    """Under MPI, the highest exit code of all ranks, for each of them; else `code`.

    Every rank must come here. The first says on standard error what all of them used. A rank that
    fails before it has entered its team, or within it, would leave the others waiting: it ends
    them. Once they have been dismissed it must not: they end by themselves, and SLURM was seen to
    call a job a success whose ranks were aborted at that moment.
    """
    if "mpi4py.MPI" not in sys.modules or _mpi_size() == 1:
        return code
    from mpi4py import MPI

    if code and not _dismissed:
        abandon(code)
    ends = MPI.COMM_WORLD.allgather((code, usage.of_this_process()))
    worst: int = max(end for end, _ in ends)
    if MPI.COMM_WORLD.Get_rank() == 0 and worst == 0:
        console.say(usage.of_ranks([used for _, used in ends]).line())
    return worst


def abandon(code: int) -> None:
    """Under MPI, end all ranks at once."""
    if "mpi4py.MPI" in sys.modules and _mpi_size() > 1:
        from mpi4py import MPI

        sys.stderr.flush()
        MPI.COMM_WORLD.Abort(code)


def _mpi_team() -> Iterator[Team]:
    from mpi4py import MPI
    from mpi4py.futures import MPICommExecutor

    global _dismissed
    entered = False
    try:
        with MPICommExecutor(MPI.COMM_WORLD, root=0) as executor:
            entered = True
            # mpi4py's executor has the interface of concurrent.futures but not its base class.
            yield Team(
                cast(Executor | None, executor),
                leads=executor is not None,
                size=int(MPI.COMM_WORLD.Get_size()),
                takes_part=True,
            )
    finally:
        _dismissed = entered


def _process_team(processes: int) -> Iterator[Team]:
    # spawn: torch, faiss and pyarrow hold threads that a fork would break.
    pool = ProcessPoolExecutor(
        processes,
        mp_context=get_context("spawn"),
        initializer=_start_worker,
        initargs=(os.getpid(),),
    )
    try:
        yield Team(pool, size=processes)
        pool.shutdown()
    except BaseException:
        workers: dict[int, Any] = dict(getattr(pool, "_processes", None) or {})
        pool.shutdown(wait=False, cancel_futures=True)
        for worker in workers.values():
            worker.terminate()
        deadline = time.monotonic() + _UNWIND_SECONDS
        for worker in workers.values():
            worker.join(max(0.0, deadline - time.monotonic()))
            worker.kill()
        raise


def _start_worker(parent: int) -> None:
    # Ctrl-C goes to the whole group; the leader alone decides what happens then.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Unwind, so that what is half-written is removed.
    signal.signal(signal.SIGTERM, lambda signum, _frame: sys.exit(128 + signum))
    die_with(parent)


def die_with(parent: int) -> None:
    """Ask Linux to end this process when its leader is killed: no orphan keeps a node busy."""
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    pr_set_pdeathsig = 1
    ctypes.CDLL(None, use_errno=True).prctl(pr_set_pdeathsig, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
