"""WAT files for the tests, written by warcio: independent of the code under test."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from warcio.warcwriter import WARCWriter


def image(url: str, alt: str | None = None, **more: str) -> dict[str, str]:
    found = {"path": "IMG@/src", "url": url, **more}
    return found if alt is None else {**found, "alt": alt}


def page(
    url: str = "http://example.org/a/page.html",
    links: Iterable[Mapping[str, Any]] = (),
    *,
    head: Mapping[str, Any] | None = None,
    date: str = "2023-11-28T10:00:00Z",
) -> dict[str, Any]:
    """The JSON of a response record."""
    metadata = {"Head": dict(head or {}), "Links": list(links)}
    response = {"Headers": {"Content-Type": ["text/html"]}, "HTML-Metadata": metadata}
    return {
        "Container": {"Filename": "x.warc.gz", "Offset": "1"},
        "Envelope": {
            "Payload-Metadata": {"HTTP-Response-Metadata": response},
            "WARC-Header-Metadata": {"WARC-Target-URI": url, "WARC-Date": date},
        },
    }


def payload(data: Any) -> bytes:
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False).encode()


def record(body: bytes, *, gzipped: bool = True, kind: str = "metadata") -> bytes:
    """One record: a gzip member, or its plain bytes."""
    stream = io.BytesIO()
    writer = WARCWriter(stream, gzip=gzipped, warc_version="1.0")
    fixed = {"WARC-Date": "2023-12-01T00:00:00Z", "WARC-Record-ID": "<urn:uuid:0>"}
    made = writer.create_warc_record(
        "http://example.org/",
        kind,
        payload=io.BytesIO(body),
        length=len(body),
        warc_content_type="application/json" if kind == "metadata" else "application/warc-fields",
        warc_headers_dict=fixed,
    )
    writer.write_record(made)
    return stream.getvalue()


def write_wat(path: Path, pages: Sequence[Any], *, gzipped: bool = True) -> Path:
    """A WAT: warcinfo, then for each page a request record and the page itself."""
    request = payload({"Envelope": {"Payload-Metadata": {"HTTP-Request-Metadata": {}}}})
    parts = [record(b"software: test\r\n", gzipped=gzipped, kind="warcinfo")]
    for one in pages:
        parts.append(record(request, gzipped=gzipped))
        parts.append(record(payload(one), gzipped=gzipped))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(parts))
    return path


def some_pages(number: int, *, seed: int = 0) -> list[dict[str, Any]]:
    """Pages with links that are kept and links that are dropped for most reasons."""
    words = ["a red boat on the lake", "ein Hund im Garten hinter dem Haus", "Θάλασσα και ουρανός"]
    made = []
    for n in range(number):
        host = f"h{(n * 7 + seed) % 5}.example.org"
        links: list[dict[str, str]] = [
            image(f"img/{seed}-{n}-{i}.jpg", f"{words[i % 3]} {seed} {n} {i}") for i in range(6)
        ]
        links += [
            image("/logo.png", "our logo, the same on all pages"),
            image("pixel.gif"),
            image("x.jpg", "abc"),
            image("data:image/png;base64", "some embedded thing"),
            image("javascript:void(0)", "a button that does things"),
            image("http://[broken/x.jpg", "a URL that is broken"),
            image("drawing.SVG?v=1", "a drawing of a red boat"),
            {"path": "A@/href", "url": "/next", "text": 'text with {"}" and "},{" in it'},
        ]
        made.append(page(f"http://{host}/s{seed}/page{n}.html", links))
    return made
