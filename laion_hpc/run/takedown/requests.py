"""Requests for take-downs: a file with a URL, host, hash or key on each line."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from laion_hpc.errors import UsageError
from laion_hpc.files import tombstones
from laion_hpc.files.takedown_list import Takedowns
from laion_hpc.web.url import Url, UrlError, canonical_host

_KEY = re.compile(r"[^\s./\\]+-\d{4}-\d{5}-\d{5}")


@dataclass
class Request:
    """The lines of a file by their kind."""

    urls: set[str] = field(default_factory=set)
    """As `extract` writes them."""
    hosts: set[str] = field(default_factory=set)
    hashes: set[str] = field(default_factory=set)
    """SHA-256 of a URL or an image, MD5 of an image; hex."""
    keys: set[str] = field(default_factory=set)

    def listed(self) -> Takedowns:
        """The entries of the list. A key has no entry; the URL of its sample has one."""
        long = frozenset(digits for digits in self.hashes if len(digits) == 64)
        return Takedowns(
            urls=frozenset(map(tombstones.sha256, self.urls)) | long,
            hosts=frozenset(map(tombstones.sha256, self.hosts)),
            images=frozenset(self.hashes),
        )


def read(path: Path) -> Request:
    """Read a file of requests; `#` at the start of a line begins a comment.

    UsageError names the first line that is not a URL, host, hash or key.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file of take-downs") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: not a text file in UTF-8") from None
    request = Request()
    for number, text in enumerate(lines, 1):
        line = text.strip()
        if line and not line.startswith("#") and not _understood(line, request):
            raise UsageError(
                f"{path}:{number}: {line!r} is not a URL, host, hash (MD5 of an image, SHA-256 of "
                "an image or URL, in hex) or sample key"
            )
    return request


def _understood(line: str, request: Request) -> bool:
    if "://" in line:
        try:
            request.urls.add(Url.parse(line).href)
        except UrlError:
            return False
        return True
    if re.fullmatch(r"[0-9a-fA-F]{32}|[0-9a-fA-F]{64}", line):
        request.hashes.add(line.lower())
    elif _KEY.fullmatch(line):
        request.keys.add(line)
    else:
        try:
            host = canonical_host(line)
        except UrlError:
            return False
        if "." not in host:
            return False  # a plain word, not a host
        request.hosts.add(host)
    return True
