"""One WAT file -> its runs of candidates and its own ledger: the unit of the work queue."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import xxhash

from laion_hpc import config as settings
from laion_hpc import ledger
from laion_hpc.config import Config
from laion_hpc.errors import InputError
from laion_hpc.extract.language import Identifier
from laion_hpc.extract.links import Rules, decide
from laion_hpc.extract.pages import IMAGE_BYTES, BrokenRecordError, Page, read_page
from laion_hpc.extract.parts import Candidates
from laion_hpc.extract.records import Damage, NotAWatError, Record, read_records
from laion_hpc.extract.text import clean
from laion_hpc.ledger import Ledger
from laion_hpc.transfer import fetch, is_url
from laion_hpc.urls import Base

LISTED_DAMAGE = 100
"""Damaged places that a WAT's ledger names; the rest is only counted."""

_SAMPLED_BYTES = 1 << 16


@dataclass(frozen=True)
class Failure:
    """A WAT of which nothing can be had."""

    wat: str
    reason: str


def name_of(address: str) -> str:
    """The file name of a WAT's path or URL."""
    return PurePosixPath(urlsplit(address).path if is_url(address) else address).name


def fingerprint(address: str) -> str:
    """Tells one WAT from another without reading all of it: name, size, both ends.

    A URL stands for itself: what Common Crawl publishes does not change.
    """
    if is_url(address):
        return ledger.fingerprint(address)
    path = Path(address)
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            head = stream.read(_SAMPLED_BYTES)
            stream.seek(max(size - _SAMPLED_BYTES, 0))
            tail = stream.read(_SAMPLED_BYTES)
    except OSError:
        return ledger.fingerprint(path.name, "unreadable")
    return ledger.fingerprint(path.name, str(size), xxhash.xxh3_128_hexdigest(head + tail))


def make_wat(address: str, *, config: Config, parts: Path) -> Ledger | Failure:
    """Extract one WAT (a path or URL) into the folder `parts`; a finished one is left alone.

    Returns its ledger, `parts/NAME.ledger.json`, which lists its runs; or a Failure if the WAT
    cannot be fetched or opened or is none. Trouble with the output is raised.
    """
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
        extraction = _Extraction(config, Candidates(parts / name, config.dataset.blocks), name)
        for item in _readable(fetched or Path(address)):
            extraction.take(item)
    except InputError as error:
        return Failure(name, str(error))
    except (NotAWatError, _UnreadableError) as error:
        if fetched is not None:
            fetched.unlink(missing_ok=True)
        return Failure(name, f"{address}: {error}")
    if not extraction.records_read and extraction.records_damaged:
        return Failure(name, f"{address}: holds no readable WARC record")
    result = extraction.finish(digest, source)
    result.write(where)
    if fetched is not None:
        fetched.unlink()
    return result


class _UnreadableError(Exception):
    """The operating system refuses the WAT."""


def _readable(path: Path) -> Iterator[Record | Damage]:
    """The records; an OSError of reading them becomes _UnreadableError, others stay."""
    records = read_records(path)
    while True:
        try:
            item = next(records)
        except StopIteration:
            return
        except OSError as error:
            raise _UnreadableError(error.strerror or str(error)) from None
        yield item


@lru_cache(maxsize=1)
def _identifier(min_bytes: int, max_bytes: int, min_probability: float) -> Identifier:
    """One per process, so that what it remembers serves all WATs of a rank."""
    return Identifier(min_bytes, max_bytes, min_probability)


@dataclass
class _Extraction:
    """The state of one WAT while it is read."""

    config: Config
    candidates: Candidates
    wat: str
    links: int = 0
    pages: int = 0
    records_read: int = 0
    records_repaired: int = 0
    records_damaged: int = 0
    bytes_damaged: int = 0
    damage: list[str] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    classes: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        keys = self.config.extract
        self._rules = Rules.of(self.config)
        self._identify = _identifier(
            keys.language_min_bytes, keys.language_max_bytes, keys.language_min_probability
        )
        self._seen = _pairs()

    def take(self, item: Record | Damage) -> None:
        """Count a record or a damaged place; collect the candidates of a record."""
        if isinstance(item, Damage):
            self._lost(item.offset, item.size, item.reason)
            return
        offset, data, begin, end, fault = item
        if IMAGE_BYTES in data or fault:
            try:
                page = read_page(data, begin, end)
            except BrokenRecordError as error:
                self._lost(offset, 0, f"{fault}: {error}" if fault else str(error))
                return
            if page is not None and page.images:
                self.pages += 1
                self._page(page, offset)
        elif data[begin : begin + 1] == b"{" and data[end - 1 : end] != b"}":
            self._lost(offset, 0, "invalid JSON: cut short")
            return
        self.records_read += 1
        if fault:
            self.records_repaired += 1
            self._note(offset, 0, f"{fault}, read all the same")

    def _page(self, page: Page, offset: int) -> None:
        try:
            base = Base(page.url, page.base)
        except (ValueError, TypeError):
            base = None
        self.links += len(page.images)
        provenance = page.license, page.url, page.language
        for position, image in enumerate(page.images):
            if not image.alt:  # the fate of half of them: spare them the rest
                self.dropped["no_text"] += 1
                continue
            url, text, reason = decide(image.url, image.alt, base, self._rules, self._seen)
            if reason:
                self.dropped[reason] += 1
                continue
            language = self._identify(text)
            self.classes[language.kind] += 1
            title = clean(image.title) if image.title else ""
            self.candidates.add((url, text, *language, *provenance, title, offset, position))

    def _lost(self, offset: int, size: int, reason: str) -> None:
        self.records_damaged += 1
        self.bytes_damaged += size
        self._note(offset, size, reason)

    def _note(self, offset: int, size: int, reason: str) -> None:
        if len(self.damage) < LISTED_DAMAGE:
            extent = f", {size} bytes" if size else ""
            self.damage.append(f"{self.wat}@{offset}{extent}: {reason}")

    def finish(self, config: str, source: str) -> Ledger:
        """Write what is left of the candidates; the WAT's ledger."""
        self.candidates.close()
        return Ledger(
            stage="extract",
            unit="links",
            inputs=self.links,
            kept=self.links - self.dropped.total(),
            dropped=dict(self.dropped),
            config=config,
            source=source,
            counts={
                "wats": 1,
                "pages": self.pages,
                "records_read": self.records_read,
                "records_repaired": self.records_repaired,
                "records_damaged": self.records_damaged,
                "bytes_damaged": self.bytes_damaged,
                "damage": self.damage,
                "kept_by_class": dict(self.classes),
            },
            files=tuple(ledger.describe(path, rows=rows) for path, rows in self.candidates.runs),
        )


def _pairs() -> Callable[[str, str], bool]:
    """Tells whether a pair came before. 90 bytes a pair: two texts never hash alike in practice
    (128 bits), and the strings themselves need not be kept."""
    seen: set[bytes] = set()

    def came_before(url: str, text: str) -> bool:
        digest = xxhash.xxh3_128_digest(f"{url}\n{text}".encode())
        if digest in seen:
            return True
        seen.add(digest)
        return False

    return came_before
