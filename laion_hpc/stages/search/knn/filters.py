"""Filters on metadata: a request's conditions give the ids that a search may return."""

from __future__ import annotations

import mmap
import operator
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from laion_hpc.files.index_folder import ROW_BITS, vector_id
from laion_hpc.stages.search.faults import RequestError

if TYPE_CHECKING:
    import pyarrow as pa

    from laion_hpc.stages.search.knn.table import Table

Mask = npt.NDArray[np.bool_]
Condition = Callable[["pa.RecordBatch"], Mask]
Number = Annotated[float, Field(allow_inf_nan=False)]
Words = Annotated[tuple[Annotated[str, Field(max_length=100)], ...], Field(max_length=200)]
MAP_NORESERVE = 0x4000
"""Linux: address space without reserved memory (Python's mmap lacks the name)."""


class Filter(BaseModel):
    """Conditions on the results; a field that is left out sets no condition."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    language: Words = Field((), description="One of these codes; the empty string: none found.")
    language_class: Words = Field((), description="One of en, multi, nolang.")
    license: Words = Field((), description="One of these.")
    host: Annotated[str, Field(max_length=255)] = Field(
        "", description="Host of the image; its subdomains as well."
    )
    min_similarity: Number | None = Field(None, description="Cosine of image and caption, from.")
    max_similarity: Number | None = Field(None, description="Cosine of image and caption, to.")
    max_punsafe: Number | None = Field(None, description="Below this probability.")
    max_pwatermark: Number | None = Field(None, description="Below this probability.")
    min_aesthetic: Number | None = Field(None, description="From this score on.")
    min_width: int | None = Field(None, ge=0, le=2**31 - 1, description="Pixels, original.")
    min_height: int | None = Field(None, ge=0, le=2**31 - 1, description="Pixels, original.")


def conditions(
    wanted: Filter, columns: Sequence[str], *, safe: bool, unsafe_threshold: float
) -> list[Condition]:
    """One predicate per condition; RequestError if the index has no such column.

    Safe mode hides rows with `punsafe` ≥ threshold or without a score. An index without that column
    shows all rows.
    """
    found: list[Condition] = []

    def column(name: str) -> str:
        if name not in columns:
            raise RequestError(f"this index cannot be filtered by {name}: it has no such column")
        return name

    if safe and "punsafe" in columns:
        found.append(_number("punsafe", operator.lt, unsafe_threshold))
    for name, words in (
        ("language", wanted.language),
        ("language_class", wanted.language_class),
        ("license", wanted.license),
    ):
        if words:
            found.append(_one_of(column(name), words))
    if wanted.host:
        found.append(_host(column("host"), wanted.host.lower().rstrip(".")))
    for name, least in (
        ("similarity", wanted.min_similarity),
        ("aesthetic", wanted.min_aesthetic),
        ("width", wanted.min_width),
        ("height", wanted.min_height),
    ):
        if least is not None:
            found.append(_number(column(name), operator.ge, least))
    if wanted.max_similarity is not None:
        found.append(_number(column("similarity"), operator.le, wanted.max_similarity))
    for name, below in (("punsafe", wanted.max_punsafe), ("pwatermark", wanted.max_pwatermark)):
        if below is not None:
            found.append(_number(column(name), operator.lt, below))
    return found


def _number(name: str, compare: Callable[[Any, float], Mask], limit: float) -> Condition:
    # NaN (no score) fulfils no comparison.
    return lambda batch: compare(batch[name].to_numpy(zero_copy_only=False), limit)


def _one_of(name: str, words: Sequence[str]) -> Condition:
    import pyarrow as pa
    import pyarrow.compute as pc

    values = pa.array(words, pa.string())
    return lambda batch: _mask(pc.is_in(batch[name], value_set=values))


def _host(name: str, host: str) -> Condition:
    import pyarrow.compute as pc

    return lambda batch: _mask(
        pc.or_(pc.equal(batch[name], host), pc.ends_with(batch[name], f".{host}"))
    )


def _mask(array: Any) -> Mask:
    mask: Mask = array.to_numpy(zero_copy_only=False)
    return mask


class Selection:
    """The ids that fulfil a filter: one bit per row, as faiss' selectors read them.

    An id is `block · 2³² + row`, so a bitmap over all ids would have holes of 512 MB. It lies in
    address space without reserved memory: only pages with set bits use memory, 1 bit per row. If
    the system refuses such space, a hash set of the ids is used.
    """

    def __init__(self, table: Table, tests: Sequence[Condition], blocks: Sequence[int]) -> None:
        self.count = 0
        self._table = table
        self._bits = _sparse_bits(max(blocks, default=0) + 1)
        ids = []
        for block, first, batch in table.batches():
            mask = np.ones(batch.num_rows, bool)
            for test in tests:
                mask &= test(batch)
            self.count += int(mask.sum())
            if self._bits is None:
                ids.append(vector_id(block, first) + np.flatnonzero(mask))
            elif mask.any():
                start = vector_id(block, first) >> 3
                packed = np.packbits(mask, bitorder="little")
                self._bits[start : start + len(packed)] = packed
        self._ids = np.concatenate([np.empty(0, np.int64), *ids])

    def selector(self) -> Any:
        """A faiss selector; valid as long as this object lives."""
        import faiss

        if self._bits is not None:
            return faiss.IDSelectorBitmap(self._bits)
        return faiss.IDSelectorBatch(self._ids)

    def ids(self) -> npt.NDArray[np.int64]:
        """All of them, ascending within a block."""
        if self._bits is None:
            return self._ids
        found = [np.empty(0, np.int64)]
        for block, first, batch in self._table.batches():
            start = vector_id(block, first)
            packed = self._bits[start >> 3 : (start + batch.num_rows + 7) >> 3]
            found.append(start + np.flatnonzero(np.unpackbits(packed, bitorder="little")))
        return np.concatenate(found)

    def holds(self, ids: npt.NDArray[np.int64]) -> Mask:
        """Which of these ids are selected."""
        if self._bits is None:
            return np.isin(ids, self._ids)
        held: Mask = (self._bits[ids >> 3] >> (ids & 7).astype(np.uint8) & 1).astype(bool)
        return held


def _sparse_bits(blocks: int) -> npt.NDArray[np.uint8] | None:
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE
    try:
        space = mmap.mmap(-1, blocks << (ROW_BITS - 3), flags=flags)
    except (OSError, ValueError, OverflowError, MemoryError):
        return None
    return np.frombuffer(space, np.uint8)


class Selections:
    """A cache of selections, so that scrolling does not test every row again.

    Making one reads its columns once: a few hundred million rows a second from the page cache.
    """

    def __init__(self, table: Table, blocks: Sequence[int], keep: int = 16) -> None:
        self._table, self._blocks, self._keep = table, blocks, keep
        self._made: OrderedDict[str, Future[Selection]] = OrderedDict()
        self._lock = threading.Lock()

    def get(
        self,
        wanted: Filter,
        *,
        safe: bool,
        unsafe_threshold: float,
        where: Sequence[Condition] = (),
    ) -> Selection | None:
        """The selection of a filter; None if it selects everything. With further conditions
        (`where`) it is not cached."""
        tests = conditions(
            wanted, self._table.columns, safe=safe, unsafe_threshold=unsafe_threshold
        )
        if where:
            return Selection(self._table, [*tests, *where], self._blocks)
        if not tests:
            return None
        key = f"{safe} {unsafe_threshold} {wanted.model_dump_json()}"
        with self._lock:
            made = self._made.get(key)
            mine = made is None
            if made is None:
                made = self._made[key] = Future()
                if len(self._made) > self._keep:
                    self._made.popitem(last=False)
            self._made.move_to_end(key)
        # Made outside the lock: a request for another filter need not wait.
        if mine:
            try:
                made.set_result(Selection(self._table, tests, self._blocks))
            except BaseException as error:
                self._made.pop(key, None)
                made.set_exception(error)
        return made.result()
