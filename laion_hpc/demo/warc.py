"""Writes the demo's crawl: WARC files with the pages, and the WAT files that belong to them."""

from __future__ import annotations

import io
import random
import uuid
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from warcio.warcwriter import WARCWriter

from laion_hpc.demo.pages import render_page
from laion_hpc.demo.wat import Member, envelope
from laion_hpc.demo.web import Page
from laion_hpc.web.url import Url

SEGMENTS = ("1700000000000.10", "1700000000001.20")
WATS_PER_SEGMENT = 3
AGENT = "DemoBot/1.0 (a synthetic crawl)"

_NOW = datetime(2025, 2, 10, 10, 30, tzinfo=UTC)
_THEN = datetime(2015, 1, 29, 14, 21, tzinfo=UTC)
_ODD = 0.03
"""Records that are no HTML pages, as a share of the pages."""


@dataclass(frozen=True)
class Wat:
    """One WAT file of the crawl."""

    segment: str
    index: int
    pages: tuple[Page, ...]

    @property
    def old(self) -> bool:
        """Whether it is one from before 2019-08: the last of all."""
        return (self.segment, self.index) == (SEGMENTS[-1], WATS_PER_SEGMENT - 1)

    @property
    def damaged(self) -> bool:
        """Whether a gzip member of it is damaged: in the first of all."""
        return (self.segment, self.index) == (SEGMENTS[0], 0)

    @property
    def start(self) -> datetime:
        """When its first page was fetched."""
        return _THEN if self.old else _NOW

    @property
    def stem(self) -> str:
        """Of its file names."""
        end = self.start + timedelta(hours=3)
        return f"DEMO-{self.start:%Y%m%d%H%M%S}-{end:%Y%m%d%H%M%S}-{self.index:05d}"

    @property
    def name(self) -> str:
        """File name of the WAT."""
        return f"{self.stem}.warc.wat.gz"

    def path(self, folder: Path) -> Path:
        """Where the WAT lies in the folder of the demo."""
        return folder / "wat" / "segments" / self.segment / "wat" / self.name

    def warc(self, folder: Path) -> Path:
        """Where the WARC lies in the folder of the demo."""
        return folder / "warc" / "segments" / self.segment / "warc" / f"{self.stem}.warc.gz"


@dataclass(frozen=True)
class Place:
    """Where a page went."""

    page: Page
    wat: Wat
    wat_offset: int
    """Byte offset of the gzip member of its response's WAT record."""
    warc_offset: int
    damaged: bool


def crawl(pages: tuple[Page, ...], rng: random.Random) -> tuple[Wat, ...]:
    """Deal the pages to the WATs of all segments, in the crawler's order: none that we know."""
    count = len(SEGMENTS) * WATS_PER_SEGMENT
    shuffled = rng.sample(pages, len(pages))
    return tuple(
        Wat(SEGMENTS[i // WATS_PER_SEGMENT], i % WATS_PER_SEGMENT, tuple(shuffled[i::count]))
        for i in range(count)
    )


def write(wat: Wat, folder: Path, seed: int) -> list[Place]:
    """Write a WAT and its WARC; where each page is, in order."""
    rng = random.Random(f"crawl {seed} {wat.name}")
    warc_path, wat_path = wat.warc(folder), wat.path(folder)
    for path in (warc_path, wat_path):
        path.parent.mkdir(parents=True, exist_ok=True)
    places: list[Place] = []
    with warc_path.open("wb") as warc, wat_path.open("wb") as out:
        first = _member(wat.stem, 0, "warcinfo", "", wat.start, b"software: DemoCrawl/1.0\r\n", {
            "WARC-Filename": warc_path.name
        })  # fmt: skip
        about = f"Software-Info: demo\r\nExtracted-Date: {wat.start:%a, %d %b %Y %H:%M:%S} GMT\r\n"
        out.write(_member(wat.name, 0, "warcinfo", "", wat.start, about.encode(), {
            "WARC-Filename": wat_path.name
        }))  # fmt: skip
        warc.write(first)
        _describe(out, wat, warc_path.name, 0, first, number=0)
        number = 0
        for page, when in _visits(wat, rng):
            for kind, block in _exchange(page, rng):
                number += 1
                offset = warc.tell()
                data = _member(wat.stem, number, kind, _target(page), when, block)
                warc.write(data)
                at = out.tell()
                _describe(out, wat, warc_path.name, offset, data, number)
                if kind == "response" and isinstance(page, Page):
                    places.append(Place(page, wat, at, offset, damaged=False))
    return _damage(wat_path, places, rng) if wat.damaged else places


def _damage(path: Path, places: list[Place], rng: random.Random) -> list[Place]:
    """Break one gzip member that holds a page with candidates; its page is lost to everybody."""
    fit = [place for place in places if sum(not link.reason for link in place.page.links) > 1]
    victim = rng.choice(fit or places)
    data = bytearray(path.read_bytes())
    middle = victim.wat_offset + 400
    data[middle : middle + 24] = bytes(byte ^ 0x5A for byte in data[middle : middle + 24])
    try:
        zlib.decompressobj(31).decompress(bytes(data[victim.wat_offset :]))
    except zlib.error:
        path.write_bytes(data)
        return [
            Place(p.page, p.wat, p.wat_offset, p.warc_offset, damaged=p is victim) for p in places
        ]
    raise AssertionError(f"{path}: the damage did no harm")


def _visits(wat: Wat, rng: random.Random) -> Iterator[tuple[Page | str, datetime]]:
    """The pages, and in between URLs that gave no page; with the time of each."""
    when = wat.start
    for page in wat.pages:
        when += timedelta(seconds=rng.randrange(1, 9))
        if rng.random() < _ODD:
            kind = rng.choice(("pdf", "json", "moved", "empty"))
            yield f"http://{page.site.host}/odd/{page.number}.{kind}", when
        yield page, when


def _target(page: Page | str) -> str:
    return page if isinstance(page, str) else page.url


def _exchange(page: Page | str, rng: random.Random) -> Iterator[tuple[str, bytes]]:
    """The records of one visit: request, response, metadata."""
    target = Url.parse(_target(page))
    request = (
        f"GET {target.target} HTTP/1.1\r\nUser-Agent: {AGENT}\r\nAccept: text/html\r\n"
        f"Host: {target.authority}\r\nConnection: Keep-Alive\r\n\r\n"
    )
    yield "request", request.encode()
    cookies = "Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n" if rng.random() < 0.1 else ""
    if isinstance(page, str):
        yield "response", _odd_response(page)
    else:
        body = render_page(page, rng)
        head = (
            "HTTP/1.1 200 OK\r\nServer: demo\r\nContent-Type: text/html; charset=UTF-8\r\n"
            f"{cookies}Content-Length: {len(body)}\r\n\r\n"
        )
        yield "response", head.encode() + body
    fields = f"fetchTimeMs: {rng.randrange(20, 900)}\r\ncharset-detected: UTF-8\r\n"
    yield "metadata", fields.encode()


def _odd_response(url: str) -> bytes:
    status, kind, body = {
        "pdf": ("200 OK", "application/pdf", b"%PDF-1.4\n%%EOF\n"),
        "json": ("200 OK", "application/json", b'{"path": "IMG@/src"}'),
        "moved": ("301 Moved Permanently", "text/html", b""),
        "empty": ("200 OK", "text/html", b"<html><body><p>nothing here</p></body></html>"),
    }[url.rpartition(".")[2]]
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def _member(
    file: str, number: int, kind: str, target: str, when: datetime, block: bytes,
    extra: Mapping[str, str] | None = None,
) -> bytes:  # fmt: skip
    """A record as a gzip member; identifiers follow from its place, so that they never change."""
    buffer = io.BytesIO()
    writer = WARCWriter(buffer, gzip=True)
    headers = {
        "WARC-Type": kind,
        "WARC-Date": f"{when:%Y-%m-%dT%H:%M:%SZ}",
        "WARC-Record-ID": f"<urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'{file}/{kind}/{number}')}>",
        **(extra or {}),
    }
    record = writer.create_warc_record(
        target, kind, payload=io.BytesIO(block), length=len(block), warc_headers_dict=headers,
        warc_content_type="application/json" if kind == "metadata" and extra else "",
    )  # fmt: skip
    writer.write_record(record)
    return buffer.getvalue()


def _describe(
    out: io.BufferedWriter, wat: Wat, warc: str, offset: int, data: bytes, number: int
) -> None:
    """Write the WAT record of a WARC record."""
    inflated = zlib.decompress(data, 31)
    head, _, rest = inflated.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")[1:]
    header = dict(line.split(": ", 1) for line in lines)
    block = envelope(Member(warc, offset, data, header, rest[:-4]), old=wat.old)
    when = datetime.fromisoformat(header["WARC-Date"])
    extra = {"WARC-Refers-To": header["WARC-Record-ID"]}
    target = header.get("WARC-Target-URI", warc)
    out.write(_member(wat.name, number, "metadata", target, when, block, extra))
