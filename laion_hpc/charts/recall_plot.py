"""The plot of an index's evaluation: recall@k over the number of cells searched, as SVG.

The file beside the evaluation and the report show the same drawing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor
from typing import Any

from laion_hpc.charts.sheet import Sheet

WIDTH, HEIGHT = 440, 286
"""Size of a panel in SVG units. It is about the shown width, so that words keep their size."""
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 34, 46
TONES = ("c1", "c2", "c3")
DASHES = ("", "7 3", "2 3")
"""Lines differ in colour, dash and mark. Each of these alone tells them apart."""


@dataclass(frozen=True)
class Panel:
    """The recall of one kind of query, such as image → image."""

    title: str
    queries: int
    nprobes: Sequence[int]
    curves: Mapping[int, Sequence[float]]
    """recall@k at each nprobe; the keys are k."""
    chosen: int
    """The nprobe that is stored in the index."""
    target: float
    """The recall@10 that this nprobe was chosen for."""
    medians: Sequence[float | None] = ()
    """Median milliseconds of a query at each nprobe; None: not measured."""


def panels(evaluation: Mapping[str, Any], stats: Mapping[str, Any] | None = None) -> list[Panel]:
    """A panel for each kind of query of `evaluation.json`; times from `evaluation_stats.json`."""
    rows = evaluation["recall"]
    times = {row["nprobe"]: row.get("p50_ms") for row in (stats or {}).get("latency", ())}
    medians = [times.get(row["nprobe"]) for row in rows]
    return [
        Panel(
            title=f"{kind} → {evaluation.get('modality', 'image')}",
            queries=count,
            nprobes=[row["nprobe"] for row in rows],
            curves={
                depth: [row[kind][str(depth)] for row in rows]
                for depth in sorted(map(int, rows[0][kind]))
            },
            chosen=evaluation["nprobe"],
            target=evaluation["target_recall"],
            medians=medians if any(median is not None for median in medians) else (),
        )
        for kind, count in evaluation["queries"].items()
        if rows
    ]


def document(shown: Sequence[Panel]) -> bytes:
    """An SVG file with the panels side by side."""
    head, gap = 30, 20
    sheet = Sheet(variables=True)
    for number, panel in enumerate(shown):
        x = gap + number * (WIDTH + gap)
        sheet.text(x + LEFT, head - 6, panel.title, size=14, weight="600")
        sheet.place(_drawn(panel), x, head)
    title = "; ".join(told(panel) for panel in shown)
    return sheet.document(len(shown) * (WIDTH + gap) + gap, head + HEIGHT, title).encode()


def figure(panel: Panel) -> str:
    """The panel as an SVG element that fills the width of its place."""
    return _drawn(panel).piece(WIDTH, HEIGHT, told(panel))


def told(panel: Panel) -> str:
    """A sentence on what the plot shows."""
    at = panel.nprobes.index(panel.chosen)
    values = ", ".join(f"@{depth} {values[at]:.3f}" for depth, values in panel.curves.items())
    return f"Recall of {panel.title} with {panel.chosen:,} cells searched: {values}"


def _drawn(panel: Panel) -> Sheet:
    least = min(value for values in panel.curves.values() for value in values)
    low = min(0.8, floor(least * 5 + 1e-9) / 5)
    sheet = Sheet(variables=True)
    _grid(sheet, low)
    _below(sheet, panel)
    _marks(sheet, panel, low)
    for number, (depth, values) in enumerate(panel.curves.items()):
        _curve(sheet, panel, low, number, depth, values)
    return sheet


def _x(panel: Panel, position: int) -> float:
    steps = max(1, len(panel.nprobes) - 1)
    inset = 14
    return LEFT + inset + (WIDTH - LEFT - RIGHT - 2 * inset) * position / steps


def _y(low: float, value: float) -> float:
    return TOP + (HEIGHT - TOP - BOTTOM) * (1 - value) / (1 - low)


def _grid(sheet: Sheet, low: float) -> None:
    step = 0.05 if low >= 0.8 else 0.1 if low >= 0.6 else 0.2
    for number in range(round((1 - low) / step) + 1):
        value = low + number * step
        y = _y(low, value)
        sheet.line((LEFT, y), (WIDTH - RIGHT, y), "line" if number else "soft")
        _label(sheet, LEFT - 6, y + 4, f"{value:.2f}", anchor="end")


def _below(sheet: Sheet, panel: Panel) -> None:
    """Two rows under the axis: cells searched, and what they cost in time."""
    first = HEIGHT - BOTTOM + 16
    _label(sheet, LEFT - 6, first, "cells", anchor="end")
    if panel.medians:
        _label(sheet, LEFT - 6, first + 18, "ms", anchor="end")
    for position, nprobe in enumerate(panel.nprobes):
        x = _x(panel, position)
        fill = "ink" if nprobe == panel.chosen else "soft"
        _label(sheet, x, first, f"{nprobe:,}", fill=fill)
        if panel.medians and (median := panel.medians[position]) is not None:
            _label(sheet, x, first + 18, _short(median), fill=fill)


def _marks(sheet: Sheet, panel: Panel, low: float) -> None:
    """Mark the stored nprobe, and the recall that it was chosen for."""
    at = panel.nprobes.index(panel.chosen)
    x, y = _x(panel, at), _y(low, panel.target)
    side = (x - 5, "end") if at > len(panel.nprobes) / 2 else (x + 5, "start")
    sheet.line((x, TOP), (x, HEIGHT - BOTTOM), "ink", dash="3 3")
    _label(sheet, side[0], HEIGHT - BOTTOM - 7, "stored", fill="ink", anchor=side[1])
    if panel.target >= low:
        sheet.line((LEFT, y), (WIDTH - RIGHT, y), "ink", dash="1 3")
        _label(sheet, LEFT + 2, y + 13, f"target @10: {panel.target:g}", fill="ink", anchor="start")


def _curve(
    sheet: Sheet, panel: Panel, low: float, number: int, depth: int, values: Sequence[float]
) -> None:
    tone, dash = TONES[number % len(TONES)], DASHES[number % len(DASHES)]
    places = [(_x(panel, at), _y(low, value)) for at, value in enumerate(values)]
    sheet.curve(places, tone, dash=dash)
    for at, ((x, y), value) in enumerate(zip(places, values, strict=True)):
        said = f"recall@{depth} {value:.4f} with {panel.nprobes[at]:,} cells"
        if panel.medians and (median := panel.medians[at]) is not None:
            said += f", {_short(median)} ms"
        sheet.dot(x, y, number, tone, title=said)
    x = LEFT + 14 + number * 104
    sheet.line((x, 14), (x + 26, 14), tone, dash=dash, width=2)
    sheet.dot(x + 13, 14, number, tone)
    _label(sheet, x + 32, 18, f"recall@{depth}", fill="ink", anchor="start")


def _label(
    sheet: Sheet, x: float, y: float, words: str, *, fill: str = "soft", anchor: str = "middle"
) -> None:
    sheet.text(x, y, words, size=11.5, fill=fill, anchor=anchor, halo=True)


def _short(milliseconds: float) -> str:
    """Milliseconds with two significant digits."""
    if milliseconds >= 10:
        return f"{milliseconds:,.0f}"
    return f"{milliseconds:.1f}" if milliseconds >= 1 else f"{milliseconds:.2f}"
