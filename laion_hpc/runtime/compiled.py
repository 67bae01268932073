"""Loops in machine code, compiled by numba for this CPU at first use and kept for the next process.

Where: `$NUMBA_CACHE_DIR`, else `$XDG_CACHE_HOME/laion_hpc` (`~/.cache/laion_hpc`), else a folder
of the user's own under the system's temporary one; a folder that others could write to is not
used. In it every combination of source, numba, Python and CPU has a folder of its own: all who
write there write the same, each file appears whole (numba renames), so any number of processes
may come first at the same time, and nodes with different CPUs may share a home. Without a folder
every process compiles for itself.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import llvmlite
import llvmlite.binding
import numba

_config: Any = numba.config
_OPTIONS = {"SLP_VECTORIZE": 1}
"""Eight sums kept in a tuple become one vector; numba leaves LLVM's pass for that out."""

_log = logging.getLogger(__name__)


def part(function: Callable[..., Any]) -> Any:
    """A function that compiled ones may call. Becomes part of them; never called from Python.

    It must be in the folder of the modules of those that call it: their cache depends on all
    sources of that folder, and on no others.
    """
    return _compiler(cache=False)(function)


def compiled(function: Callable[..., Any], *example: Any) -> Callable[..., Any]:
    """The function in machine code for arguments of the types of `example`, with which it is
    called once. From the cache if there; any trouble with the cache only costs the time to
    compile (some 20 s)."""
    folder = cache_folder(function)
    if folder is not None:
        try:
            with _set(CACHE_DIR=str(folder), **_OPTIONS):
                kept: Callable[..., Any] = _compiler(cache=True)(function)
                kept(*example)
                return kept
        except Exception as error:  # a disk full, a file cut short by a crash, …
            _log.warning("cannot use the compiled code in %s: %s", folder, error)
            shutil.rmtree(folder, ignore_errors=True)  # so that the next process keeps it anew
    with _set(**_OPTIONS):
        fresh: Callable[..., Any] = _compiler(cache=False)(function)
        fresh(*example)
        return fresh


@contextlib.contextmanager
def _set(**settings: Any) -> Iterator[None]:
    """Numba's global settings, and afterwards as they were."""
    _config.reload_config()  # as the compiler does, if the environment has changed: undoing these
    before = {name: getattr(_config, name) for name in settings}
    try:
        for name, value in settings.items():
            setattr(_config, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(_config, name, value)


def _compiler(*, cache: bool) -> Any:
    # No fastmath: sums keep their order and no two operations become one, so that every CPU
    # computes the same.
    return numba.njit(nogil=True, error_model="numpy", cache=cache)


def cache_folder(function: Callable[..., Any]) -> Path | None:
    """The folder for this combination, made if need be; None if there is none to write to."""
    sources = Path(function.__code__.co_filename).parent
    for base in _bases():
        folder = base / _combination(sources)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            safe = _is_ours(folder) and _is_ours(base)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError:
            continue
        if safe:
            return folder
    _log.warning("no folder to keep compiled code in: set NUMBA_CACHE_DIR to save some seconds")
    return None


def _bases() -> Iterator[Path]:
    if given := os.environ.get("NUMBA_CACHE_DIR"):
        yield Path(given)
    if given := os.environ.get("XDG_CACHE_HOME"):
        yield Path(given) / "laion_hpc"
    else:
        with contextlib.suppress(RuntimeError):  # no home
            yield Path.home() / ".cache" / "laion_hpc"
    yield Path(tempfile.gettempdir()) / f"laion_hpc-{os.getuid()}"


def _is_ours(folder: Path) -> bool:
    """What is loaded is run: nobody else may have written it."""
    found = folder.stat()
    return found.st_uid == os.getuid() and not found.st_mode & 0o022


def _combination(sources: Path) -> str:
    digest = hashlib.sha256(_digest_of(sources))
    versions = sys.version, numba.__version__, llvmlite.__version__
    cpu = llvmlite.binding.get_host_cpu_name(), llvmlite.binding.get_host_cpu_features().flatten()
    digest.update("\n".join((*versions, *cpu)).encode())
    return digest.hexdigest()[:24]


@lru_cache
def _digest_of(sources: Path) -> bytes:
    digest = hashlib.sha256()
    for source in (Path(__file__), *sorted(sources.glob("*.py"))):
        digest.update(source.read_bytes())
    return digest.digest()
