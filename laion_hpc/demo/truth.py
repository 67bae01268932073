"""What must become of every link of the demo's crawl: the truth that a run is measured against.

`truth.parquet` has a row per <img> of every page. Fates by rule (a 404, a duplicate, a text too
short) are exact; those that CLIP decides (`dissimilar`) hold for nearly all, see `check`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from laion_hpc.demo.scenes import Scene, Thing
from laion_hpc.demo.warc import Place
from laion_hpc.demo.web import Link
from laion_hpc.files.atomic import atomic

DAMAGED = "damaged"
"""Reason of a link whose record cannot be read: no stage ever counts it."""

RELEASED = "released"
"""Stage of a link that goes all the way."""


def _field(name: str, kind: pa.DataType, meaning: str) -> Any:
    return pa.field(name, kind, metadata={"description": meaning})


TRUTH = pa.schema(
    [
        _field("segment", pa.string(), "segment of the WAT"),
        _field("wat", pa.string(), "file name of the WAT"),
        _field("record_offset", pa.int64(), "byte offset of the record's gzip member in the WAT"),
        _field("link_position", pa.int32(), "position among the page's image links"),
        _field("page_url", pa.string(), "page that shows the image"),
        _field("page_language", pa.string(), "its lang attribute; empty if none"),
        _field("license", pa.string(), "Creative Commons link of the page; ? if none"),
        _field("reference", pa.string(), "src as the page spells it"),
        _field("url", pa.string(), "URL of a candidate; empty for what is not one"),
        _field("text", pa.string(), "text of a candidate; empty for what is not one"),
        _field("language", pa.string(), "the caption's; empty for names in no language"),
        _field("language_class", pa.string(), "en, multi or nolang; empty if no candidate"),
        _field("right", pa.bool_(), "whether the caption is true of the picture"),
        _field("picture", pa.string(), "scene that the picture shows, as JSON; empty if none"),
        _field("described", pa.string(), "scene that the caption describes, as JSON; or empty"),
        _field("watermark", pa.bool_(), "whether the picture has one"),
        _field("hazard", pa.bool_(), "whether the picture shows the warning sign"),
        _field("width", pa.int32(), "of the picture as a viewer shows it, pixels; 0 if none"),
        _field("height", pa.int32(), "of the picture as a viewer shows it, pixels; 0 if none"),
        _field("behaviour", pa.string(), "of the server, see faults; empty if no candidate"),
        _field("stage", pa.string(), "stage that drops the link, or released"),
        _field("reason", pa.string(), "the ledger's reason; empty if released"),
    ]
)

Row = dict[str, Any]


def make_truth(places: Sequence[Place]) -> list[Row]:
    """The rows for all links, ordered by segment, WAT, record and position."""
    ordered = sorted(places, key=lambda p: (p.wat.segment, p.wat.name, p.wat_offset))
    rows: list[Row] = []
    for place in ordered:
        rows += [_row(place, position, link) for position, link in enumerate(place.page.links)]
    _mark_repetitions(rows)
    _mark_duplicates(rows)
    for row in rows:
        if not row["stage"]:
            row["stage"] = RELEASED
    return rows


def _row(place: Place, position: int, link: Link) -> Row:
    site, asset, caption = place.page.site, link.asset, link.caption
    picture = asset.picture if asset else None
    stage, reason = "", ""
    if place.damaged:
        stage, reason = "extract", DAMAGED
    elif link.reason:
        stage, reason = "extract", link.reason
    return {
        "segment": place.wat.segment,
        "wat": place.wat.name,
        "record_offset": place.wat_offset,
        "link_position": position,
        "page_url": place.page.url,
        "page_language": site.language if site.tells_language and not place.wat.old else "",
        "license": site.license or "?",
        "reference": link.reference,
        "url": link.url,
        "text": caption.text if caption else "",
        "language": caption.language if caption else "",
        "language_class": _language_class(caption.language) if caption else "",
        "right": bool(asset and asset.right),
        "picture": scene_json(asset.scene) if asset and picture else "",
        "described": scene_json(caption.scene) if caption else "",
        "watermark": bool(picture and picture.watermark),
        "hazard": bool(picture and picture.hazard),
        "width": picture.shape[0] if picture else 0,
        "height": picture.shape[1] if picture else 0,
        "behaviour": asset.behaviour.name if asset else "",
        "stage": stage,
        "reason": reason,
        "_fate": _later_fate(link),
    }


def _language_class(language: str) -> str:
    return {"": "nolang", "en": "en"}.get(language, "multi")


def _later_fate(link: Link) -> tuple[str, str]:
    """What becomes of the link if it is neither dropped by extract nor a duplicate."""
    if link.asset is None or link.asset.behaviour.reason:
        return "download", link.asset.behaviour.reason if link.asset else ""
    return (RELEASED, "") if link.asset.right else ("filter", "dissimilar")


def _mark_repetitions(rows: Iterable[Row]) -> None:
    """A candidate with the URL and text of an earlier one in its WAT is dropped by extract."""
    seen: set[tuple[str, str, str, str]] = set()
    for row in rows:
        pair = (row["segment"], row["wat"], row["url"], row["text"])
        if row["stage"]:
            continue
        if pair in seen:
            row["stage"], row["reason"] = "extract", "duplicate_in_wat"
        seen.add(pair)


def _mark_duplicates(rows: Iterable[Row]) -> None:
    """Of one URL's candidates the longest text stays, then the earliest; that one goes on."""
    best: dict[str, Row] = {}
    for row in rows:
        if row["stage"]:
            continue
        rival = best.get(row["url"])
        if rival is None or len(row["text"]) > len(rival["text"]):
            best[row["url"]] = row
    for row in rows:
        if row["stage"]:
            continue
        if best[row["url"]] is row:
            row["stage"], row["reason"] = row["_fate"]
        else:
            row["stage"], row["reason"] = "shuffle", "duplicate"


def write_truth(rows: Sequence[Row], path: Path) -> None:
    """Write `TRUTH`."""
    table = pa.table({name: [row[name] for row in rows] for name in TRUTH.names}, schema=TRUTH)
    with atomic(path) as aside:
        pq.write_table(table, aside, compression="zstd")


def scene_json(scene: Scene) -> str:
    """A scene as JSON, for tables."""
    return json.dumps(asdict(scene), sort_keys=True)


def scene_of(text: str) -> Scene:
    """The scene that `scene_json` wrote."""
    data = json.loads(text)
    things = tuple(Thing(**thing) for thing in data["things"])
    return Scene(things, data["layout"], data["background"])
