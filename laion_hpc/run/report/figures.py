"""The figures of the report. A figure is None while the run has no data for it."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

from laion_hpc.charts.panels import Figure, Panel
from laion_hpc.charts.shapes import Bar, Bars, Bin, Histogram, Mark, Stack, short
from laion_hpc.files.schemas import LANGUAGE_CLASSES
from laion_hpc.run.report.data import Run
from laion_hpc.run.report.funnel import percent
from laion_hpc.run.report.language_names import language_name

CLASS_NAMES = {"en": "English", "multi": "other languages", "nolang": "no language"}
CLASS_TONES = {"en": "c1", "multi": "c2", "nolang": "c3"}

FAILURES = {
    "no connection": ("dns", "refused", "unreachable", "tls", "timeout", "reset", "protocol"),
    "not allowed": ("opted_out", "robots_txt", "forbidden_address", "taken_down", "blocked_hash"),
    "not a usable image": (
        "too_large",
        "too_small",
        "truncated",
        "bad_encoding",
        "not_an_image",
        "undecodable",
        "too_many_pixels",
        "aspect_ratio",
        "too_few_pixels",
        "decoder_crashed",
    ),
}
"""Groups of the reasons of `download`. A reason that is in none of them is an HTTP error."""
FAILURE_TONES = {
    "downloaded": "c1",
    "HTTP error": "c2",
    "no connection": "c5",
    "not a usable image": "c4",
    "not allowed": "c3",
}


def failure_group(reason: str) -> str:
    """The group that a reason of `download` belongs to."""
    for group, reasons in FAILURES.items():
        if reason in reasons:
            return group
    return "HTTP error"


def download(run: Run) -> Figure | None:
    """Outcomes by group and by reason, and the formats of the images."""
    totals = run.stage("download")
    if totals is None:
        return None
    groups = Counter({"downloaded": totals.kept})
    for reason, count in totals.dropped.items():
        groups[failure_group(reason)] += count
    shares = [Bar(name, groups[name], tone=tone) for name, tone in FAILURE_TONES.items()]
    outcomes = [Bar("downloaded", totals.kept, percent(totals.kept, totals.inputs))]
    outcomes += [
        Bar(
            reason.replace("http_", "HTTP "),
            count,
            percent(count, totals.inputs),
            FAILURE_TONES[failure_group(reason)],
        )
        for reason, count in totals.dropped.most_common()
    ]
    kinds = run.content_types.most_common(10)
    formats = [Bar(kind, n, percent(n, run.content_types.total())) for kind, n in kinds]
    called = "Content types that servers gave for the downloaded images."
    return Figure(
        [Panel("Outcome", Bars(outcomes)), Panel("Format", Bars(formats), called)],
        top=Stack([bar for bar in shares if bar.count]),
    )


def similarity(run: Run) -> Figure | None:
    """Cosine of all downloaded pairs: a panel for each class, with its threshold."""
    panels = []
    for name in LANGUAGE_CLASSES:
        counter = run.similarity.get(name)
        if not counter:
            continue
        limit = getattr(run.config.filter.thresholds, name)
        everything = Counter[int]()
        for other in run.similarity.values():
            everything.update(other)
        low, high = min(everything), max(everything) + 1
        bins = [
            Bin(
                value / 100,
                (value + 1) / 100,
                counter[value],
                # A threshold can lie inside a bin. The middle then decides on its colour.
                CLASS_TONES[name] if (value + 0.5) / 100 >= limit else "gone",
            )
            for value in range(low, high)
        ]
        kept = sum(one.count for one in bins if one.tone != "gone") / counter.total()
        panels.append(
            Panel(
                CLASS_NAMES[name].capitalize(),
                Histogram(
                    bins,
                    ticks=_decimal_ticks(low / 100, high / 100),
                    marks=[Mark(limit, f"kept from {limit:g}: {kept:.0%}")],
                    name=f"Histogram of the cosine of image and text, {CLASS_NAMES[name]}",
                ),
                note=f"{counter.total():,} pairs",
            )
        )
    if not panels:
        return None
    read, there = run.similarity_files
    partly = f" (from {read:,} of {there:,} shards, evenly over the run)" if read < there else ""
    lead = (
        f"Cosine of image and text for every pair that was downloaded{partly}. One CLIP "
        "model scores English, a multilingual one scores the rest, so each class has a threshold "
        "of its own. Grey pairs were dropped."
    )
    return Figure(panels, lead, columns=3)


def _decimal_ticks(low: float, high: float) -> list[tuple[float, str]]:
    step = next(s for s in (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 50, 500) if high - low <= 6 * s)
    first = int(low // step)
    ticks = [(number * step, f"{number * step:.2g}") for number in range(first, first + 9)]
    return [(at, text) for at, text in ticks if low - 1e-9 <= at <= high + 1e-9]


def languages(run: Run) -> Figure | None:
    """Share of the three classes, and the most frequent languages."""
    if not run.statistics:
        return None
    datasets = run.statistics["datasets"]
    classes = [
        Bar(CLASS_NAMES[name], datasets[f"laion-{name}"]["count"], tone=CLASS_TONES[name])
        for name in LANGUAGE_CLASSES
    ]
    ranked = datasets["all"]["languages"]
    named = [
        Bar(
            "no language" if one["language"] == "nolang" else language_name(one["language"]),
            one["count"],
            f"{one['share']:.1%}",
            {"en": "c1", "nolang": "c3"}.get(one["language"], "c2"),
        )
        for one in ranked
    ]
    if not named:
        return None
    half = 15 if len(named) > 15 else len(named)
    more = f"{len(named) - 30} more languages have fewer." if len(named) > 30 else ""
    caption = "Released samples by the language of the text."
    panels = [Panel("Most frequent", Bars(named[:half]), caption)]
    if named[half:]:
        panels.append(Panel("Next most frequent", Bars(named[half:30]), more))
    return Figure(panels, top=Stack(classes))


def sizes(run: Run) -> Figure | None:
    """Histograms of the shorter side of the images and the length of the texts."""
    if not run.statistics or not run.statistics["datasets"]["all"]["count"]:
        return None
    whole = run.statistics["datasets"]["all"]
    shares = ", ".join(
        f"≥ {side}: {one['share']:.1%}" for side, one in whole["both_sides_at_least"].items()
    )
    widths, heights = whole["quantiles"]["width"], whole["quantiles"]["height"]
    lengths = whole["quantiles"]["text_length"]
    return Figure(
        [
            Panel(
                "Shorter side in pixels",
                _edges(
                    whole["histograms"]["short_side"], "shorter side", (64, 256, 512, 1024, 2048)
                ),
                f"Both sides {shares}. Median {widths['0.50']:,} × {heights['0.50']:,}. "
                "Bins grow to the right.",
            ),
            Panel(
                "Text length in characters",
                _edges(whole["histograms"]["text_length"], "text length", (10, 30, 60, 100, 300)),
                f"Average {whole['average_text_length']:.0f}, median {lengths['0.50']:,}, "
                f"90% between {lengths['0.05']:,} and {lengths['0.95']:,}. "
                "Bins grow to the right.",
            ),
        ]
    )


def _edges(data: dict[str, Any], name: str, labelled: tuple[int, ...]) -> Histogram:
    """A histogram of growing bins. All bins are drawn equally wide, with ticks at their edges."""
    edges, counts = data["edges"], data["counts"]
    names = [f"below {edges[0]}"]
    names += [f"{a:,} – {b - 1:,}" for a, b in pairwise(edges)]
    names.append(f"{edges[-1]:,} and more")
    filled = [position for position, count in enumerate(counts) if count]
    first, last = filled[0], filled[-1]
    bins = [
        Bin(position, position + 1, counts[position], name=names[position])
        for position in range(first, last + 1)
    ]
    ticks = [(i + 1, f"{edge:,}") for i, edge in enumerate(edges) if edge in labelled]
    return Histogram(bins, ticks=ticks, name=f"Histogram of the {name}")


def scores(run: Run) -> Figure | None:
    """A histogram for each head, and the zero-shot classes."""
    if not run.statistics:
        return None
    whole = run.statistics["datasets"]["all"]
    panels = []
    for head, data in whole["heads"].items():
        shape = data["histogram"]
        if not shape["counts"]:
            continue
        start, width = shape["start"], shape["width"]
        probability = start >= 0 and start + width * len(shape["counts"]) <= 1.05
        bins = [
            Bin(start + i * width, start + (i + 1) * width, count, "c1")
            for i, count in enumerate(shape["counts"])
        ]
        low, high = (0.0, 1.0) if probability else (bins[0].low, bins[-1].high)
        limit = {"punsafe": "0.5", "pwatermark": "0.8"}.get(head)
        marks = []
        if limit is not None and probability:
            marks = [Mark(float(limit), f"> {limit}: {data['above'][limit]['share']:.1%}")]
        panels.append(
            Panel(
                head,
                Histogram(
                    bins,
                    ticks=_decimal_ticks(low, high),
                    marks=marks,
                    name=f"Histogram of {head}",
                    x_range=(low, max(high, bins[-1].high)),
                    log=True,
                ),
                code=True,
            )
        )
    classes = [Bar(one["class"], one["count"], f"{one['share']:.1%}") for one in whole["nsfw"]]
    if classes:
        panels.append(Panel("Zero-shot class", Bars(classes)))
    return Figure(panels, columns=3) if panels else None


def hosts(run: Run) -> Figure | None:
    """The most frequent hosts, and their shares in each shard."""
    panels = []
    if run.statistics and run.statistics["datasets"]["all"]["hosts"]:
        whole = run.statistics["datasets"]["all"]
        rows = [
            Bar(one["host"], one["count"], f"{one['share']:.1%}") for one in whole["hosts"][:20]
        ]
        panels.append(
            Panel(
                "Most frequent",
                Bars(rows, log=False),
                f"Released samples by host; {whole['distinct_hosts']:,} hosts in all.",
            )
        )
    if run.balance is not None:
        shares = run.balance.largest_shares
        distinct = sorted(run.balance.distinct)
        panels.append(
            Panel(
                "Largest host of each shard",
                Histogram(
                    [
                        Bin(i, i + 1, round(100 * share, 2), name=f"shard {i}")
                        for i, share in enumerate(shares)
                    ],
                    ticks=[(0.5, "1"), (len(shares) - 0.5, str(len(shares)))] if shares[1:] else [],
                    name="Share of the most frequent host in each shard",
                ),
                f"Share of the most frequent host in each of {len(shares):,} of "
                f"{run.balance.shards:,} shards; over all of these it is "
                f"{run.balance.overall_share:.1%}. A shard has between {short(distinct[0])} and "
                f"{short(distinct[-1])} hosts. Even bars mean that no shard loads one server.",
                note="% of its links",
            )
        )
    return Figure(panels) if panels else None


def licenses(run: Run) -> Figure | None:
    """Creative Commons links found on the pages."""
    if not run.statistics or not run.statistics["datasets"]["all"]["licenses"]:
        return None
    rows = [
        Bar(
            "none found" if one["license"] == "?" else short_license(one["license"]),
            one["count"],
            percent(one["count"], run.statistics["datasets"]["all"]["count"]),
        )
        for one in run.statistics["datasets"]["all"]["licenses"][:15]
    ]
    caption = (
        "Creative Commons licences that the pages link to. The link is on the same page as the "
        "image. Nobody has checked whether the licence covers the image."
    )
    return Figure([Panel("", Bars(rows), caption)])


def short_license(link: str) -> str:
    """The usual name of a Creative Commons licence, such as CC BY-SA 4.0."""
    path = link.partition("creativecommons.org/")[2].strip("/").split("/")
    if path[0] == "licenses" and len(path) > 1:
        return " ".join(["CC", path[1].upper(), *path[2:]])
    if path[0] == "publicdomain" and len(path) > 1:
        return " ".join(
            [{"zero": "CC0", "mark": "Public Domain Mark"}.get(path[1], path[1]), *path[2:]]
        )
    return link
