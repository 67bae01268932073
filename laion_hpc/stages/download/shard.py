"""One shard in the making: samples arrive in any order, leave in the order of the input.

Finished images wait in an unnamed file beside the outputs, so that memory does not grow with
the images that overtake a slow one. When the last sample is in, tar, parquet, stats and, last,
the ledger are written.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from laion_hpc.files import ledger, tombstones
from laion_hpc.files.atomic import atomic, write_bytes
from laion_hpc.files.schemas import SAMPLE
from laion_hpc.files.shards import Sample, ShardWriter
from laion_hpc.stages.download import outcomes
from laion_hpc.stages.download.image import Picture
from laion_hpc.web.answer import Answer

PHASES = ("fetch", "decode", "resize", "encode", "write")


@dataclass(slots=True)
class _Done:
    """What is known of a finished sample; `start` and `length` are in the spool."""

    answer: Answer
    picture: Picture
    reason: str
    start: int
    length: int


class OpenShard:
    """Collects the samples of a shard, then writes it."""

    def __init__(
        self,
        number: int,
        table: pa.Table,
        output: Path,
        *,
        source: str,
        boxes: list[Any] | None = None,
    ) -> None:
        """`table` is `inputs.read_shard`'s, `boxes` `inputs.read_boxes`'; `source` the
        fingerprint of what they came from.
        """
        self.boxes = boxes
        self.number = number
        self.urls: list[str] = table.column("url").to_pylist()
        self.cpu: dict[str, float] = dict.fromkeys(PHASES, 0.0)
        """CPU seconds by phase."""
        self._table = table
        self._output = output
        self._source = source
        self._done: list[_Done | None] = [None] * table.num_rows
        self._left = table.num_rows
        self.earlier_counts: Mapping[str, Any] = {}
        """Counts of the ledger that this shard is an addition to."""
        self.earlier_attempts = 0
        self._started = time.time()
        self._spool = tempfile.TemporaryFile(prefix=".spool-", dir=output)  # noqa: SIM115
        self._end = 0

    @property
    def complete(self) -> bool:
        """True when every sample has its outcome."""
        return not self._left

    def store(self, row: int, answer: Answer, picture: Picture, reason: str) -> None:
        """Sample number `row` is finished; the body and the image are not kept in memory."""
        image, picture.image = picture.image, b""
        if image:
            self._spool.seek(self._end)
            self._spool.write(image)
        self._done[row] = _Done(answer, picture, reason, self._end, len(image))
        self._end += len(image)
        self._left -= 1
        self.cpu["decode"] += picture.decode_seconds
        self.cpu["resize"] += picture.resize_seconds
        self.cpu["encode"] += picture.encode_seconds

    def close(self) -> None:
        """Give up, or be done with, the spool."""
        self._spool.close()

    def write(self, *, extension: str, config: str) -> ledger.Ledger:
        """Write the complete shard; its ledger is the sign that all of it is there."""
        started = time.thread_time()
        name = f"{self.number:05d}"
        done = [entry for entry in self._done if entry is not None]
        table = self._finished_table(done)
        tar, parquet = self._output / f"{name}.tar", self._output / f"{name}.parquet"
        with atomic(tar) as aside, ShardWriter(aside) as writer:
            self._write_samples(writer, table, done, extension)
        with atomic(parquet) as aside:
            pq.write_table(table, aside, compression="zstd")
        self.close()
        kept = sum(not entry.reason for entry in done)
        files = (ledger.describe(tar, rows=kept), ledger.describe(parquet, rows=len(done)))
        self.cpu["write"] += time.thread_time() - started
        self._write_stats(self._output / f"{name}_stats.json", done)
        result = ledger.Ledger(
            stage="download",
            unit="samples",
            inputs=len(done),
            kept=kept,
            dropped=Counter(entry.reason for entry in done if entry.reason),
            config=config,
            source=self._source,
            counts=_counts(done, self.earlier_counts),
            files=files,
        )
        result.write(self._output / f"{name}.ledger.json")
        return result

    def _finished_table(self, done: list[_Done]) -> pa.Table:
        own: dict[str, list[Any]] = {
            "status": [outcomes.status_of(entry.reason) for entry in done],
            "error_message": [entry.reason for entry in done],
            "http_status": [entry.answer.status for entry in done],
            "final_url": [entry.answer.url for entry in done],
            "content_type": [entry.answer.content_type for entry in done],
            "bytes": [entry.answer.received for entry in done],
            "width": [entry.picture.width for entry in done],
            "height": [entry.picture.height for entry in done],
            "original_width": [entry.picture.original_width for entry in done],
            "original_height": [entry.picture.original_height for entry in done],
            "exif": [entry.picture.exif for entry in done],
            "sha256": [entry.picture.sha256 for entry in done],
            "md5": [entry.picture.md5 for entry in done],
        }
        columns = [
            pa.array(own[field.name], field.type)
            if field.name in own
            else self._table.column(field.name).combine_chunks()
            for field in SAMPLE
        ]
        table = pa.Table.from_arrays(columns, schema=SAMPLE)
        gone = np.array([entry.reason == tombstones.REASON for entry in done], np.bool_)
        return tombstones.bury_samples(table, gone) if gone.any() else table

    def _write_samples(
        self, writer: ShardWriter, table: pa.Table, done: list[_Done], extension: str
    ) -> None:
        # Some hundred rows at a time: as Python objects the table is large.
        for first in range(0, len(done), 500):
            rows = table.slice(first, 500).to_pylist()
            for row, entry in zip(rows, done[first : first + 500], strict=True):
                if entry.reason:
                    continue
                self._spool.seek(entry.start)
                members = {
                    extension: self._spool.read(entry.length),
                    "txt": row["caption"].encode(),
                    "json": json.dumps(row, ensure_ascii=False).encode(),
                }
                writer.add(Sample(row["key"], members))

    def _write_stats(self, path: Path, done: list[_Done]) -> None:
        """img2dataset's names and meanings; all that depends on the moment is here only."""
        ended = time.time()
        statuses = Counter(outcomes.status_of(entry.reason) for entry in done)
        stats = {
            "count": len(done),
            "successes": statuses[outcomes.SUCCESS],
            "failed_to_download": statuses[outcomes.FAILED_TO_DOWNLOAD],
            "failed_to_resize": statuses[outcomes.FAILED_TO_RESIZE],
            "duration": ended - self._started,
            "start_time": self._started,
            "end_time": ended,
            "status_dict": dict(
                Counter(entry.reason or outcomes.SUCCESS for entry in done).most_common()
            ),
            "attempts": sum(e.answer.attempts for e in done) + self.earlier_attempts,
            "bytes": sum(entry.answer.received for entry in done),
            "cpu_ms": {phase: round(1000 * s, 1) for phase, s in sorted(self.cpu.items())},
        }
        write_bytes(path, (json.dumps(stats, indent=1) + "\n").encode())


def _counts(done: list[_Done], earlier: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """Further numbers of a ledger: formats of the images kept, opt-outs by their word.

    Samples of an earlier run have neither with them: they are in its counts.
    """
    formats = Counter(e.picture.format for e in done if not e.reason and e.picture.format)
    opt_outs = Counter(e.answer.opt_out for e in done if e.answer.opt_out)
    return {
        "formats": dict(sorted((formats + Counter(earlier.get("formats", {}))).items())),
        "opt_outs": dict(sorted((opt_outs + Counter(earlier.get("opt_outs", {}))).items())),
    }
