"""Fetches one file over HTTP or from S3: resumed where it stopped, its size checked, politely."""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from laion_hpc import __version__
from laion_hpc.errors import InputError
from laion_hpc.files import atomic
from laion_hpc.web import object_store, retry

if TYPE_CHECKING:
    import httpx

_Attempt: TypeAlias = Callable[[], tuple[float, str]]
"""(seconds that the server wants us to wait, what went wrong): an empty string if all is there."""

ATTEMPTS: Final = 10
"""In a row without a single byte of progress, before a transfer is given up."""

LONGEST_WAIT: Final = 300.0
"""Seconds between two attempts, whatever Retry-After says."""

_SUFFIX = "fetching"
FIRST_PAUSE: Final = 2.0
"""Seconds after the first failure; more after each that follows it."""


def is_url(address: str) -> bool:
    """Whether an address is fetched (http, https, s3) rather than opened."""
    return address.startswith(("https://", "http://", object_store.SCHEME))


def fetch(
    url: str,
    path: Path,
    *,
    sha256: str = "",
    attempts: int = ATTEMPTS,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Fetch a file to `path`, which appears only when whole, and with this SHA-256 if one is given.

    What arrived before a failure stays beside it (`.NAME.….fetching`) and is built on, by the next
    attempt or the next process. Two processes never build on the same one. What a process that was
    killed (not asked to end) has fetched is built on by one on the same host only. Raises
    InputError, naming the URL, if the file cannot be had, or is another than was expected.
    `attempts` in a row without a single byte of progress, and the transfer is given up.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = _adopt(path)
    try:
        with _attempts(url, aside) as attempt:
            _persist(attempt, url, aside, attempts, sleep)
        _check(aside, url, sha256)
        atomic.sync(aside)
        aside.replace(path)
    except BaseException:
        atomic.disown(aside, path, _SUFFIX)
        raise


def _check(aside: Path, url: str, sha256: str) -> None:
    """InputError if a whole file is not the one that was expected; it is not built on again."""
    if not sha256:
        return
    with aside.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != sha256:
        aside.unlink()
        raise InputError(
            f"{url}: no longer the published file: its SHA-256 is {found}, expected {sha256}"
        )


def _adopt(path: Path) -> Path:
    """A name of our own, with the most of what dead processes have fetched; the rest is removed."""
    aside = atomic.beside(path, _SUFFIX)
    for left in sorted(atomic.leftovers(path, _SUFFIX), key=_size, reverse=True):
        with suppress(FileNotFoundError):  # another process was faster
            left.unlink() if aside.exists() else left.replace(aside)
    return aside


@contextmanager
def _attempts(url: str, aside: Path) -> Iterator[_Attempt]:
    if url.startswith(object_store.SCHEME):
        yield lambda: (0.0, object_store.attempt(url, aside))
        return
    import httpx

    headers = {"User-Agent": f"laion-hpc/{__version__}", "Accept-Encoding": "identity"}
    with httpx.Client(headers=headers, follow_redirects=True, timeout=60) as client:
        yield lambda: _request(client, url, aside)


def _persist(
    attempt: _Attempt, url: str, aside: Path, attempts: int, sleep: Callable[[float], None]
) -> None:
    """Tries until all is there. InputError after `attempts` in a row that brought nothing."""
    failures = 0
    while True:
        before = _size(aside)
        wait, trouble = attempt()
        if not trouble:
            return
        failures = 0 if _size(aside) > before else failures + 1
        if failures >= attempts:
            raise InputError(f"{url}: {trouble}, {attempts} times in a row; try again later")
        sleep(
            retry.pause(
                max(failures, 1), wait, random.random(), first=FIRST_PAUSE, longest=LONGEST_WAIT
            )
        )


def _request(client: httpx.Client, url: str, aside: Path) -> tuple[float, str]:
    """One request for what is still missing, as `_Attempt` says."""
    import httpx

    try:
        return _answer(client, url, aside)
    except httpx.TransportError as error:
        return 0.0, f"{type(error).__name__}: {error}".rstrip(": ")


def _answer(client: httpx.Client, url: str, aside: Path) -> tuple[float, str]:
    have = _size(aside)
    headers = {"Range": f"bytes={have}-"} if have else {}
    with client.stream("GET", url, headers=headers) as answer:
        # Common Crawl says 403 or 503 to those who ask too often.
        if answer.status_code == 403 or retry.heals(answer.status_code):
            wait = retry.retry_after(answer.headers.get("Retry-After", ""))
            return wait or 0.0, f"HTTP {answer.status_code}"
        if answer.status_code == 416:
            # Nothing after what we have: whole if the sizes agree, else it is another file now.
            if answer.headers.get("Content-Range", "") == f"bytes */{have}":
                return 0.0, ""
            aside.unlink()
            return 0.0, "HTTP 416: the file changed"
        if answer.status_code not in (200, 206):
            raise InputError(f"{url}: HTTP {answer.status_code}")
        if answer.status_code == 206:
            span, _, total = answer.headers.get("Content-Range", "").partition("/")
            if not span.startswith(f"bytes {have}-"):
                aside.unlink(missing_ok=True)
                return 0.0, "HTTP 206 with another range than was asked for"
            expected = int(total) if total.isdigit() else -1
        else:
            length = answer.headers.get("Content-Length", "")
            expected = int(length) if length.isdigit() else -1
        with aside.open("ab" if answer.status_code == 206 else "wb") as file:
            for chunk in answer.iter_raw():
                file.write(chunk)
    if expected >= 0 and _size(aside) != expected:
        if _size(aside) > expected:
            aside.unlink()
        return 0.0, f"{_size(aside)} of {expected} bytes"
    return 0.0, ""


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
