"""A page's HTML and its WARC record -> the WAT record that Common Crawl's extractor makes of it.

In the two shapes that there have been: the present one, and that of before 2019-08, which leaves
HTML entities as they are, has other names and another order of keys.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any

_AMPERSAND = "\ue000"
"""Stands for & while an old extractor is imitated: Python's parser would decode entities."""

Headers = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Member:
    """A record in its WARC: its gzip member and what lies in it."""

    warc: str
    offset: int
    data: bytes
    """Compressed."""
    header: Mapping[str, str]
    """The WARC header, in order."""
    block: bytes


def envelope(member: Member, *, old: bool) -> bytes:
    """The JSON of the WAT record for a record of a WARC."""
    inflated = zlib.decompress(member.data, 31)
    crc = int.from_bytes(member.data[-8:-4], "little", signed=True)
    container = {
        "Filename": member.warc,
        "Compressed": True,
        "Offset": str(member.offset),
        "Gzip-Metadata": {
            "Deflate-Length": str(len(member.data)),
            "Header-Length": "10",
            "Footer-Length": "8",
            "Inflated-CRC": str(crc),
            "Inflated-Length": str(len(inflated)),
        },
    }
    payload = _payload(member, old=old)
    header_length = len(inflated) - len(member.block) - 4
    if old:
        outer: dict[str, Any] = {
            "Format": "WARC",
            "WARC-Header-Length": str(header_length),
            "Block-Digest": member.header["WARC-Block-Digest"],
            "Actual-Content-Length": str(len(member.block)),
            "WARC-Header-Metadata": dict(member.header),
            "Payload-Metadata": {"Trailing-Slop-Length": "4", **payload},
        }
        data = {"Envelope": outer, "Container": container}
    else:
        outer = {
            "Payload-Metadata": {
                **payload,
                "Actual-Content-Length": str(len(member.block)),
                "Trailing-Slop-Length": "4",
                "Block-Digest": member.header["WARC-Block-Digest"],
            },
            "Format": "WARC/1.0",
            "WARC-Header-Length": str(header_length),
            "WARC-Header-Metadata": dict(member.header),
        }
        data = {"Container": container, "Envelope": outer}
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()


def _payload(member: Member, *, old: bool) -> dict[str, Any]:
    kind = member.header["WARC-Type"]
    if kind == "warcinfo":
        fields = dict(_fields(member.block))
        return {"Actual-Content-Type": "application/warc-fields", "WARC-Info-Metadata": fields}
    if kind == "metadata":
        records = [{"Name": name, "Value": value} for name, value in _fields(member.block)]
        return {
            "Actual-Content-Type": "application/metadata-fields",
            "WARC-Metadata-Metadata": {"Metadata-Records": records},
        }
    head, _, body = member.block.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers: dict[str, Any] = {}
    for name, value in (line.split(": ", 1) for line in lines):
        # Since 2024-12 headers that come more than once are a list.
        again = name in headers and not old
        headers[name] = [*_listed(headers[name]), value] if again else value
    message = dict(zip(_MESSAGES[kind], first.split(" ", 2), strict=True))
    metadata: dict[str, Any] = {
        f"{kind.capitalize()}-Message": message,
        "Headers-Length": str(len(head) + 4),
        "Headers": headers,
    }
    if kind == "response" and str(headers.get("Content-Type", "")).startswith("text/html"):
        metadata["HTML-Metadata"] = html_metadata(body.decode(), old=old)
    metadata["Entity-Length"] = str(len(body))
    metadata["Entity-Digest"] = member.header["WARC-Payload-Digest"]
    metadata["Entity-Trailing-Slop-Bytes" if old else "Entity-Trailing-Slop-Length"] = "0"
    return {
        "Actual-Content-Type": f"application/http; msgtype={kind}",
        f"HTTP-{kind.capitalize()}-Metadata": metadata,
    }


_MESSAGES = {"request": ("Method", "Path", "Version"), "response": ("Version", "Status", "Reason")}


def _listed(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


def _fields(block: bytes) -> list[tuple[str, str]]:
    pairs = (line.split(": ", 1) for line in block.decode().splitlines() if ": " in line)
    return [(name, value) for name, value in pairs]


def html_metadata(text: str, *, old: bool) -> dict[str, Any]:
    """Head and links of a page, in its order."""
    parser = _Extractor(old=old)
    parser.feed(text.replace("&", _AMPERSAND) if old else text)
    parser.close()
    head = {name: value for name, value in parser.head.items() if value}
    return {"Links": parser.links, "Head": head} if old else {"Head": head, "Links": parser.links}


class _Extractor(HTMLParser):
    """Collects what a WAT keeps of a page."""

    def __init__(self, *, old: bool) -> None:
        super().__init__(convert_charrefs=True)
        self._old = old
        self.head: dict[str, Any] = {"Base": "", "Metas": [], "Title": "", "Link": [],
                                     "Scripts": []}  # fmt: skip
        self.links: list[dict[str, str]] = []
        self._anchor: dict[str, str] | None = None
        self._in_title = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: (value or "").replace(_AMPERSAND, "&") for name, value in attrs}
        if tag == "html" and "lang" in found and not self._old:
            self.head["Metas"].append({"name": "HTML@/lang", "content": found["lang"]})
        elif tag == "base":
            self.head["Base"] = found.get("href", "")
        elif tag == "meta":
            names = ("name", "content", "property", "http-equiv")
            meta = {name: found[name] for name in names if name in found}
            if meta:
                self.head["Metas"].append(meta)
        elif tag == "link":
            self.head["Link"].append(self._link("LINK@/href", found, "href", ("rel", "type")))
        elif tag == "script" and "src" in found:
            self.head["Scripts"].append(self._link("SCRIPT@/src", found, "src", ()))
        elif tag == "img" and "src" in found:
            self.links.append(self._link("IMG@/src", found, "src", ("alt", "title")))
        elif tag == "form":
            self.links.append(self._link("FORM@/action", found, "action", ("method",)))
        elif tag == "a" and "href" in found:
            self._anchor = self._link("A@/href", found, "href", ("title", "rel"))
            self.links.append(self._anchor)
        self._in_title = tag == "title"

    def _link(
        self, path: str, found: Mapping[str, str], key: str, others: Sequence[str]
    ) -> dict[str, str]:
        url = found.get(key, "")
        if url.startswith("data:") and not self._old:
            # Trimmed at the comma since 2025-02.
            url = url[: url.find(",") + 1]
        rest = {name: found[name] for name in others if name in found}
        return (
            {**rest, "path": path, "url": url} if self._old else {"path": path, "url": url, **rest}
        )

    def handle_data(self, data: str) -> None:
        text = data.replace(_AMPERSAND, "&")
        if self._in_title:
            self.head["Title"] += text
        elif self._anchor is not None and text.strip():
            self._anchor["text"] = self._anchor.get("text", "") + text.strip()

    def handle_endtag(self, tag: str) -> None:
        self._in_title = False
        if tag == "a":
            self._anchor = None
