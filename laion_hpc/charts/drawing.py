"""Figures as SVG files that stand alone: on white, in colours that colour-blind readers tell apart.

The page lets the browser set its words; a file must place them itself, so widths of words are
estimated. The same `Figure` that the page shows is drawn: no number is worked out twice.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from html import escape

from laion_hpc.charts.funnel import Funnel
from laion_hpc.charts.panels import Chart, Figure, Panel
from laion_hpc.charts.shapes import LOG_HEIGHTS, LOG_LENGTHS, Bars, Histogram, Stack, short

WIDTH = 960
MARGIN = 28
GAP = 36
"""Between panels."""
INK, SOFT, LINE, FAINT = "#1a1f24", "#5a6570", "#d8dee4", "#e4e9ed"
TONES = {"c1": "#0072b2", "c2": "#d55e00", "c3": "#009e73", "c4": "#a8558a", "c5": "#b58900"}
TONES["gone"] = "#c2cad2"
"""As in style.css, where it is light."""
SANS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'DejaVu Sans', sans-serif"
MONO = "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
LETTER = 0.56
"""Mean width of a letter, in heights."""
PLOT_HEIGHT = 170


def draw(figure: Figure | None, title: str) -> str:
    """A whole SVG document; without data (None) it says so."""
    sheet = _Sheet()
    y = MARGIN + 14.0
    sheet.text(MARGIN, y, title, size=20, weight="600")
    y += 14
    inner = WIDTH - 2 * MARGIN
    if figure is None:
        y = sheet.paragraph(MARGIN, y + 8, "Nothing to show: the stage measured nothing.", inner)
    else:
        if figure.lead:
            y = sheet.paragraph(MARGIN, y + 8, figure.lead, inner)
        if figure.top is not None:
            y = _stack(sheet, figure.top, MARGIN, y + 14, inner)
        y = _panels(sheet, figure, y + 20, inner)
    return sheet.document(y + MARGIN, title)


def _panels(sheet: _Sheet, figure: Figure, y: float, inner: float) -> float:
    shown = [panel for panel in figure.panels if panel.chart.html()]
    columns = max(1, min(figure.columns, len(shown)))
    width = (inner - GAP * (columns - 1)) / columns
    for first in range(0, len(shown), columns):
        row = shown[first : first + columns]
        ends = [
            _panel(sheet, panel, MARGIN + column * (width + GAP), y, width)
            for column, panel in enumerate(row)
        ]
        y = max(ends) + 28
    return y - 28 if shown else y


def _panel(sheet: _Sheet, panel: Panel, x: float, y: float, width: float) -> float:
    if panel.title or panel.note:
        y += 12
        size = 14
        sheet.text(x, y, panel.title, size=size, weight="600", mono=panel.code)
        after = x + measure(panel.title, size * 1.06) + 8
        sheet.text(after, y, panel.note, size=12, fill=SOFT)
        y += 12
    draw_chart = next(how for kind, how in _CHARTS.items() if isinstance(panel.chart, kind))
    y = draw_chart(sheet, panel.chart, x, y, width)
    if panel.caption:
        y = sheet.paragraph(x, y + 8, panel.caption, width, size=12)
    return y


def _bars(sheet: _Sheet, chart: Bars, x: float, y: float, width: float) -> float:
    notes = max(measure(row.note, 12) for row in chart.rows)
    right = max(measure(row.value, 12) for row in chart.rows) + (notes + 8 if notes else 0)
    labels = min(0.4 * width, max(measure(row.label, 12) for row in chart.rows))
    left = labels + 10
    room = max(20.0, width - left - right - 10)
    for row, length in zip(chart.rows, chart.lengths(), strict=True):
        sheet.text(x, y + 13, clip(row.label, labels, 12), size=12)
        sheet.rect(x + left, y + 3, max(1.5, length * room), 12, TONES[row.tone])
        end = x + width - (notes + 8 if notes else 0)
        sheet.text(end, y + 13, row.value, size=12, anchor="end")
        sheet.text(x + width, y + 13, row.note, size=12, anchor="end", fill=SOFT)
        y += 20
    return sheet.paragraph(x, y + 4, LOG_LENGTHS, width, size=11) if chart.is_log else y


def _stack(sheet: _Sheet, chart: Stack, x: float, y: float, width: float) -> float:
    at = x
    for row, share in zip(chart.rows, chart.shares(), strict=True):
        sheet.rect(at, y, max(1.5, share * width - 2), 22, TONES[row.tone])
        at += share * width
    at, y = x, y + 40
    for row, share in zip(chart.rows, chart.shares(), strict=True):
        note = f"{row.count:,} · {share:.1%}"
        wide = 18 + measure(row.label, 12) + 8 + measure(note, 12)
        if at > x and at + wide > x + width:
            at, y = x, y + 19
        sheet.rect(at, y - 10, 11, 11, TONES[row.tone])
        sheet.text(at + 18, y, row.label, size=12)
        sheet.text(at + 18 + measure(row.label, 12) + 8, y, note, size=12, fill=SOFT)
        at += wide + 22
    return y + 6


def _histogram(sheet: _Sheet, chart: Histogram, x: float, y: float, width: float) -> float:
    left = x + 44
    room, bottom = width - 44, y + 20 + PLOT_HEIGHT
    top = y + 20
    for height, value in chart.counts_shown():
        at = bottom - height * PLOT_HEIGHT
        sheet.rect(left, at, room, 1, LINE)
        sheet.text(left - 6, at + 4, short(value), size=11, fill=SOFT, anchor="end")
    for one, height in zip(chart.bins, chart.heights(), strict=True):
        start, end = chart.place(one.low), chart.place(one.high)
        tall = height * PLOT_HEIGHT
        sheet.rect(
            left + start * room, bottom - tall, 0.92 * (end - start) * room, tall, TONES[one.tone]
        )
    sheet.rect(left, bottom, room, 1, SOFT)
    for place, label in chart.marks_shown():
        at = left + place * room
        sheet.dashed(at, top - 14, bottom)
        side = ("end", at - 5) if place > 0.5 else ("start", at + 5)
        sheet.text(side[1], top - 5, label, size=11, anchor=side[0])
    for place, label in chart.ticks_shown():
        sheet.text(left + place * room, bottom + 15, label, size=11, fill=SOFT, anchor="middle")
    y = bottom + 20
    return sheet.paragraph(x, y + 2, LOG_HEIGHTS, width, size=11) if chart.decades else y


def _funnel(sheet: _Sheet, chart: Funnel, x: float, y: float, width: float) -> float:
    columns = 2
    wide = (width - GAP) / columns
    for step in chart.steps:
        y += 16
        sheet.text(x, y, step.name, size=15, weight="600")
        summary = f"{step.numbers} · {step.share}" if step.share else step.numbers
        sheet.text(x + width, y, summary, size=13, anchor="end")
        y += 8
        sheet.rect(x, y, width, 20, FAINT)
        sheet.rect(x, y, max(1.5, step.kept * width), 20, TONES[step.tone])
        sheet.rect(x + step.kept * width, y, step.dropped * width, 20, TONES["gone"])
        y += 24
        lines = -(-len(step.reasons) // columns)
        for number, one in enumerate(step.reasons):
            at = x + (number // lines) * (wide + GAP)
            down = y + 14 + 17 * (number % lines)
            sheet.text(at, down, one.name, size=12, mono=True)
            sheet.text(at + wide - 70, down, one.count, size=12, anchor="end")
            sheet.text(at + wide, down, one.share, size=12, anchor="end", fill=SOFT)
        y += 17 * lines + 14
    return y


_CHARTS: dict[type[Chart], Callable[..., float]] = {
    Bars: _bars,
    Stack: _stack,
    Histogram: _histogram,
    Funnel: _funnel,
}


class _Sheet:
    """What has been drawn so far; y grows downwards, in pixels."""

    def __init__(self) -> None:
        self._parts: list[str] = []

    def text(
        self,
        x: float,
        y: float,
        words: str,
        *,
        size: float = 13,
        fill: str = INK,
        anchor: str = "start",
        weight: str = "",
        mono: bool = False,
    ) -> None:
        """A line of words on the base line `y`."""
        if not words:
            return
        style = f' font-weight="{weight}"' if weight else ""
        style += f' font-family="{MONO}"' if mono else ""
        style += f' text-anchor="{anchor}"' if anchor != "start" else ""
        self._parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" fill="{fill}"{style}>'
            f"{_clean(words)}</text>"
        )

    def paragraph(self, x: float, y: float, words: str, width: float, *, size: float = 13) -> float:
        """Words on as many lines as they need from `y` down; returns where they end."""
        for line in wrap(words, width, size):
            y += 1.45 * size
            self.text(x, y - 0.35 * size, line, size=size, fill=SOFT)
        return y

    def rect(self, x: float, y: float, width: float, height: float, fill: str) -> None:
        """A filled rectangle; nothing if it is empty."""
        if width > 0 and height > 0:
            self._parts.append(
                f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" '
                f'fill="{fill}"/>'
            )

    def dashed(self, x: float, top: float, bottom: float) -> None:
        """A dashed line from top to bottom."""
        self._parts.append(
            f'<path d="M{x:.1f} {top:.1f}V{bottom:.1f}" stroke="{INK}" stroke-width="1.5" '
            'stroke-dasharray="4 3"/>'
        )

    def document(self, height: float, title: str) -> str:
        """The whole."""
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height:.0f}" '
            f'viewBox="0 0 {WIDTH} {height:.0f}" font-family="{SANS}" role="img">'
            f"<title>{_clean(title)}</title>"
            f'<rect width="100%" height="100%" fill="#ffffff"/>{"".join(self._parts)}</svg>\n'
        )


def _clean(words: str) -> str:
    """Words as XML may hold them: some control characters it may not."""
    return escape("".join(filter(str.isprintable, words)))


def measure(words: str, size: float) -> float:
    """About how wide words are, in pixels."""
    return sum(
        size * (1.0 if unicodedata.east_asian_width(letter) in "WF" else LETTER) for letter in words
    )


def clip(words: str, width: float, size: float) -> str:
    """Words cut to a width, with an ellipsis."""
    if measure(words, size) <= width:
        return words
    while words and measure(words, size) + size > width:
        words = words[:-1]
    return f"{words}…"


def wrap(words: str, width: float, size: float) -> list[str]:
    """Words on lines of at most a width, where no word is longer."""
    lines: list[str] = []
    for word in words.split():
        if lines and measure(f"{lines[-1]} {word}", size) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines
