"""One WAT file -> its runs of candidates and its own ledger: the unit of the work queue."""

from __future__ import annotations

import atexit
import gc
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import xxhash

from laion_hpc import config as settings
from laion_hpc.config import Config
from laion_hpc.errors import InputError
from laion_hpc.files import ledger
from laion_hpc.files.ledger import Ledger
from laion_hpc.files.schemas import CANDIDATES
from laion_hpc.web.fetch import fetch, is_url

if TYPE_CHECKING:
    from laion_hpc.stages.extract.batch import Batch
    from laion_hpc.stages.extract.links import Rules

_SAMPLED_BYTES = 1 << 16


@dataclass(frozen=True)
class Failure:
    """A WAT of which nothing can be had."""

    wat: str
    reason: str


def name_of(address: str) -> str:
    """The file name of a WAT's path or URL."""
    return PurePosixPath(address.partition("?")[0] if is_url(address) else address).name


def fingerprint(address: str) -> str:
    """Tells one WAT from another without reading all of it: name, size, both ends.

    It also names the format of what is made: in another format that is made again. A URL stands
    for itself: what Common Crawl publishes does not change.
    """
    if is_url(address):
        return ledger.fingerprint(CANDIDATES, address)
    path = Path(address)
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            head = stream.read(_SAMPLED_BYTES)
            stream.seek(max(size - _SAMPLED_BYTES, 0))
            tail = stream.read(_SAMPLED_BYTES)
    except OSError:
        return ledger.fingerprint(path.name, "unreadable")
    sample = xxhash.xxh3_128_hexdigest(head + tail)
    return ledger.fingerprint(CANDIDATES, path.name, str(size), sample)


@cache
def _settle() -> None:
    """Make this process fit for millions of small things; once.

    Have the C library keep what is freed for the next batch: spares a tenth of the time. By
    default it goes back to the system, and every batch gets its memory anew, page by page.
    Freeing one large block raises glibc's own limits, to 64 MB (mallopt(3), M_MMAP_THRESHOLD).
    And have Python's garbage collector leave out what the imports made: it stays anyway. Until
    the end of the process: Python frees its modules by that collector, and DuckDB's bindings
    complain, in a hundred lines, of what they find alive.
    """
    bytes(31 << 20)
    atexit.register(gc.unfreeze)
    gc.freeze()


def make_wat(address: str, *, config: Config, parts: Path) -> Ledger | Failure:
    """Extract one WAT (a path or URL) into the folder `parts`; a finished one is left alone.

    Returns its ledger, `parts/NAME.ledger.json`, which lists its runs; or a Failure if the WAT
    cannot be fetched or opened, or is not a WAT. Trouble with the output is raised.
    """
    # Here, for a leader that leaves the work to others need not load all that it takes.
    from laion_hpc.stages.extract.external_sort import Candidates
    from laion_hpc.stages.extract.extraction import Extraction
    from laion_hpc.stages.extract.links import Rules
    from laion_hpc.stages.extract.records import NotAWatError

    _settle()
    name = name_of(address)
    digest, source = settings.digest(config, "extract"), fingerprint(address)
    where = parts / f"{name}.ledger.json"
    done = ledger.finished(where, config=digest, source=source)
    if done is not None:
        return done
    fetched = parts / f"{name}.fetched" if is_url(address) else None
    try:
        if fetched is not None and not fetched.exists():
            fetch(address, fetched)
        extraction = Extraction(config, Candidates(parts / name, config.dataset.blocks), name)
        for batch in _readable(fetched or Path(address), Rules.of(config)):
            extraction.take(batch)
    except InputError as error:
        return Failure(name, str(error))
    except (NotAWatError, _UnreadableError) as error:
        if fetched is not None:
            fetched.unlink(missing_ok=True)
        return Failure(name, f"{address}: {error}")
    if extraction.unreadable:
        return Failure(name, f"{address}: holds no readable WARC record")
    result = extraction.finish(digest, source)
    result.write(where)
    if fetched is not None:
        fetched.unlink()
    return result


class _UnreadableError(Exception):
    """The operating system refuses the WAT."""


def _readable(path: Path, rules: Rules) -> Iterator[Batch]:
    """The batches; an OSError of reading them becomes _UnreadableError, others stay."""
    if find_spec("numba") is None:  # no wheel for this machine
        from laion_hpc.stages.extract.batch import read
    else:
        from laion_hpc.stages.extract.fast import read

    batches = read(path, rules)
    while True:
        try:
            batch = next(batches)
        except StopIteration:
            return
        except OSError as error:
            raise _UnreadableError(error.strerror or str(error)) from None
        yield batch
