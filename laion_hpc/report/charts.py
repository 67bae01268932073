"""Plots as HTML with inline SVG: words keep their size on every screen, only the shapes stretch.

Colours come from the page's style sheet by class (`tone`), so that they suit light and dark.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

LOG_FROM = 200
"""Bars whose largest is so many times the smallest are drawn on a log scale, and say so."""
_FOOT = 0.3
"""Decades below one on a log scale."""
LOG_BINS_FROM = 50
"""The same of the bins of a histogram that may be drawn so: thin tails are what people look for."""


@dataclass(frozen=True)
class Bar:
    """One bar: what it counts, how many, and a remark such as its share."""

    label: str
    count: int
    note: str = ""
    tone: str = "c1"


@dataclass(frozen=True)
class Bin:
    """One bin of a histogram, `low ≤ value < high` in the units of the axis."""

    low: float
    high: float
    count: float
    tone: str = "c1"
    name: str = ""


@dataclass(frozen=True)
class Mark:
    """A labelled line across a plot, at a value of the x axis."""

    at: float
    label: str


def bars(rows: Sequence[Bar], *, log: bool | None = None) -> str:
    """A list of horizontal bars, as it comes; `log` None: where the counts ask for it."""
    if not rows:
        return ""
    most = max(row.count for row in rows) or 1
    least = min((row.count for row in rows if row.count), default=1)
    if log is None:
        log = most >= LOG_FROM * least
    items = []
    for row in rows:
        share = math.log10(row.count + 1) / math.log10(most + 1) if log else row.count / most
        note = f" <small>{escape(row.note)}</small>" if row.note else ""
        items.append(
            f'<li><span class="name" title="{escape(row.label)}">{escape(row.label)}</span>'
            f'<span class="track"><i class="{row.tone}" style="width:{share:.2%}"></i></span>'
            f'<span class="value">{row.count:,}{note}</span></li>'
        )
    remark = '<p class="remark">Lengths on a log scale.</p>' if log else ""
    return f'<ol class="bars">{"".join(items)}</ol>{remark}'


def stack(rows: Sequence[Bar]) -> str:
    """One bar cut in proportion, with its legend."""
    total = sum(row.count for row in rows) or 1
    parts = "".join(
        f'<i class="{row.tone}" style="width:{row.count / total:.3%}" '
        f'title="{escape(row.label)}: {row.count:,}"></i>'
        for row in rows
    )
    legend = "".join(
        f'<li><b class="{row.tone}"></b>{escape(row.label)} '
        f"<small>{row.count:,} · {row.count / total:.1%}</small></li>"
        for row in rows
    )
    return f'<div class="stack">{parts}</div><ul class="legend">{legend}</ul>'


def histogram(
    bins: Sequence[Bin],
    *,
    ticks: Sequence[tuple[float, str]],
    name: str,
    marks: Sequence[Mark] = (),
    x_range: tuple[float, float] | None = None,
    log: bool = False,
) -> str:
    """Vertical bars over an axis; `name` is read out where the plot cannot be seen.

    With `log` heights are on a log scale where one bin is `LOG_BINS_FROM` times another.
    """
    if not bins:
        return ""
    low, high = x_range or (bins[0].low, bins[-1].high)
    width = high - low
    counts = [one.count for one in bins if one.count]
    log = log and bool(counts) and max(counts) >= LOG_BINS_FROM * min(counts)
    decades = max(1, math.ceil(math.log10(max(counts)))) if log else 0
    top = 10.0**decades if log else nice_ceiling(max(one.count for one in bins))
    middle = round(10 ** (0.5 * (decades + _FOOT) - _FOOT)) if log else top / 2
    shapes = []
    for one in bins:
        x, w = 100 * (one.low - low) / width, 100 * (one.high - one.low) / width
        h = 100 * _height(one.count, decades) if log else 100 * one.count / top
        title = one.name or f"{one.low:g} – {one.high:g}"
        shapes.append(
            f'<rect class="{one.tone}" x="{x:.3f}" y="{100 - h:.3f}" width="{w * 0.92:.3f}" '
            f'height="{h:.3f}"><title>{escape(title)}: {one.count:,}</title></rect>'
        )
    lines = "".join(
        f'<span class="mark" style="left:{100 * (mark.at - low) / width:.2f}%">'
        f"<em{_side(mark.at, low, high)}>{escape(mark.label)}</em></span>"
        for mark in marks
        if low <= mark.at <= high
    )
    labels = "".join(
        f'<span style="left:{100 * (at - low) / width:.2f}%">{escape(text)}</span>'
        for at, text in ticks
        if low <= at <= high
    )
    return (
        f'<div class="plot" role="img" aria-label="{escape(name)}">'
        f'<div class="y"><span style="top:0">{short(top)}</span>'
        f'<span style="top:50%">{short(middle)}</span></div>'
        f'<div class="area"><svg viewBox="0 0 100 100" preserveAspectRatio="none" '
        f'aria-hidden="true">{"".join(shapes)}</svg>{lines}</div>'
        f'<div class="x">{labels}</div></div>'
        + ('<p class="remark">Heights on a log scale.</p>' if log else "")
    )


def _height(count: float, decades: int) -> float:
    """Share of the plot's height on a log scale: one is still seen, none is not."""
    return (math.log10(count) + _FOOT) / (decades + _FOOT) if count else 0.0


def _side(at: float, low: float, high: float) -> str:
    """The label of a mark stands on the side where there is room."""
    return ' class="left"' if (at - low) / (high - low) > 0.5 else ""


def nice_ceiling(value: float) -> float:
    """The smallest round number that is not below `value` and has a round half; at least 2."""
    if value <= 2:
        return 2
    power = 10 ** math.floor(math.log10(value))
    return float(
        next(m * power for m in (1, 1.2, 1.6, 2, 2.4, 3, 4, 5, 6, 8, 10) if m * power >= value)
    )


def short(value: float) -> str:
    """A count in few characters: 950, 12 k, 3.4 M, 5.9 B."""
    for limit, sign in ((1e9, " B"), (1e6, " M"), (1e4, " k")):
        if value >= limit:
            scaled = value / (1e3 if sign == " k" else limit)
            return (
                f"{scaled:.0f}{sign}"
                if scaled >= 100 or scaled % 1 < 0.05
                else f"{scaled:.1f}{sign}"
            )
    return f"{value:,.0f}"
