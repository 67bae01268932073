"""The work queue: one list of units over local processes or over MPI ranks.

A stage cuts its job into units (WAT files, shards), each of which writes its own outputs
atomically and returns a small result. The same code runs

- in this process (`processes=1`),
- over local processes (`processes=N`),
- over MPI ranks, when started by `mpiexec -n N` or `srun --mpi=pmi2 -n N`.

Which of them it is never changes a byte of the outputs.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any, TypeVar, cast

from laion_hpc import usage
from laion_hpc.errors import LaionHpcError
from laion_hpc.progress import progress, silence

_UNWIND_SECONDS = 10.0
"""For workers that are told to stop; SLURM leaves 30 s between its warning and the kill."""

Unit = TypeVar("Unit")
Result = TypeVar("Result")


class Team:
    """Those who share the units. Only the leader gets results; the other ranks just work."""

    def __init__(self, executor: Executor | None, *, leads: bool = True, size: int = 1) -> None:
        self._executor = executor
        self.leads = leads
        self.size = size
        """How many units are worked on at the same time."""

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
            futures: list[Future[Result]] = [self._executor.submit(function, u) for u in units]
            try:
                for future in as_completed(futures):
                    future.result()
                    shown.advance()
            except BrokenProcessPool:
                raise LaionHpcError(
                    f"{label}: a worker process was killed, most likely for want of memory; "
                    "ask for more memory or fewer processes and run the same command again"
                ) from None
            return [future.result() for future in futures]


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
    from mpi4py import MPI

    return int(MPI.COMM_WORLD.Get_size())


def abandon(code: int) -> None:
    """Under MPI, end the other ranks too: one that fails alone would leave them waiting."""
    if "mpi4py.MPI" in sys.modules and _mpi_size() > 1:
        from mpi4py import MPI

        sys.stderr.flush()
        MPI.COMM_WORLD.Abort(code)


def tell_usage() -> None:
    """Under MPI, say on standard error what all ranks used; every rank must come here."""
    if "mpi4py.MPI" in sys.modules and _mpi_size() > 1:
        from mpi4py import MPI

        measured = MPI.COMM_WORLD.gather(usage.of_this_process())
        if measured is not None:
            print(usage.of_ranks(measured).line(), file=sys.stderr, flush=True)


def _mpi_team() -> Iterator[Team]:
    from mpi4py import MPI
    from mpi4py.futures import MPICommExecutor

    with MPICommExecutor(MPI.COMM_WORLD, root=0) as executor:
        # mpi4py's executor has the interface of concurrent.futures but not its base class.
        workers = max(1, int(MPI.COMM_WORLD.Get_size()) - 1)
        yield Team(cast(Executor | None, executor), leads=executor is not None, size=workers)


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
