"""Several processes that serve one listening socket; their index lies in the page cache once."""

from __future__ import annotations

import mmap
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from laion_hpc.runtime import console
from laion_hpc.runtime.work import die_with

Serve = Callable[[int, Callable[[], None]], None]
"""A worker's work: it gets its number and a function to call when it is ready to answer."""


@dataclass
class _State:
    ending: bool = False

    def told_to_end(self) -> bool:
        return self.ending


def run(count: int, serve: Serve) -> int:
    """Call `serve(worker, ready)` in `count` forked processes until SIGTERM or Ctrl-C.

    Call it before any thread is started. A worker that dies is replaced. If one dies before it is
    ready, all workers end, because all have the same fault, which it has reported. Returns the exit
    code.
    """
    workers: dict[int, int] = {}
    ready = mmap.mmap(-1, count)  # a byte for each, in shared memory
    state = _State()

    def end(_signum: int, _frame: object) -> None:
        state.ending = True
        for pid in list(workers):
            _kill(pid)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    for worker in range(count):
        workers[_start(worker, serve, ready)] = worker
    code = 0
    while workers:
        try:
            pid, status = os.wait()
        except ChildProcessError:
            break
        worker = workers.pop(pid, -1)
        if worker < 0 or state.told_to_end():
            continue
        if not ready[worker]:
            code = os.waitstatus_to_exitcode(status) or 1
            code = code if code > 0 else 1
            end(0, None)
            continue
        console.say(f"search: worker {worker} ended; starting another one")
        ready[worker] = 0
        workers[_start(worker, serve, ready)] = worker
        if state.told_to_end():  # the signal came during the fork
            end(0, None)
    return code


def _start(worker: int, serve: Serve, ready: mmap.mmap) -> int:
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    die_with(parent)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    code = 1
    try:
        serve(worker, lambda: ready.__setitem__(worker, 1))
        code = 0
    except KeyboardInterrupt:
        code = 0
    except BaseException as error:
        from laion_hpc.errors import LaionHpcError

        if isinstance(error, LaionHpcError):
            console.fail(str(error))
            code = error.exit_code
        else:
            import traceback

            traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):  # it has already ended
        os.kill(pid, signal.SIGTERM)
