"""Shares the work of decoding: few processes use the GPU, and the other cores decode for them.

On a CPU this is not used: there, processes share the shards.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

from laion_hpc.errors import LaionHpcError
from laion_hpc.runtime import work
from laion_hpc.runtime.progress import Progress, progress, silence

if TYPE_CHECKING:
    from laion_hpc.models.feeder import Feeder

SWITCH = "LAION_HPC_DECODE_IN"
"""Variable for tests and benchmarks: `processes` on a CPU, too; or `threads`, of the process that
talks to the GPU."""

SWITCH_SECONDS = 0.0005
"""How long a thread may keep the interpreter while another waits for it."""

_NODES_OF_GPUS = ("nvidia[0-9]*", "kfd", "dxg")
"""Files in /dev of GPU drivers: NVIDIA's, AMD's, Windows'."""

Shard = TypeVar("Shard")
Result = TypeVar("Result")


def feeds(device: str) -> bool:
    """Whether processes decode for a model on `device` (auto, cpu, cuda or cuda:N)."""
    asked = os.environ.get(SWITCH)
    if asked in ("processes", "threads"):
        return asked == "processes"
    return device.startswith("cuda") or (device == "auto" and _visible_gpus() > 0)


def processes_for(asked: int, gpus: int) -> int:
    """Local processes that run a model where `asked` may run: one a GPU."""
    return min(asked, gpus) if gpus else asked


def decoders(cores: int, sharing: int) -> int:
    """Processes that decode for one of `sharing` processes with a GPU on `cores` cores."""
    return max(1, cores // max(1, sharing) - 1)


def cores_of_rank(bound: int, on_node: int, ranks: int) -> int:
    """Cores of one of a node's `ranks` ranks that may run on `bound` of `on_node` cores.

    Some launchers give every rank its own cores, others let all of them run everywhere.
    """
    return bound if bound * ranks <= on_node else max(1, bound // ranks)


def ranks_on_node(environment: Mapping[str, str]) -> int:
    """The number of ranks that the launcher started here: Open MPI, Hydra (MPICH), SLURM."""
    names = ("OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS", "SLURM_STEP_TASKS_PER_NODE")
    for name in names:
        # SLURM writes 4(x2),3 for two nodes of four tasks and one of three.
        if found := re.match(r"[1-9][0-9]*", environment.get(name, "")):
            return int(found[0])
    return 1


def groups(count: int, sharing: int) -> list[range]:
    """Cut `count` shards into pieces for `sharing` processes: large ones first, small ones last.

    Within a piece shards follow each other without a pause; the small ones let all end together.
    """
    found, at = [], 0
    while at < count:
        size = max(2, (count - at) // (2 * sharing))
        found.append(range(at, min(count, at + size)))
        at += size
    return found


@contextmanager
def team(processes: int, device: str) -> Iterator[work.Team]:
    """As `work.team`; with a GPU, `processes` counts those that decode, too.

    1 means all cores of the job. An MPI rank decodes on the cores that its launcher gave it.
    """
    if not feeds(device):
        with work.team(processes) as plain:
            yield plain
        return
    with work.team(processes_for(processes, max(1, _visible_gpus()))) as few:
        few.cores = processes if processes > 1 and not few.of_ranks else None
        yield few


@contextmanager
def without_models(team: work.Team) -> Iterator[work.Team]:
    """A team for work without a GPU: on all cores again, if a GPU made `team` small."""
    if team.cores and team.cores > team.size:
        with work.team(team.cores) as wide:
            yield wide
    else:
        yield team


def map_shards(
    team: work.Team,
    function: Callable[[Shard], Result],
    shards: Sequence[Shard],
    *,
    device: str,
    label: str,
) -> list[Result]:
    """`team.map` for a function with a model on `device`.

    On a GPU each process works on several shards at a time, in threads: so it does not pause
    between two of them (`models/feeder.py`).
    """
    if not feeds(device):
        return team.map(function, shards, label=label, unit="shards")
    if team.size == 1:
        _share.cores, _share.sharing = team.cores, 1
        with progress(label, len(shards), "shards") as shown:
            return _together(function, shards, shown)
    group = partial(_group, function=function, cores=team.cores, sharing=team.size)
    pieces = [[shards[at] for at in piece] for piece in groups(len(shards), team.size)]
    done = team.map(group, pieces, label=label, unit="groups of shards")
    return [result for piece in done for result in piece]


def _group(
    shards: Sequence[Shard],
    *,
    function: Callable[[Shard], Result],
    cores: int | None,
    sharing: int,
) -> list[Result]:
    # The processes of a pool share the cores of `--processes`; ranks know their own.
    _share.cores, _share.sharing = cores, sharing
    with silence() as shown:
        return _together(function, shards, shown)


def _together(
    function: Callable[[Shard], Result], shards: Sequence[Shard], shown: Progress
) -> list[Result]:
    from laion_hpc.models.feeder import SHARDS_AT_A_TIME

    # The thread at the device must not wait 5 ms for the interpreter each time.
    _share.interrupted = False
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_SECONDS)
    pool = ThreadPoolExecutor(SHARDS_AT_A_TIME, "shard")
    try:
        futures = [pool.submit(function, shard) for shard in shards]
        for future in as_completed(futures):
            future.result()
            shown.advance()
        return [future.result() for future in futures]
    except Exception:
        # Shards that are under way go on to their end, as in other processes.
        pool.shutdown(cancel_futures=True)
        raise
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        _share.interrupted = True
        stop()
        raise
    finally:
        pool.shutdown()
        sys.setswitchinterval(before)


class _Share:
    """The part of the node that this process may use."""

    cores: int | None = None
    sharing: int = 1
    interrupted: bool = False
    """Whether threads that still run must end."""

    def decoders(self) -> int:
        """The number of processes that decode for this one."""
        if self.cores:
            return decoders(self.cores, self.sharing)
        bound = len(os.sched_getaffinity(0))
        ranks = ranks_on_node(os.environ)
        on_node = int(os.environ.get("SLURM_CPUS_ON_NODE") or os.cpu_count() or bound)
        return decoders(cores_of_rank(bound, on_node, ranks), 1)


_share = _Share()
_lock = Lock()
_current: tuple[Any, Feeder] | None = None


def feeder(tower: Any, batch: int) -> Feeder | None:
    """This process's feeder, started if need be; None if the tower's process decodes itself."""
    geometry = getattr(tower, "geometry", None)
    if geometry is None or not feeds(tower.device):
        return None
    from laion_hpc.models.feeder import Feeder

    global _current
    with _lock:
        if _share.interrupted:
            raise LaionHpcError("interrupted")
        key = (geometry, batch, _share.decoders())
        if _current and (_current[0] != key or not _current[1].alive):
            _current[1].close()
            _current = None
        if _current is None:
            _current = (key, Feeder(tower, workers=_share.decoders(), batch=batch))
        return _current[1]


def stop() -> None:
    """End this process's feeder: threads that wait for it get an error."""
    global _current
    with _lock:
        if _current:
            _current[1].close()
        _current = None


def _visible_gpus() -> int:
    """How many GPUs torch sees; without importing it where there is no driver."""
    if not any(any(Path("/dev").glob(pattern)) for pattern in _NODES_OF_GPUS):
        return 0
    import torch

    return torch.cuda.device_count()
