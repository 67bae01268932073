"""Draws figures as SVG files, on white.

The browser sets the words of a page. A file must place its words itself, so their widths are
estimated. Page and file show the same `Figure`, so their numbers are equal.
"""

from __future__ import annotations

from collections.abc import Callable

from laion_hpc.charts.funnel import Funnel
from laion_hpc.charts.panels import Chart, Figure, Panel
from laion_hpc.charts.shapes import LOG_HEIGHTS, LOG_LENGTHS, Bars, Histogram, Stack, short
from laion_hpc.charts.sheet import Sheet, clip, measure

WIDTH = 960
MARGIN = 28
GAP = 36
"""Between panels."""
PLOT_HEIGHT = 170


def draw(figure: Figure | None, title: str) -> str:
    """An SVG document; a figure without data (None) becomes a sentence that says so."""
    sheet = Sheet()
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
    return sheet.document(WIDTH, y + MARGIN, title)


def _panels(sheet: Sheet, figure: Figure, y: float, inner: float) -> float:
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


def _panel(sheet: Sheet, panel: Panel, x: float, y: float, width: float) -> float:
    if panel.title or panel.note:
        y += 12
        size = 14
        sheet.text(x, y, panel.title, size=size, weight="600", mono=panel.code)
        after = x + measure(panel.title, size * 1.06) + 8
        sheet.text(after, y, panel.note, size=12, fill="soft")
        y += 12
    draw_chart = next(how for kind, how in _CHARTS.items() if isinstance(panel.chart, kind))
    y = draw_chart(sheet, panel.chart, x, y, width)
    if panel.caption:
        y = sheet.paragraph(x, y + 8, panel.caption, width, size=12)
    return y


def _bars(sheet: Sheet, chart: Bars, x: float, y: float, width: float) -> float:
    notes = max(measure(row.note, 12) for row in chart.rows)
    right = max(measure(row.value, 12) for row in chart.rows) + (notes + 8 if notes else 0)
    labels = min(0.4 * width, max(measure(row.label, 12) for row in chart.rows))
    left = labels + 10
    room = max(20.0, width - left - right - 10)
    for row, length in zip(chart.rows, chart.lengths(), strict=True):
        sheet.text(x, y + 13, clip(row.label, labels, 12), size=12)
        sheet.rect(x + left, y + 3, max(1.5, length * room), 12, row.tone)
        end = x + width - (notes + 8 if notes else 0)
        sheet.text(end, y + 13, row.value, size=12, anchor="end")
        sheet.text(x + width, y + 13, row.note, size=12, anchor="end", fill="soft")
        y += 20
    return sheet.paragraph(x, y + 4, LOG_LENGTHS, width, size=11) if chart.is_log else y


def _stack(sheet: Sheet, chart: Stack, x: float, y: float, width: float) -> float:
    at = x
    for row, share in zip(chart.rows, chart.shares(), strict=True):
        sheet.rect(at, y, max(1.5, share * width - 2), 22, row.tone)
        at += share * width
    at, y = x, y + 40
    for row, share in zip(chart.rows, chart.shares(), strict=True):
        note = f"{row.count:,} · {share:.1%}"
        wide = 18 + measure(row.label, 12) + 8 + measure(note, 12)
        if at > x and at + wide > x + width:
            at, y = x, y + 19
        sheet.rect(at, y - 10, 11, 11, row.tone)
        sheet.text(at + 18, y, row.label, size=12)
        sheet.text(at + 18 + measure(row.label, 12) + 8, y, note, size=12, fill="soft")
        at += wide + 22
    return y + 6


def _histogram(sheet: Sheet, chart: Histogram, x: float, y: float, width: float) -> float:
    left = x + 44
    room, bottom = width - 44, y + 20 + PLOT_HEIGHT
    top = y + 20
    for height, value in chart.counts_shown():
        at = bottom - height * PLOT_HEIGHT
        sheet.rect(left, at, room, 1, "line")
        sheet.text(left - 6, at + 4, short(value), size=11, fill="soft", anchor="end")
    for one, height in zip(chart.bins, chart.heights(), strict=True):
        start, end = chart.place(one.low), chart.place(one.high)
        tall = height * PLOT_HEIGHT
        sheet.rect(left + start * room, bottom - tall, 0.92 * (end - start) * room, tall, one.tone)
    sheet.rect(left, bottom, room, 1, "soft")
    for place, label in chart.marks_shown():
        at = left + place * room
        sheet.line((at, top - 14), (at, bottom), "ink", dash="4 3", width=1.5)
        side = ("end", at - 5) if place > 0.5 else ("start", at + 5)
        sheet.text(side[1], top - 5, label, size=11, anchor=side[0])
    for place, label in chart.ticks_shown():
        sheet.text(left + place * room, bottom + 15, label, size=11, fill="soft", anchor="middle")
    y = bottom + 20
    return sheet.paragraph(x, y + 2, LOG_HEIGHTS, width, size=11) if chart.decades else y


def _funnel(sheet: Sheet, chart: Funnel, x: float, y: float, width: float) -> float:
    columns = 2
    wide = (width - GAP) / columns
    for step in chart.steps:
        y += 16
        sheet.text(x, y, step.name, size=15, weight="600")
        summary = f"{step.numbers} · {step.share}" if step.share else step.numbers
        sheet.text(x + width, y, summary, size=13, anchor="end")
        y += 8
        sheet.rect(x, y, width, 20, "faint")
        sheet.rect(x, y, max(1.5, step.kept * width), 20, step.tone)
        sheet.rect(x + step.kept * width, y, step.dropped * width, 20, "gone")
        y += 24
        lines = -(-len(step.reasons) // columns)
        for number, one in enumerate(step.reasons):
            at = x + (number // lines) * (wide + GAP)
            down = y + 14 + 17 * (number % lines)
            sheet.text(at, down, one.name, size=12, mono=True)
            sheet.text(at + wide - 70, down, one.count, size=12, anchor="end")
            sheet.text(at + wide, down, one.share, size=12, anchor="end", fill="soft")
        y += 17 * lines + 14
    return y


_CHARTS: dict[type[Chart], Callable[..., float]] = {
    Bars: _bars,
    Stack: _stack,
    Histogram: _histogram,
    Funnel: _funnel,
}
