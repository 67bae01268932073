"""What a WAT record says about a page: its URL, base, language, licence and images."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable
from itertools import chain
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

IMAGE = "IMG@/src"
IMAGE_BYTES = IMAGE.encode()
NO_LICENSE = "?"
"""LAION's value for a page without a Creative Commons link."""

DECODED_SINCE = "2019-08"
"""Before it, Common Crawl's extractor left HTML entities in attributes as they were; since then
it decodes them, and decoding twice would be wrong (commoncrawl/ia-web-commons#14)."""

_LANGUAGE = b"HTML@/lang"
_CREATIVE_COMMONS = b"creativecommons.org"
_LICENSE = re.compile(
    r"(?:https?:)?//(?:[a-z-]+\.)?creativecommons\.org/(?:licenses|publicdomain)/\S+", re.IGNORECASE
)

_ORGANISATION = "creativecommons.org/"

_PLAIN_LANGUAGE = re.compile(rb'HTML@/lang","content":"([A-Za-z0-9_ -]*)"}')

_SURROGATE = re.compile("[\ud800-\udfff]")


class Link(msgspec.Struct, gc=False):
    """A link of a page as the record has it; what is missing is empty."""

    path: str = ""
    url: str = ""
    alt: str = ""
    title: str = ""
    rel: str = ""


class _LicenseLink(msgspec.Struct, gc=False):
    """What `_license` reads of a link."""

    url: str = ""
    rel: str = ""


class _Meta(msgspec.Struct, gc=False):
    name: str = ""
    content: str = ""


class _Head(msgspec.Struct, gc=False, rename="pascal"):
    base: str = ""
    metas: list[_Meta] = []
    link: list[Link] = []


class _Html(msgspec.Struct, gc=False, rename="pascal"):
    head: _Head = msgspec.field(default_factory=_Head)
    links: list[Link] = []


class _RawHead(msgspec.Struct, gc=False, rename="pascal"):
    base: str = ""
    metas: msgspec.Raw = msgspec.Raw(b"[]")
    link: msgspec.Raw = msgspec.Raw(b"[]")


class _RawHtml(msgspec.Struct, gc=False, rename="pascal"):
    head: _RawHead = msgspec.field(default_factory=_RawHead)
    links: msgspec.Raw = msgspec.Raw()


_H = TypeVar("_H")


class _Response(msgspec.Struct, Generic[_H], gc=False):
    html: _H | None = msgspec.field(default=None, name="HTML-Metadata")


class _Payload(msgspec.Struct, Generic[_H], gc=False):
    response: _Response[_H] | None = msgspec.field(default=None, name="HTTP-Response-Metadata")


class _Header(msgspec.Struct, gc=False):
    uri: str = msgspec.field(default="", name="WARC-Target-URI")
    date: str = msgspec.field(default="", name="WARC-Date")


class _Envelope(msgspec.Struct, Generic[_H], gc=False):
    payload: _Payload[_H] | None = msgspec.field(default=None, name="Payload-Metadata")
    header: _Header = msgspec.field(default_factory=_Header, name="WARC-Header-Metadata")


class _Root(msgspec.Struct, Generic[_H], gc=False):
    envelope: _Envelope[_H] = msgspec.field(name="Envelope")


_decode = msgspec.json.Decoder(_Root[_Html]).decode
_decode_outline = msgspec.json.Decoder(_Root[_RawHtml]).decode
_decode_license_links = msgspec.json.Decoder(list[_LicenseLink]).decode
_decode_string = msgspec.json.Decoder(str).decode
_decode_metas = msgspec.json.Decoder(list[_Meta]).decode
_encode = msgspec.json.Encoder().encode


class Page(NamedTuple):
    """An HTML page with images. Its strings hold no lone surrogates and no HTML entities."""

    url: str
    base: str
    """The href of its <base>, or empty."""
    language: str
    """The lang attribute of its <html>, or empty."""
    license: str
    images: list[Link]


class Outline(NamedTuple):
    """An HTML page whose links are still JSON."""

    url: str
    base: str
    language: str
    license: str
    links: bytes | msgspec.Raw
    """The array of all its links, images or not, as `fast.find` reads it."""
    old: bool
    """Whether HTML entities in them are still to be decoded."""


class BrokenRecordError(Exception):
    """The record holds no JSON, or JSON of another shape."""


def read_page(data: bytes | memoryview, begin: int = 0, end: int | None = None) -> Page | None:
    """The page of a response record, whose JSON is `data[begin:end]`; None for other records.

    Raises BrokenRecordError if that is not the JSON of a WAT record.
    """
    try:
        root = _decode(memoryview(data)[begin:end])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        root = _decode_leniently(bytes(data[begin:end]))
    envelope = root.envelope
    response = envelope.payload.response if envelope.payload else None
    if response is None or response.html is None:
        return None
    page = response.html
    images = [link for link in page.links if link.path == IMAGE]
    base = page.head.base
    if needs_decoding(envelope.header.date):
        base = html.unescape(base)
        for link in images:
            _decode_entities(link)
    return Page(
        url=envelope.header.uri,
        base=base,
        language=_language(page.head.metas),
        license=_license((page.head.link, page.links), page.head.metas)
        if _CREATIVE_COMMONS in bytes(data[begin:end])
        else NO_LICENSE,
        images=images,
    )


def read_outline(
    data: bytes | memoryview,
    begin: int = 0,
    end: int | None = None,
    *,
    licensed: bool | None = None,
) -> Outline | None:
    """What `read_page` reads, in a third of the time: links are checked, not yet taken apart.

    For records in which `IMAGE` stands plainly, as Common Crawl writes it. `licensed` tells
    whether creativecommons.org stands in it, where that is known. The links stay where they are in
    `data`. Raises BrokenRecordError as `read_page` does.
    """
    try:
        envelope = _decode_outline(memoryview(data)[begin:end]).envelope
        response = envelope.payload.response if envelope.payload else None
        if response is None or response.html is None:
            return None
        head = response.html.head
        metas = bytes(head.metas)
        language = _language_in(metas)
        old = needs_decoding(envelope.header.date)
        license_ = NO_LICENSE
        if licensed is None:
            licensed = _CREATIVE_COMMONS in bytes(data[begin:end])
        if licensed:
            if old:  # entities in the links of images are decoded first
                page = read_page(data, begin, end)
                license_ = page.license if page else NO_LICENSE
            else:
                links = map(_decode_license_links, (head.link, response.html.links))
                license_ = _license(links, _decode_metas(metas))
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return whole_outline(data, begin, end)
    base = html.unescape(head.base) if old else head.base
    return Outline(envelope.header.uri, base, language, license_, response.html.links, old)


def whole_outline(
    data: bytes | memoryview, begin: int = 0, end: int | None = None
) -> Outline | None:
    """The outline by way of `read_page`: its links are images only, and plainly written."""
    page = read_page(data, begin, end)
    if page is None:
        return None
    return Outline(page.url, page.base, page.language, page.license, _encode(page.images), False)


def json_text(string: bytes) -> str:
    """The text of a JSON string without its quotes; invalid characters become U+FFFD.

    Raises BrokenRecordError if it holds an invalid escape.
    """
    try:
        return string.decode() if b"\\" not in string else _decode_string(b'"%b"' % string)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        pass
    try:
        text = json.loads('"' + string.decode("utf-8", "replace") + '"', strict=False)
    except ValueError as error:
        raise BrokenRecordError(f"invalid JSON: {error}") from None
    return _SURROGATE.sub("\ufffd", text)


def needs_decoding(date: str) -> bool:
    """Whether the extractor of that day (ISO 8601; empty: unknown) left HTML entities alone."""
    return bool(date) and date < DECODED_SINCE


def _decode_entities(link: Link) -> None:
    if "&" in link.url:
        link.url = html.unescape(link.url)
    if "&" in link.alt:
        link.alt = html.unescape(link.alt)
    if "&" in link.title:
        link.title = html.unescape(link.title)


def _language(metas: Iterable[_Meta]) -> str:
    for meta in metas:
        if meta.name == "HTML@/lang":
            return meta.content.strip()
    return ""


def _language_in(metas: bytes) -> str:
    place = metas.find(_LANGUAGE)
    if place < 0:
        return ""
    found = _PLAIN_LANGUAGE.match(metas, place)
    if found and metas.endswith(b'{"name":"', 0, place) and metas.find(_LANGUAGE, found.end()) < 0:
        return found[1].decode().strip()
    return _language(_decode_metas(metas))


def _license(links: Iterable[Iterable[Link | _LicenseLink]], metas: Iterable[_Meta]) -> str:
    """The page's Creative Commons link: one that says rel=license wins, else the first."""
    first = ""
    # Few of a page's links are licences.
    mentions = [link for link in chain.from_iterable(links) if _ORGANISATION in link.url.lower()]
    for link in mentions:
        found = _LICENSE.match(link.url.strip())
        if found is None:
            continue
        url = found[0] if not found[0].startswith("//") else f"https:{found[0]}"
        if "license" in link.rel.lower().split():
            return url
        first = first or url
    for meta in metas:
        if not first and _ORGANISATION in meta.content.lower():
            found = _LICENSE.search(meta.content)
            first = found[0] if found else ""
    return first or NO_LICENSE


def _decode_leniently(payload: bytes) -> _Root[_Html]:
    """For records that the fast decoder refuses: bad UTF-8, lone surrogates, odd types.

    Invalid characters become U+FFFD. Values of a wrong type are left out. The first of several
    is taken (repeated headers are lists since 2024-12).
    """
    text = payload.decode("utf-8", "replace")
    try:
        data = json.loads(text, strict=False)
    except (ValueError, RecursionError) as error:
        raise BrokenRecordError(f"invalid JSON: {error}") from None
    if not isinstance(data, dict) or not isinstance(data.get("Envelope"), dict):
        raise BrokenRecordError("not the JSON of a WAT record: it has no Envelope")
    envelope = data["Envelope"]
    header = _mapping(envelope, "WARC-Header-Metadata")
    page = _mapping(envelope, "Payload-Metadata", "HTTP-Response-Metadata", "HTML-Metadata")
    head = _mapping(page, "Head")
    read = _Html(
        head=_Head(
            base=_text(head, "Base"),
            metas=[
                _Meta(_text(meta, "name"), _text(meta, "content"))
                for meta in _mappings(head, "Metas")
            ],
            link=[_link(link) for link in _mappings(head, "Link")],
        ),
        links=[_link(link) for link in _mappings(page, "Links")],
    )
    return _Root(
        _Envelope(
            payload=_Payload(_Response(read if page else None)),
            header=_Header(_text(header, "WARC-Target-URI"), _text(header, "WARC-Date")),
        )
    )


def _link(data: dict[str, Any]) -> Link:
    return Link(*(_text(data, name) for name in ("path", "url", "alt", "title", "rel")))


def _mapping(data: dict[str, Any], *keys: str) -> dict[str, Any]:
    for key in keys:
        inner = data.get(key)
        if not isinstance(inner, dict):
            return {}
        data = inner
    return data


def _mappings(data: dict[str, Any], key: str) -> list[dict[str, Any]]:
    items = data.get(key)
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def _text(data: dict[str, Any], key: str) -> str:
    value = data.get(key)
    if isinstance(value, list) and value:
        value = value[0]
    return _SURROGATE.sub("\ufffd", value) if isinstance(value, str) else ""
