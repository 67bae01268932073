"""The list of take-downs: hashes only, one a line; who reads the list learns no address.

```
host    SHA256                                  a host and all below it
image   SHA256 or MD5                           the bytes that a server sent
url     SHA256                                  the URL of an image
sample  SHA256 of key, SHA256 of URL, crawl, block, kept or dropped, numbering
```

A `sample` line is written when a sample is found in results. It says that the sample had a key and
whether its image had been kept: its place stays empty, so that no other sample's key and no other
shard changes. `numbering` is a digest of the config keys that keys depend on; lines of other
numberings hold no place.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from laion_hpc import config as settings
from laion_hpc.config import Config
from laion_hpc.errors import UsageError
from laion_hpc.files.atomic import write_bytes

HEADER = """\
# Take-downs: hashes only. Written by `laion-hpc takedown`; keep it as long as the dataset.
"""
_HEX = re.compile(r"[0-9a-f]+")


@dataclass(frozen=True, order=True)
class Sample:
    """A sample that was found in results. All hashes are SHA-256 in hex."""

    crawl: str
    block: int
    key: str
    url: str
    kept: bool
    """Whether `filter` had kept its image."""
    numbering: str

    def line(self) -> str:
        """As it stands in the list."""
        fate = "kept" if self.kept else "dropped"
        return f"sample {self.key} {self.url} {self.crawl} {self.block:04d} {fate} {self.numbering}"


@dataclass(frozen=True)
class Takedowns:
    """What must go: hashes in lower-case hex."""

    urls: frozenset[str] = frozenset()
    hosts: frozenset[str] = frozenset()
    images: frozenset[str] = frozenset()
    """SHA-256 and MD5 of bodies."""
    samples: frozenset[Sample] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.urls or self.hosts or self.images or self.samples)

    def __or__(self, other: Takedowns) -> Takedowns:
        return Takedowns(
            self.urls | other.urls,
            self.hosts | other.hosts,
            self.images | other.images,
            self.samples | other.samples,
        )

    def of_block(self, crawl: str, block: int, numbering: str) -> frozenset[Sample]:
        """The samples of one block that hold their places."""
        return frozenset(
            sample
            for sample in self.samples
            if (sample.crawl, sample.block, sample.numbering) == (crawl, block, numbering)
        )

    def digest(self, crawl: str, block: int, numbering: str) -> str:
        """Changes when samples of this block join the list; empty while there are none."""
        samples = sorted(self.of_block(crawl, block, numbering))
        if not samples:
            return ""
        return hashlib.sha256("\n".join(s.line() for s in samples).encode()).hexdigest()[:16]


def numbering(config: Config) -> str:
    """Digest of all config keys that the keys of samples depend on."""
    parts = settings.digest(config, "extract") + settings.digest(config, "shuffle")
    return hashlib.sha256(parts.encode()).hexdigest()[:16]


def of(config: Config) -> Takedowns:
    """The list that a config names; empty if there is no such file. UsageError if damaged."""
    return read(Path(config.takedown_list))


def read(path: Path) -> Takedowns:
    """The list in a file; empty if there is none. UsageError names the invalid line."""
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except FileNotFoundError:
        return Takedowns()
    except (UnicodeDecodeError, IsADirectoryError):
        raise UsageError(f"takedown_list: {path}: not a list of take-downs") from None
    found: dict[str, set[str]] = {"url": set(), "host": set(), "image": set()}
    samples = set()
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        try:
            if words[0] == "sample":
                samples.add(_sample(words[1:]))
            else:
                (digits,) = words[1:]
                found[words[0]].add(_hash(digits, (32, 64) if words[0] == "image" else (64,)))
        except (KeyError, ValueError):
            raise UsageError(f"takedown_list: {path}:{number}: not an entry: {line!r}") from None
    return Takedowns(
        frozenset(found["url"]),
        frozenset(found["host"]),
        frozenset(found["image"]),
        frozenset(samples),
    )


def _sample(words: list[str]) -> Sample:
    key, url, crawl, block, fate, made = words
    if fate not in ("kept", "dropped"):
        raise ValueError(fate)
    return Sample(crawl, int(block), _hash(key), _hash(url), fate == "kept", _hash(made, (16,)))


def _hash(digits: str, lengths: tuple[int, ...] = (64,)) -> str:
    if len(digits) not in lengths or not _HEX.fullmatch(digits):
        raise ValueError(digits)
    return digits


def write(takedowns: Takedowns, path: Path) -> None:
    """Write a list, sorted: the same take-downs give the same bytes."""
    lines: Iterable[str] = [
        *(f"host {one}" for one in sorted(takedowns.hosts)),
        *(f"image {one}" for one in sorted(takedowns.images)),
        *(sample.line() for sample in sorted(takedowns.samples)),
        *(f"url {one}" for one in sorted(takedowns.urls)),
    ]
    write_bytes(path, (HEADER + "".join(f"{line}\n" for line in lines)).encode("ascii"))
