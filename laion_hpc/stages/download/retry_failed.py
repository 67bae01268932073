"""Finished shards once more (`--retry-failed`): only the samples that may fare better now.

The others are taken from the shard as it is. The shard is then written as usual, so the
bytes are those of a run in which the samples that heal had come through at first.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from laion_hpc.errors import InputError, UsageError
from laion_hpc.files import ledger
from laion_hpc.files.ledger import Ledger
from laion_hpc.files.schemas import SAMPLE
from laion_hpc.files.shards import read_shard
from laion_hpc.files.tables import read_parquet
from laion_hpc.stages.download import outcomes
from laion_hpc.stages.download.image import Picture
from laion_hpc.stages.download.shard import OpenShard
from laion_hpc.web.answer import Answer


def worth_it(output: Path, entry: Ledger) -> int:
    """How many samples of a finished shard may heal. UsageError if its images were removed."""
    number = sum(n for reason, n in entry.dropped.items() if outcomes.may_heal(reason))
    if number:
        for file in entry.files:
            if not (output / file.name).exists():
                raise UsageError(
                    f"--retry-failed: {output / file.name} was removed on purpose "
                    "(keep.candidate_images); its shard cannot be added to"
                )
    return number


def take_over(shard: OpenShard, output: Path) -> list[int]:
    """Store what an earlier run knows in `shard`; the rows that are to be asked for again."""
    name = f"{shard.number:05d}"
    before = ledger.read(output / f"{name}.ledger.json")
    rows = read_parquet(output / f"{name}.parquet", "download it again", schema=SAMPLE).to_pylist()
    # In the order of the rows, so that one pass over the tar is enough.
    kept = read_shard(output / f"{name}.tar")
    again = []
    for number, row in enumerate(rows):
        reason = row["error_message"]
        if outcomes.may_heal(reason):
            again.append(number)
            continue
        picture = _picture(row)
        if not reason:
            sample = next(kept, None)
            if sample is None or sample.key != row["key"]:
                raise InputError(f"{output / name}.tar: lacks {row['key']}; make this shard again")
            picture.image = next(iter(sample.members.values()))
        shard.store(number, _answer(row), picture, reason)
    shard.earlier_counts = before.counts
    shard.earlier_attempts = _attempts(output / f"{name}_stats.json")
    return again


def _answer(row: dict[str, Any]) -> Answer:
    return Answer(
        reason=row["error_message"],
        status=row["http_status"],
        url=row["final_url"],
        content_type=row["content_type"],
        received=row["bytes"],
    )


def _picture(row: dict[str, Any]) -> Picture:
    names = ("width", "height", "original_width", "original_height", "exif", "sha256", "md5")
    return Picture(row["error_message"], **{name: row[name] for name in names})


def _attempts(stats: Path) -> int:
    """Times are nothing to rely on: without the file they are counted from now."""
    try:
        return int(json.loads(stats.read_bytes())["attempts"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0
