"""Files of digests that must not come into the dataset: hex, one a line."""

from __future__ import annotations

import string
from collections.abc import Mapping
from pathlib import Path

from laion_hpc.errors import UsageError

_HEX = frozenset(string.hexdigits)


def read_digests(path: str, key: str, kinds: Mapping[int, str]) -> frozenset[str]:
    """The digests of a file, in lower case; what comes after `#` is a comment. Empty path: none.

    `kinds` has the name of a digest for each number of hex digits that one may have. UsageError,
    which begins with the config's `key`, names the invalid line.
    """
    if not path:
        return frozenset()
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise UsageError(f"{key}: {path}: no such file") from None
    except UnicodeDecodeError:
        raise UsageError(f"{key}: {path}: not a text of hex digits") from None
    except OSError as error:
        raise UsageError(f"{key}: {path}: {error.strerror}") from None
    digests = set()
    for number, line in enumerate(lines, 1):
        digits = line.partition("#")[0].strip()
        if not digits:
            continue
        if len(digits) not in kinds or not _HEX.issuperset(digits):
            known = " or ".join(f"{name} ({size} hex digits)" for size, name in kinds.items())
            raise UsageError(f"{key}: {path}:{number}: {digits!r}: expected {known}")
        digests.add(digits.lower())
    return frozenset(digests)
