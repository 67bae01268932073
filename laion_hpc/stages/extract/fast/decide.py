"""The image links of many pages at once: all of `links.decide`'s decisions, as columns."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from laion_hpc.stages.extract.batch import Links, base_of
from laion_hpc.stages.extract.fast.arrays import Bytes, Found, Limits, Numbers, Pages
from laion_hpc.stages.extract.fast.find import find, gather, joined, limits
from laion_hpc.stages.extract.fast.hosts import hosts_of
from laion_hpc.stages.extract.fast.judge import (
    BASE_BROKEN,
    BASE_ODD,
    BASE_PLAIN,
    ODD,
    OK,
)
from laion_hpc.stages.extract.links import REASONS, Rules, text_of, url_of
from laion_hpc.stages.extract.pages import BrokenRecordError, Outline, json_text
from laion_hpc.stages.extract.text import clean
from laion_hpc.web.url import Base, is_blocked

_CODE = {reason: code for code, reason in enumerate(REASONS, 1)}


class StrangePagesError(Exception):
    """Pages that are to be read with `pages.whole_outline`: `.pages` are their numbers."""

    def __init__(self, pages: list[int]) -> None:
        self.pages = pages


class Decider:
    """Decides on batches by one set of rules."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._limits: Limits = limits(*rules[:4])

    def __call__(self, outlines: Sequence[Outline], window: Bytes | None = None) -> Links:
        """The links of some pages. Raises StrangePagesError.

        `window` is a buffer for `find` in which the links of most of them are: they stay there.
        """
        bases = [base_of(outline.url, outline.base) for outline in outlines]
        buffer, spans = _together([outline.links for outline in outlines], window)
        found = find(buffer, _pages(outlines, bases, spans), self._limits)
        if found.strange.any():
            raise StrangePagesError(np.flatnonzero(found.strange).tolist())
        text, url = found.text_status, found.url_status
        # A text that is dropped settles it; else a reference that is; else the library does.
        maybe = (text == OK) | (text == ODD)
        odd = (text == ODD) | ((text == OK) & (url == ODD))
        left = maybe & ((url == OK) | (url == ODD))
        reason = np.where(maybe, url, text)
        reason[odd | left] = 0
        spare = _Spare(len(buffer), len(found.resolved))
        strings = found.alt.copy(), found.resolved_span.copy(), found.title.copy()
        # Titles are cleaned whether or not the link stays: their JSON is part of the record.
        rows = np.flatnonzero(odd | (left & (found.title_status == ODD)))
        self._odd(rows, buffer, found, outlines, bases, reason, spare, strings)
        stays = np.flatnonzero(reason == 0)
        urls = _strings(found.resolved, spare.urls, strings[1][stays])
        hosts = hosts_of(urls)
        if self._rules.blocked_hosts:
            blocked = self._are_blocked(hosts)
            reason[stays[blocked]] = _CODE["blocked_host"]
            stays = stays[~blocked]
            urls, hosts = urls.filter(pa.array(~blocked)), hosts.filter(pa.array(~blocked))
        counts = np.bincount(reason, minlength=len(REASONS) + 1)
        return Links(
            images=len(reason),
            dropped=Counter(
                {name: int(counts[code]) for name, code in _CODE.items() if counts[code]}
            ),
            pages_with_images=len(np.unique(found.page)),
            page=found.page[stays],
            position=found.position[stays].astype(np.int32),
            url=urls,
            host=hosts,
            text=_strings(buffer, spare.texts, strings[0][stays]),
            title=_strings(buffer, spare.texts, strings[2][stays]),
        )

    def _are_blocked(self, hosts: pa.StringArray) -> npt.NDArray[np.bool_]:
        """Each distinct host is looked for once."""
        distinct = hosts.dictionary_encode()
        names = distinct.dictionary.to_pylist()
        blocked = [is_blocked(name, self._rules.blocked_hosts) for name in names]
        which: Numbers = distinct.indices.to_numpy()
        return np.take(np.array(blocked, np.bool_), which)

    def _odd(
        self,
        rows: Numbers,
        buffer: Bytes,
        found: Found,
        outlines: Sequence[Outline],
        bases: Sequence[Base | None],
        reasons: Bytes,
        spare: _Spare,
        spans: tuple[Numbers, Numbers, Numbers],
    ) -> None:
        """Decides on the rows that the kernel left, one by one; sets reasons and spans."""
        rules = self._rules
        strange: list[int] = []
        columns = (
            rows,
            found.page[rows],
            found.text_status[rows],
            found.url_status[rows],
            found.title_status[rows],
            found.alt[rows],
            found.url[rows],
            found.title[rows],
        )
        for row, page, text_status, url_status, title_status, alt, url, title in zip(
            *(column.tolist() for column in columns), strict=True
        ):
            old = outlines[page].old
            try:
                if text_status == ODD:
                    text, reason = text_of(_text(buffer, alt, old), rules)
                    if reason:
                        reasons[row] = _CODE[reason]
                        continue
                    spans[0][row] = spare.text(text)
                if url_status == ODD:
                    address, reason = url_of(_text(buffer, url, old), bases[page], rules)
                    if address is None:
                        reasons[row] = _CODE[reason]
                        continue
                    spans[1][row] = spare.url(address.href)
                elif url_status != OK:
                    reasons[row] = url_status
                    continue
                if title_status == ODD:
                    spans[2][row] = spare.text(clean(_text(buffer, title, old)))
            except BrokenRecordError:
                strange.append(page)
        if strange:
            raise StrangePagesError(sorted(set(strange)))


class _Spare:
    """Strings that are not in the batch's buffers; their spans go on where those end."""

    def __init__(self, texts_after: int, urls_after: int) -> None:
        self._texts, self._urls = bytearray(), bytearray()
        self._texts_after, self._urls_after = texts_after, urls_after

    def text(self, text: str) -> tuple[int, int]:
        return self._add(self._texts, self._texts_after, text)

    def url(self, url: str) -> tuple[int, int]:
        return self._add(self._urls, self._urls_after, url)

    @staticmethod
    def _add(to: bytearray, after: int, string: str) -> tuple[int, int]:
        begin = after + len(to)
        to += string.encode()
        return begin, after + len(to)

    @property
    def texts(self) -> Bytes:
        return np.frombuffer(bytes(self._texts), np.uint8)

    @property
    def urls(self) -> Bytes:
        return np.frombuffer(bytes(self._urls), np.uint8)


def _text(buffer: Bytes, span: tuple[int, int], old: bool) -> str:
    text = json_text(buffer[span[0] : span[1]].tobytes())
    return html.unescape(text) if old and "&" in text else text


def _together(pieces: Sequence[bytes | msgspec.Raw], window: Bytes | None) -> tuple[Bytes, Numbers]:
    """A buffer for `find` that holds all pieces, and where; `window` itself if that has them."""
    sizes = np.fromiter(map(len, pieces), np.int64, len(pieces))
    spans = np.zeros((len(pieces), 2), np.int64)
    elsewhere = list(range(len(pieces)))
    if window is not None:
        begin = window.ctypes.data
        places = [pa.py_buffer(piece).address - begin for piece in pieces]
        spans[:, 0] = places
        elsewhere = [n for n, place in enumerate(places) if not 0 <= place < len(window)]
        if not elsewhere:
            spans[:, 1] = spans[:, 0] + sizes
            return window, spans
    start = 0 if window is None else len(window)
    spans[elsewhere, 0] = start + np.cumsum(sizes[elsewhere]) - sizes[elsewhere]
    spans[:, 1] = spans[:, 0] + sizes
    return joined([pieces[n] for n in elsewhere], window), spans


def _pages(outlines: Sequence[Outline], bases: Sequence[Base | None], spans: Numbers) -> Pages:
    kinds = np.full(len(bases), BASE_ODD, np.uint8)
    ends = np.empty((len(bases), 3), np.int64)
    directories: list[bytes] = []
    after = 0
    for number, base in enumerate(bases):
        prefixes = base.prefixes() if base is not None else None
        if base is None:
            kinds[number] = BASE_BROKEN
        elif prefixes is not None:
            kinds[number] = BASE_PLAIN
        scheme, origin, directory = prefixes or ("", "", "")
        ends[number] = after + len(scheme), after + len(origin), after + len(directory)
        directories.append(directory.encode())
        after += len(directory)
    return Pages(
        spans=spans,
        base_kind=kinds,
        prefixes=np.frombuffer(b"".join(directories), np.uint8),
        prefix_ends=ends,
        old=np.array([outline.old for outline in outlines], np.uint8),
    )


def _strings(first: Bytes, second: Bytes, spans: Numbers) -> pa.StringArray:
    data, offsets = gather(first, second, spans)
    buffers = pa.py_buffer(offsets), pa.py_buffer(data)
    return pa.StringArray.from_buffers(len(spans), *buffers)
