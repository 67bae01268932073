"""Waiting in tests: for as long as something happens, however slow the machine is.

A machine with other work to do needs ten times as long as an idle one, so no total is right for
all. What waits here looks at signs of life (output that grows, files that appear, processor time
that is used), and gives up when none has changed for `SILENCE` seconds.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, AnyStr, TypeVar

import psutil

SILENCE = 300.0
"""Seconds without a sign of life after which nothing more is expected."""
TAIL = 5_000
"""Characters of a log that a message shows."""

Value = TypeVar("Value")


class SilenceError(AssertionError):
    """Nothing has happened for too long."""


def until(
    get: Callable[[], Value],
    what: str,
    *,
    sign: Callable[[], object] = lambda: None,
    silence: float = SILENCE,
    tail: Callable[[], str] = lambda: "",
    pause: float = 0.1,
) -> Value:
    """Ask until the answer is true, and return it.

    SilenceError, with `what` was waited for and the `tail` of a log, when the `sign` has been the
    same for `silence` seconds.
    """
    last, changed = sign(), time.monotonic()
    looked = changed
    while not (value := get()):
        now = time.monotonic()
        if now - looked >= silence / 10:  # a look at the signs may cost more than the question
            looked = now
            seen = sign()
            if seen != last:
                last, changed = seen, now
            elif now - changed >= silence:
                raise SilenceError(
                    f"waited for {what}, and nothing has happened for {silence:.0f} s\n{tail()}"
                )
        time.sleep(pause)
    return value


def wait(
    process: subprocess.Popen[Any], *paths: Path, silence: float = SILENCE, what: str = ""
) -> int:
    """The exit code of a process, for whose end one waits while it works or `paths` grow.

    One that falls silent is killed, and all that it has started.
    """

    def tail() -> str:
        logs = [path for path in paths if path.is_file()]
        return "\n".join(f"--- {log}\n{end_of(log)}" for log in logs)

    try:
        until(
            lambda: process.poll() is not None,
            what or f"the end of {process.args!r}",
            sign=lambda: (worked(process.pid), grown(*paths)),
            silence=silence,
            tail=tail,
            pause=0.05,
        )
    except BaseException:
        kill(process)
        raise
    return process.returncode


def output(process: subprocess.Popen[AnyStr], *, silence: float = SILENCE) -> tuple[AnyStr, AnyStr]:
    """`communicate`: what a process writes into its pipes until its end."""
    said: list[tuple[AnyStr, AnyStr]] = []

    def ended() -> bool:
        with suppress(subprocess.TimeoutExpired):  # nothing is lost by that
            said.append(process.communicate(timeout=0.5))
        return bool(said)

    try:
        until(
            ended,
            f"the end of {process.args!r}",
            sign=lambda: worked(process.pid),
            silence=silence,
            pause=0.0,
        )
    except BaseException:
        kill(process)
        raise
    return said[0]


def run(
    command: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    typed: str = "",
    merged: bool = False,
    silence: float = SILENCE,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end. `typed` is its input; `merged` has its errors in its output."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Path(folder, "stdout").open("w+b") as out,
        Path(folder, "stderr").open("w+b") as err,
        Path(folder, "stdin").open("w+b") as given,
    ):
        given.write(typed.encode())
        given.seek(0)
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=env,
            stdin=given,
            stdout=out,
            stderr=subprocess.STDOUT if merged else err,
        )
        code = wait(process, Path(out.name), Path(err.name), silence=silence)
        return subprocess.CompletedProcess(command, code, _text(out), _text(err))


def worked(pid: int) -> int:
    """Whole seconds of processor time that a process and all below it have used.

    Whole ones: a process that only asks now and then whether something has happened is silent.
    """
    seconds = 0.0
    with suppress(psutil.Error):
        top = psutil.Process(pid)
        for process in (top, *top.children(recursive=True)):
            with suppress(psutil.Error):
                times = process.cpu_times()
                seconds += times.user + times.system
                seconds += times.children_user + times.children_system
    return int(seconds)


def grown(*paths: Path) -> tuple[int, int, int]:
    """How many files are at or below the paths, their bytes, and when the last one changed."""
    files, size, newest = 0, 0, 0
    for path in paths:
        names = [path]
        for folder, _, below in os.walk(path):
            names += [Path(folder, name) for name in below]
        for name in names:
            with suppress(OSError):  # it is gone meanwhile
                found = name.lstat()
                files += 1
                size += found.st_size
                newest = max(newest, found.st_mtime_ns)
    return files, size, newest


def kill(process: subprocess.Popen[Any]) -> None:
    """Kill a process and all that it has started."""
    family = []
    with suppress(psutil.Error):
        family = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    for child in family:
        with suppress(psutil.Error):
            child.kill()
    process.wait()
    psutil.wait_procs(family, timeout=SILENCE)


def end_of(log: Path) -> str:
    """The last characters of a log."""
    with suppress(OSError):
        return log.read_bytes()[-TAIL:].decode(errors="replace")
    return ""


def _text(stream: IO[bytes]) -> str:
    stream.seek(0)
    return stream.read().decode(errors="replace")
