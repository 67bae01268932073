"""The plot of an index's evaluation: recall@k over the number of cells searched, as SVG.

One drawing for the file beside the evaluation and for the report. Colours are variables (those of
the report's style sheet); the file brings its own, for light and dark.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import floor
from typing import Any

WIDTH, HEIGHT = 440, 286
"""Of a panel, in SVG units: about as wide as it is shown, so that words keep their size."""
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 34, 46
TONES = ("c1", "c2", "c3")
DASHES = ("", "7 3", "2 3")
"""Lines differ by colour, dash and mark: any one of them is enough to tell them apart."""
STYLE = (
    ":root{color-scheme:light dark;--paper:#fff;--ink:#1a1f24;--soft:#5a6570;--line:#d8dee4;"
    "--c1:#0072b2;--c2:#d55e00;--c3:#009e73}"
    "@media (prefers-color-scheme:dark){:root{--paper:#11151a;--ink:#e6eaee;--soft:#9ba7b3;"
    "--line:#2d3640;--c1:#56b4e9;--c2:#f08a4b;--c3:#2fc79a}}"
)


@dataclass(frozen=True)
class Panel:
    """The recall of one kind of query, such as image → image."""

    title: str
    queries: int
    nprobes: Sequence[int]
    curves: Mapping[int, Sequence[float]]
    """recall@k at each nprobe, by k."""
    chosen: int
    """nprobe that the index is searched with."""
    target: float
    """recall@10 that it was chosen for."""
    medians: Sequence[float | None] = ()
    """Milliseconds of a query at each nprobe, where they were measured."""


def panels(evaluation: Mapping[str, Any], stats: Mapping[str, Any] | None = None) -> list[Panel]:
    """A panel per kind of query of `evaluation.json`; times from `evaluation_stats.json`."""
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
    """A file of its own with the panels side by side."""
    head, gap = 30, 20
    width, height = len(shown) * (WIDTH + gap) + gap, head + HEIGHT
    parts = [
        f'<g transform="translate({gap + number * (WIDTH + gap)} {head})">'
        f'<text x="{LEFT}" y="-6" style="fill:var(--ink)" font-size="14" font-weight="600">'
        f"{escape(panel.title)}</text>{_drawn(panel)}</g>"
        for number, panel in enumerate(shown)
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img" font-family="system-ui, sans-serif">'
        f"<title>{escape('; '.join(told(panel) for panel in shown))}</title>"
        f'<style>{STYLE}</style><rect width="100%" height="100%" style="fill:var(--paper)"/>'
        f"{''.join(parts)}</svg>\n"
    ).encode()


def figure(panel: Panel) -> str:
    """The panel as a piece of a page, as wide as its place."""
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(told(panel))}" '
        f'style="width:100%;height:auto">{_drawn(panel)}</svg>'
    )


def told(panel: Panel) -> str:
    """What the plot shows, in words."""
    at = panel.nprobes.index(panel.chosen)
    values = ", ".join(f"@{depth} {values[at]:.3f}" for depth, values in panel.curves.items())
    return f"Recall of {panel.title} with {panel.chosen:,} cells searched: {values}"


def _drawn(panel: Panel) -> str:
    least = min(value for values in panel.curves.values() for value in values)
    low = min(0.8, floor(least * 5 + 1e-9) / 5)
    return "".join(
        (
            _grid(low),
            _below(panel),
            _marks(panel, low),
            *(
                _curve(panel, low, number, depth, values)
                for number, (depth, values) in enumerate(panel.curves.items())
            ),
        )
    )


def _x(panel: Panel, position: int) -> float:
    steps = max(1, len(panel.nprobes) - 1)
    inset = 14
    return LEFT + inset + (WIDTH - LEFT - RIGHT - 2 * inset) * position / steps


def _y(low: float, value: float) -> float:
    return TOP + (HEIGHT - TOP - BOTTOM) * (1 - value) / (1 - low)


def _text(x: float, y: float, words: str, *, tone: str = "soft", anchor: str = "middle") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="11.5" '
        f'style="fill:var(--{tone});stroke:var(--paper);stroke-width:3px;paint-order:stroke">'
        f"{escape(words)}</text>"
    )


def _line(x1: float, y1: float, x2: float, y2: float, tone: str, dash: str = "") -> str:
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"{dashed} '
        f'style="stroke:var(--{tone})"/>'
    )


def _grid(low: float) -> str:
    step = 0.05 if low >= 0.8 else 0.1 if low >= 0.6 else 0.2
    parts = []
    for number in range(round((1 - low) / step) + 1):
        value = low + number * step
        y = _y(low, value)
        parts.append(_line(LEFT, y, WIDTH - RIGHT, y, "line" if number else "soft"))
        parts.append(_text(LEFT - 6, y + 4, f"{value:.2f}", anchor="end"))
    return "".join(parts)


def _below(panel: Panel) -> str:
    """Two rows under the axis: cells searched, and what they cost in time."""
    first = HEIGHT - BOTTOM + 16
    parts = [_text(LEFT - 6, first, "cells", anchor="end")]
    if panel.medians:
        parts.append(_text(LEFT - 6, first + 18, "ms", anchor="end"))
    for position, nprobe in enumerate(panel.nprobes):
        x = _x(panel, position)
        tone = "ink" if nprobe == panel.chosen else "soft"
        parts.append(_text(x, first, f"{nprobe:,}", tone=tone))
        if panel.medians and (median := panel.medians[position]) is not None:
            parts.append(_text(x, first + 18, _short(median), tone=tone))
    return "".join(parts)


def _short(milliseconds: float) -> str:
    """Two digits that count."""
    if milliseconds >= 10:
        return f"{milliseconds:,.0f}"
    return f"{milliseconds:.1f}" if milliseconds >= 1 else f"{milliseconds:.2f}"


def _marks(panel: Panel, low: float) -> str:
    """The nprobe that was stored, and the recall it was chosen for."""
    at = panel.nprobes.index(panel.chosen)
    x, y = _x(panel, at), _y(low, panel.target)
    right = at > len(panel.nprobes) / 2
    parts = [_line(x, TOP, x, HEIGHT - BOTTOM, "ink", "3 3")]
    parts.append(
        _text(x + (-5 if right else 5), HEIGHT - BOTTOM - 7, "stored", tone="ink",
              anchor="end" if right else "start")
    )  # fmt: skip
    if panel.target >= low:
        parts.append(_line(LEFT, y, WIDTH - RIGHT, y, "ink", "1 3"))
        parts.append(
            _text(LEFT + 2, y + 13, f"aim @10: {panel.target:g}", tone="ink", anchor="start")
        )
    return "".join(parts)


def _curve(panel: Panel, low: float, number: int, depth: int, values: Sequence[float]) -> str:
    tone, dash = TONES[number % len(TONES)], DASHES[number % len(DASHES)]
    places = [(_x(panel, at), _y(low, value)) for at, value in enumerate(values)]
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    parts = [
        f'<polyline points="{points}" fill="none" stroke-width="2"{dashed} '
        f'style="stroke:var(--{tone})"/>'
    ]
    for at, ((x, y), value) in enumerate(zip(places, values, strict=True)):
        said = f"recall@{depth} {value:.4f} with {panel.nprobes[at]:,} cells"
        if panel.medians and (median := panel.medians[at]) is not None:
            said += f", {_short(median)} ms"
        parts.append(f"<g><title>{said}</title>{_dot(number, x, y, tone)}</g>")
    x = LEFT + 14 + number * 104
    parts.append(
        f'<line x1="{x}" y1="14" x2="{x + 26}" y2="14" stroke-width="2"{dashed} '
        f'style="stroke:var(--{tone})"/>' + _dot(number, x + 13, 14, tone)
    )
    parts.append(_text(x + 32, 18, f"recall@{depth}", tone="ink", anchor="start"))
    return "".join(parts)


def _dot(number: int, x: float, y: float, tone: str) -> str:
    style = f'style="fill:var(--{tone})"'
    match number % 3:
        case 0:
            return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" {style}/>'
        case 1:
            return f'<rect x="{x - 3.5:.1f}" y="{y - 3.5:.1f}" width="7" height="7" {style}/>'
        case _:
            return f'<path d="M{x:.1f} {y - 4.8:.1f}l4.8 8.2h-9.6z" {style}/>'
