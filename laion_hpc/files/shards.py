"""Tar shards as webdataset knows them: written reproducibly, read without surprises."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from laion_hpc.errors import InputError
from laion_hpc.files.ledger import Ledger


@dataclass(frozen=True)
class Sample:
    """One sample of a shard: its key and its members by extension, such as jpg, txt, json."""

    key: str
    members: Mapping[str, bytes]


class ShardWriter:
    """Writes samples to a tar whose bytes depend on nothing but the samples.

    Use it inside `atomic(path)`. Members get mtime 0, owner 0 and mode 0644.
    """

    def __init__(self, path: Path) -> None:
        self._tar = tarfile.open(path, "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115 (closed by close)

    def add(self, sample: Sample) -> None:
        """Append the members in the order given, named KEY.EXTENSION."""
        for extension, data in sample.members.items():
            info = tarfile.TarInfo(f"{sample.key}.{extension}")
            info.size = len(data)
            info.mode = 0o644
            self._tar.addfile(info, io.BytesIO(data))

    def close(self) -> None:
        """Write the end of the archive."""
        self._tar.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def read_shard(path: Path) -> Iterator[Sample]:
    """The samples of a tar in order: consecutive members that share the part before the first dot.

    Raises InputError, naming the file, if the tar is missing, cut short or no tar.
    """
    try:
        with tarfile.open(path, "r:") as tar:
            key, members = "", dict[str, bytes]()
            for info in tar:
                if not info.isfile():
                    continue
                stream = tar.extractfile(info)
                data = stream.read() if stream else b""
                if len(data) != info.size:
                    raise InputError(f"{path}: cut short in {info.name}; make this shard again")
                name, _, extension = info.name.partition(".")
                if name != key and members:
                    yield Sample(key, members)
                    members = {}
                key = name
                members[extension] = data
            if members:
                yield Sample(key, members)
    except FileNotFoundError:
        raise InputError(f"{path}: no such shard") from None
    except tarfile.TarError as error:
        raise InputError(f"{path}: not a whole tar ({error}); make this shard again") from None


def names_in(manifest: Ledger) -> list[str]:
    """Names of the tars that a block's manifest lists directly in its folder, such as 00012."""
    return sorted(
        entry.name.removesuffix(".tar")
        for entry in manifest.files
        if entry.name.endswith(".tar") and "/" not in entry.name
    )
