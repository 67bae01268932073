"""The outcome of every link, stage by stage, against the truth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from laion_hpc.demo.truth import DAMAGED, RELEASED, TRUTH
from laion_hpc.demo.verdict import Finding, exact, share
from laion_hpc.errors import InputError
from laion_hpc.files import ledger
from laion_hpc.files.schemas import LANGUAGE_CLASSES
from laion_hpc.files.tables import read_parquet
from laion_hpc.run import results

Place = tuple[str, str, int, int]
Row = dict[str, Any]
Rows = dict[Place, Row]

PLACE = ("segment", "wat", "record_offset", "link_position")

_ORDER = ("extract", "shuffle", "download", "filter", RELEASED)
"""Stages that drop links, in the order of the data; what is dropped later has passed these."""

WRONG_DROPPED = 0.97
RIGHT_KEPT = 0.97
LANGUAGES_RIGHT = 0.93


def read_truth(path: Path) -> Rows:
    """The truth by place; InputError if it is missing or invalid."""
    if not path.exists():
        raise InputError(f"{path}: no truth here; `laion-hpc demo build` makes it")
    table = read_parquet(path, "`laion-hpc demo build` makes it again", columns=TRUTH.names)
    return by_place(table.to_pylist())


def by_place(rows: Iterable[Row]) -> Rows:
    """Rows by where their link stands in the crawl."""
    return {(r["segment"], r["wat"], r["record_offset"], r["link_position"]): r for r in rows}


def read_rows(paths: Sequence[Path], columns: Sequence[str]) -> list[Row]:
    """The rows of several parquet files, with the columns of their places."""
    wanted = [*PLACE, *columns]
    return [row for path in paths for row in read_parquet(path, columns=wanted).to_pylist()]


def of_links(crawl: Path, truth: Rows) -> list[Finding]:
    """Fates by rule: extract, shuffle, download."""
    candidates = read_rows(
        _files(crawl, "extract/*.parquet"),
        ("url", "text", "license", "page_url", "page_language", "language", "language_class"),
    )
    shuffled = read_rows(_files(crawl, "shuffle/*.parquet"), ("url", "text"))
    downloaded = read_rows(_files(crawl, "download/*/*.parquet"), ("error_message",))
    return [
        _passed("extract", crawl, truth, candidates),
        _same_values(truth, candidates),
        _languages(truth, candidates),
        _passed("shuffle", crawl, truth, shuffled),
        _downloads(truth, downloaded),
    ]


def _files(crawl: Path, pattern: str) -> list[Path]:
    found = sorted(crawl.glob(pattern))
    if not found:
        raise InputError(f"{crawl}/{pattern}: no such file; has the whole demo run?")
    return found


def describe(place: Place) -> str:
    """A place in words."""
    segment, wat, offset, position = place
    return f"{segment}/{wat}, record at {offset}, image link {position}"


def passes(row: Mapping[str, Any], stage: str) -> bool:
    """Whether the truth says that a link gets through `stage`."""
    return _ORDER.index(row["stage"]) > _ORDER.index(stage)


def _passed(stage: str, crawl: Path, truth: Rows, found: Sequence[Row]) -> Finding:
    """Exactly the expected links got through, and each reason has its number in the ledgers."""
    there = by_place(found)
    places = []
    for place, row in truth.items():
        if passes(row, stage) != (place in there):
            verb = "is kept" if place in there else "is missing"
            wanted = f"{row['stage']}: {row['reason']}" if row["reason"] else row["stage"]
            places.append(f"{describe(place)}: {verb}, expected {wanted}")
    places += [f"{describe(p)}: no such link in the truth" for p in there if p not in truth]
    expected = Counter(
        row["reason"]
        for row in truth.values()
        if row["stage"] == stage and row["reason"] != DAMAGED
    )
    dropped: Counter[str] = Counter()
    for path in results.unit_ledgers(crawl, stage).values():
        dropped.update(ledger.read(path).dropped)
    places += [
        f"{stage}'s ledgers: {dropped[reason]:,} {reason}, expected {expected[reason]:,}"
        for reason in sorted(expected | dropped)
        if expected[reason] != dropped[reason]
    ]
    inputs = sum(not (stage != "extract" and not passes(r, "extract")) for r in truth.values())
    return exact(f"{stage}: outcome of every link", inputs, places)


def _same_values(truth: Rows, found: Sequence[Row]) -> Finding:
    places = []
    for place, row in by_place(found).items():
        for name in ("url", "text", "license", "page_url", "page_language"):
            expected = truth.get(place, row)[name]
            if row[name] != expected:
                places.append(f"{describe(place)}: {name} {row[name]!r}, expected {expected!r}")
    return exact("extract: URL, text, licence, page", len(found), places)


def _languages(truth: Rows, found: Sequence[Row]) -> Finding:
    wrong = []
    for place, row in by_place(found).items():
        known = truth.get(place)
        if known is None or not _language_is_right(row, known):
            expected = known["language"] or "none" if known else "?"
            wrong.append(f"{row['text']!r}: {row['language'] or 'none'}, expected {expected}")
    right = len(found) - len(wrong)
    return share("language of captions", right, len(found), LANGUAGES_RIGHT, wrong)


def _language_is_right(row: Row, known: Row) -> bool:
    """The class is, and so is the language where there is one."""
    same_class: bool = row["language_class"] == known["language_class"]
    return same_class and known["language"] in ("", row["language"])


def _downloads(truth: Rows, found: Sequence[Row]) -> Finding:
    there = by_place(found)
    places = [
        f"{describe(place)}: missing"
        for place, row in truth.items()
        if passes(row, "shuffle") and place not in there
    ]
    for place, row in there.items():
        known = truth.get(place)
        if known is None or not passes(known, "shuffle"):
            continue  # told of by shuffle's finding
        expected = known["reason"] if known["stage"] == "download" else ""
        if row["error_message"] != expected:
            places.append(
                f"{known['url']} ({known['behaviour']}): {row['error_message'] or 'success'}, "
                f"expected {expected or 'success'}"
            )
    return exact("download: outcome of every image", len(found), places)


def of_scores(crawl: Path, truth: Rows) -> list[Finding]:
    """What CLIP made of right and wrong captions."""
    scored = by_place(
        read_rows(
            _files(crawl, "filter/*/scores/*.parquet"),
            ("fate", "similarity", "language_class", "caption"),
        )
    )
    told: dict[bool, list[str]] = {True: [], False: []}
    whole: Counter[bool] = Counter()
    for place, row in scored.items():
        known = truth.get(place)
        if known is None:
            continue
        whole[known["right"]] += 1
        if (row["fate"] == "kept") != known["right"]:
            told[known["right"]].append(
                f"{row['caption']!r} ({row['language_class']}): {row['fate']} with "
                f"{row['similarity']:.3f}"
            )
    findings = []
    for right, what, floor in (
        (False, "filter: wrong captions dropped", WRONG_DROPPED),
        (True, "filter: right captions kept", RIGHT_KEPT),
    ):
        good = whole[right] - len(told[right])
        findings.append(share(what, good, whole[right], floor, told[right]))
    return findings


def of_release(crawl: Path) -> Finding:
    """The release holds what was kept, apart from equal pairs of URL and text."""
    kept = Counter(
        row["url"]
        for row in read_rows(_files(crawl, "filter/*/scores/*.parquet"), ("url", "fate"))
        if row["fate"] == "kept"
    )
    released: Counter[str] = Counter()
    for name in LANGUAGE_CLASSES:
        # A class without a sample may well have no part.
        for path in sorted((crawl / "release" / f"laion-{name}").glob("*.parquet")):
            released.update(read_parquet(path, columns=["URL"])["URL"].to_pylist())
    # Every URL is unique after shuffle, so that nothing can be equal here.
    places = [
        f"{url}: {released[url]} times in the release, kept {kept[url]} times"
        for url in sorted(kept | released)
        if kept[url] != released[url]
    ]
    return exact("release: what was kept", kept.total(), places)
