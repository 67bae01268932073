"""Outputs appear under their final name only when they are whole.

Until then they have a name of their own beside it, `.NAME.HOST.PID.RANDOM.part`: no two processes
of a cluster write to the same one, and each can tell whose it is.
"""

from __future__ import annotations

import os
import re
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

LONG_AGO: Final = 24 * 3600.0
"""Seconds after which a file that nobody wrote to is given up: another node's process cannot be
asked whether it lives."""

_OWNER = re.compile(r"\.(?P<host>[^.]+)\.(?P<pid>\d+)\.[0-9a-f]{8}\.[^/]*$")
_NOBODY = "nobody.0"


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A name beside `path` to write to; renamed to `path` on success, removed on failure.

    The data is on the disk (fsync) before the name is. What an earlier, killed attempt left is
    removed first; what belongs to a process that may be alive stays. Should two write the same
    output at once, both do so in full, and the later one's name replaces the earlier one's.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for stale in leftovers(path, "part"):
        stale.unlink(missing_ok=True)
    aside = beside(path, "part")
    try:
        yield aside
        sync(aside)
        aside.replace(path)
        sync(path.parent)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def write_bytes(path: Path, data: bytes) -> None:
    """Write a small file atomically."""
    with atomic(path) as aside:
        aside.write_bytes(data)


def beside(path: Path, suffix: str) -> Path:
    """A new hidden name in the folder of `path`, this process's own: no file has it yet."""
    return _named(path, f"{_host()}.{os.getpid()}", suffix)


def disown(aside: Path, path: Path, suffix: str) -> None:
    """Rename what `beside(path, suffix)` named, if it is there, so that anybody may go on with it.

    For a process that ends in an orderly way but is not done.
    """
    if aside.exists():
        aside.replace(_named(path, _NOBODY, suffix))


def leftovers(path: Path, suffix: str) -> list[Path]:
    """What dead processes left under names of `beside(path, suffix)`, in order of names."""
    pattern = f".{glob_escape(path.name)}.*.*.*.{suffix}"
    parts = path.name.count(".") + 5
    found = [file for file in path.parent.glob(pattern) if file.name.count(".") == parts]
    return sorted(file for file in found if is_left(file))


def is_left(file: Path) -> bool:
    """Whether a file or folder with an owner in its name was left by one that is gone.

    Its process has ended on this very host, or has released it, or, on other hosts and for
    unknown owners, nobody has written to it for `LONG_AGO`.
    """
    owner = _OWNER.search(file.name)
    if owner and f"{owner['host']}.{owner['pid']}" == _NOBODY:
        return True
    if owner and owner["host"] == _host() and not _lives(int(owner["pid"])):
        return True
    try:
        # Clocks of nodes and file servers differ by seconds, not by hours.
        return time.time() - file.stat().st_mtime > LONG_AGO
    except FileNotFoundError:
        return False


def glob_escape(name: str) -> str:
    """`name` with the characters that mean something to `Path.glob` made literal."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)


def sync(path: Path) -> None:
    """Wait until a file or folder is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _named(path: Path, owner: str, suffix: str) -> Path:
    return path.with_name(f".{path.name}.{owner}.{secrets.token_hex(4)}.{suffix}")


def _host() -> str:
    # Without dots: they separate the parts of the name.
    return socket.gethostname().replace(".", "-") or "localhost"


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
