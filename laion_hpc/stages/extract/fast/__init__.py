"""The compiled twin of `batch.read`: the same batches, many records and links at a time.

| file | what |
|---|---|
| `windows`, `window_loops` | many gzip members inflated into one buffer, and the records in it |
| `decide` | all image links of many pages decided on; what is odd goes to `links.decide` |
| `find`, `find_loop` | image links found in JSON |
| `arrays` | what compiled code is given, and what it fills |
| `judge` | plain texts and references decided on as bytes |
| `hosts` | the hosts of many URLs |

Each is narrow on purpose. Where a record, page, text or reference is not written as nearly all of
them are, the readable definition reads it, which is also what the tests compare with. What each
part earns: `benchmarks/extract_parts.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from laion_hpc.stages.extract.batch import (
    BATCH_BYTES,
    CUT_SHORT,
    Batch,
    PageColumns,
    is_cut_short,
)
from laion_hpc.stages.extract.fast.arrays import Bytes
from laion_hpc.stages.extract.fast.decide import Decider, StrangePagesError
from laion_hpc.stages.extract.fast.window_loops import CUT, LICENSE
from laion_hpc.stages.extract.fast.windows import Window, read_windows
from laion_hpc.stages.extract.links import Rules
from laion_hpc.stages.extract.pages import (
    IMAGE_BYTES,
    BrokenRecordError,
    Outline,
    read_outline,
    whole_outline,
)
from laion_hpc.stages.extract.records import Damage, Record


def read(path: Path, rules: Rules) -> Iterator[Batch]:
    """All records of a WAT in order, their links decided on; raises what `batch.read` raises."""
    decider = Decider(rules)
    waiting = _Reading(decider)
    for item in read_windows(path):
        if isinstance(item, Window):
            yield waiting.decided()
            yield _of_window(item, decider)
            waiting = _Reading(decider)
            continue
        if isinstance(item, Damage):
            waiting.batch.lost.append(item)
        else:
            waiting.take(item)
        if waiting.held >= BATCH_BYTES:
            yield waiting.decided()
            waiting = _Reading(decider)
    yield waiting.decided()


class _Page(NamedTuple):
    """A page that waits for its batch, and where its record is."""

    outline: Outline
    offset: int
    data: bytes | memoryview
    begin: int
    end: int


class _Reading:
    """A batch while its records are read."""

    def __init__(self, decider: Decider) -> None:
        self.batch = Batch()
        self.held = 0
        """Bytes of its records."""
        self._decider = decider
        self._pages: list[_Page] = []

    def take(self, record: Record) -> None:
        """Read a record; its links are decided on later."""
        offset, data, begin, end, fault = record
        self.held += len(data)
        if IMAGE_BYTES in data or fault:
            self.page(offset, data, begin, end, fault=fault)
        elif is_cut_short(data, begin, end):
            self.batch.lost.append(Damage(offset, 0, CUT_SHORT))
        else:
            self.batch.read += 1

    def page(
        self,
        offset: int,
        data: bytes | memoryview,
        begin: int,
        end: int,
        *,
        fault: str = "",
        licensed: bool | None = None,
    ) -> None:
        """Read the page of a record."""
        try:
            outline = read_outline(data, begin, end, licensed=licensed)
        except BrokenRecordError as error:
            reason = f"{fault}: {error}" if fault else str(error)
            self.batch.lost.append(Damage(offset, 0, reason))
            return
        self.batch.read += 1
        if fault:
            self.batch.repaired.append(Damage(offset, 0, fault))
        if outline is not None:
            self._pages.append(_Page(outline, offset, data, begin, end))

    def decided(self, window: Bytes | None = None) -> Batch:
        """The batch, its links decided on; `window` is where most of them are."""
        while self._pages:
            try:
                outlines = [page.outline for page in self._pages]
                self.batch.links = self._decider(outlines, window)
                break
            except StrangePagesError as error:
                self._read_whole(set(error.pages))
        self.batch.pages = [
            PageColumns(page.outline.url, page.outline.language, page.outline.license, page.offset)
            for page in self._pages
        ]
        self.batch.lost.sort(key=lambda damage: damage.offset)
        return self.batch

    def _read_whole(self, strange: set[int]) -> None:
        """Read some pages again, the thorough way; leave out those that are broken."""
        pages, self._pages = self._pages, []
        for number, page in enumerate(pages):
            outline: Outline | None = page.outline
            if number in strange:
                try:
                    outline = whole_outline(page.data, page.begin, page.end)
                except BrokenRecordError as error:
                    self.batch.read -= 1
                    self.batch.lost.append(Damage(page.offset, 0, str(error)))
                    continue
            if outline is not None:
                self._pages.append(page._replace(outline=outline))


def _of_window(window: Window, decider: Decider) -> Batch:
    reading = _Reading(decider)
    batch, data = reading.batch, window.data.data
    look = np.flatnonzero(window.flags)
    batch.read = len(window.flags) - len(look)
    for offset, flags, (_, begin, end) in zip(
        window.offset[look].tolist(),
        window.flags[look].tolist(),
        window.spans[look].tolist(),
        strict=True,
    ):
        if flags & CUT:
            batch.lost.append(Damage(offset, 0, CUT_SHORT))
            continue
        payload = data[begin:end]
        reading.page(offset, payload, 0, len(payload), licensed=bool(flags & LICENSE))
    return reading.decided(window.data)
