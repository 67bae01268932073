"""Bars, stacks and histograms: their lengths and heights, and their HTML.

`drawing` draws the same charts as SVG files. On the page the style sheet gives each class (`tone`)
its colour, for a light and a dark page.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

LOG_FROM = 200
"""Bars get a log scale, and a remark on it, if the largest is this many times the smallest."""
LOG_BINS_FROM = 50
"""The same for histograms with `log`: a log scale shows thin tails."""
LOG_LENGTHS = "Lengths on a log scale."
LOG_HEIGHTS = "Heights on a log scale."
_FOOT = 0.3
"""Height below a count of 1 on a log scale, in decades, so that a bar of 1 is visible."""
_LEFT = ' class="left"'


@dataclass(frozen=True)
class Bar:
    """One bar: its label, its count, and a remark such as its share."""

    label: str
    count: float
    note: str = ""
    tone: str = "c1"
    shown: str = ""
    """Text to show instead of the count."""

    @property
    def value(self) -> str:
        """The count as text."""
        return self.shown or f"{self.count:,}"


@dataclass(frozen=True)
class Bin:
    """One bin of a histogram, `low ≤ value < high` in the units of the axis."""

    low: float
    high: float
    count: float
    tone: str = "c1"
    name: str = ""

    @property
    def title(self) -> str:
        """Its range and count as text."""
        return f"{self.name or f'{self.low:g} – {self.high:g}'}: {self.count:,}"


@dataclass(frozen=True)
class Mark:
    """A labelled line across a plot, at a value of the x axis."""

    at: float
    label: str


@dataclass(frozen=True)
class Bars:
    """Horizontal bars, in the given order. `log` None: a log scale if the counts need it."""

    rows: Sequence[Bar]
    log: bool | None = None

    @property
    def is_log(self) -> bool:
        """Whether lengths are on a log scale."""
        if self.log is not None:
            return self.log
        counts = [row.count for row in self.rows if row.count]
        return bool(counts) and max(counts) >= LOG_FROM * min(counts)

    def lengths(self) -> list[float]:
        """The length of each bar, 0 … 1."""
        most = max((row.count for row in self.rows), default=0) or 1
        if self.is_log:
            return [math.log10(row.count + 1) / math.log10(most + 1) for row in self.rows]
        return [row.count / most for row in self.rows]

    def html(self) -> str:
        """The bars as an HTML list; an empty string if there are none."""
        if not self.rows:
            return ""
        items = []
        for row, length in zip(self.rows, self.lengths(), strict=True):
            note = f" <small>{escape(row.note)}</small>" if row.note else ""
            items.append(
                f'<li><span class="name" title="{escape(row.label)}">{escape(row.label)}</span>'
                f'<span class="track"><i class="{row.tone}" style="width:{length:.2%}"></i></span>'
                f'<span class="value">{escape(row.value)}{note}</span></li>'
            )
        remark = f'<p class="remark">{LOG_LENGTHS}</p>' if self.is_log else ""
        return f'<ol class="bars">{"".join(items)}</ol>{remark}'


@dataclass(frozen=True)
class Stack:
    """One bar, divided in proportion, with a legend."""

    rows: Sequence[Bar]

    def shares(self) -> list[float]:
        """The share of each part, 0 … 1."""
        total = sum(row.count for row in self.rows) or 1
        return [row.count / total for row in self.rows]

    def html(self) -> str:
        """The bar, with the legend below it."""
        shares = list(zip(self.rows, self.shares(), strict=True))
        parts = "".join(
            f'<i class="{row.tone}" style="width:{share:.3%}" '
            f'title="{escape(row.label)}: {row.count:,}"></i>'
            for row, share in shares
        )
        legend = "".join(
            f'<li><b class="{row.tone}"></b>{escape(row.label)} '
            f"<small>{row.count:,} · {share:.1%}</small></li>"
            for row, share in shares
        )
        return f'<div class="stack">{parts}</div><ul class="legend">{legend}</ul>'


@dataclass(frozen=True)
class Histogram:
    """Vertical bars over an axis; `name` is read out where the plot cannot be seen.

    With `log` heights are on a log scale where one bin is `LOG_BINS_FROM` times another.
    """

    bins: Sequence[Bin]
    ticks: Sequence[tuple[float, str]]
    name: str
    marks: Sequence[Mark] = ()
    x_range: tuple[float, float] | None = None
    log: bool = False

    @property
    def limits(self) -> tuple[float, float]:
        """The lowest and the highest value of the x axis."""
        return self.x_range or (self.bins[0].low, self.bins[-1].high)

    @property
    def decades(self) -> int:
        """Powers of ten that the y axis spans on a log scale; 0: it is linear."""
        counts = [one.count for one in self.bins if one.count]
        if not self.log or not counts or max(counts) < LOG_BINS_FROM * min(counts):
            return 0
        return max(1, math.ceil(math.log10(max(counts))))

    @property
    def top(self) -> float:
        """The count at the top of the y axis."""
        decades = self.decades
        return 10.0**decades if decades else nice_ceiling(max(one.count for one in self.bins))

    def counts_shown(self) -> list[tuple[float, float]]:
        """Heights and counts of the horizontal lines: the top and its half, or powers of ten."""
        decades = self.decades
        if not decades:
            return [(1.0, self.top), (0.5, self.top / 2)]
        step = -(-decades // 4)
        return [
            (_log_height(10.0**power, decades), 10.0**power) for power in range(decades, -1, -step)
        ]

    def heights(self) -> list[float]:
        """The height of each bin, 0 … 1. On a log scale a count of 1 is visible, 0 is not."""
        decades, top = self.decades, self.top
        if not decades:
            return [one.count / top for one in self.bins]
        return [_log_height(one.count, decades) if one.count else 0.0 for one in self.bins]

    def place(self, at: float) -> float:
        """The place of a value on the x axis, 0 … 1; outside it if it is not on the axis."""
        low, high = self.limits
        return (at - low) / (high - low)

    def ticks_shown(self) -> list[tuple[float, str]]:
        """Places and texts of the ticks on the axis."""
        placed = [(self.place(at), text) for at, text in self.ticks]
        return [(x, text) for x, text in placed if 0 <= x <= 1]

    def marks_shown(self) -> list[tuple[float, str]]:
        """Places and labels of the marks on the axis."""
        placed = [(self.place(mark.at), mark.label) for mark in self.marks]
        return [(x, label) for x, label in placed if 0 <= x <= 1]

    def html(self) -> str:
        """The bins as inline SVG, the words as HTML; an empty string if there are no bins."""
        if not self.bins:
            return ""
        shapes = []
        for one, height in zip(self.bins, self.heights(), strict=True):
            x, right = 100 * self.place(one.low), 100 * self.place(one.high)
            shapes.append(
                f'<rect class="{one.tone}" x="{x:.3f}" y="{100 - 100 * height:.3f}" '
                f'width="{(right - x) * 0.92:.3f}" height="{100 * height:.3f}">'
                f"<title>{escape(one.title)}</title></rect>"
            )
        # The label of a mark is on the side that has room.
        lines = "".join(
            f'<span class="mark" style="left:{x:.2%}">'
            f"<em{_LEFT if x > 0.5 else ''}>{escape(label)}</em></span>"
            for x, label in self.marks_shown()
        )
        counts = self.counts_shown()
        numbers = "".join(f'<span style="top:{1 - y:.2%}">{short(n)}</span>' for y, n in counts)
        across = "".join(f'<b style="top:{1 - y:.2%}"></b>' for y, _ in counts)
        labels = "".join(
            f'<span style="left:{x:.2%}">{escape(text)}</span>' for x, text in self.ticks_shown()
        )
        return (
            f'<div class="plot" role="img" aria-label="{escape(self.name)}">'
            f'<div class="y">{numbers}</div><div class="area">{across}'
            '<svg viewBox="0 0 100 100" preserveAspectRatio="none" '
            f'aria-hidden="true">{"".join(shapes)}</svg>{lines}</div>'
            f'<div class="x">{labels}</div></div>'
            + (f'<p class="remark">{LOG_HEIGHTS}</p>' if self.decades else "")
        )


def _log_height(count: float, decades: int) -> float:
    return (math.log10(count) + _FOOT) / (decades + _FOOT)


def nice_ceiling(value: float) -> float:
    """The smallest round number ≥ `value` whose half is round, too; at least 2."""
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
