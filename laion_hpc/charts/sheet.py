"""A sheet to draw on. It collects shapes and words as SVG, in one set of colours.

A plain file has fixed colours on white. A part of a page, or a file for light and dark readers,
takes its colours from CSS variables (`variables`). Colour-blind readers can tell the colours apart
(Okabe and Ito).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from html import escape

LIGHT = {
    "paper": "#ffffff", "ink": "#1a1f24", "soft": "#5a6570", "line": "#d8dee4", "faint": "#e4e9ed",
    "c1": "#0072b2", "c2": "#d55e00", "c3": "#009e73", "c4": "#a8558a", "c5": "#b58900",
    "gone": "#c2cad2",
}  # fmt: skip
"""The colours of the light theme in the report's style.css."""
DARK = LIGHT | {
    "paper": "#11151a", "ink": "#e6eaee", "soft": "#9ba7b3", "line": "#2d3640",
    "c1": "#56b4e9", "c2": "#f08a4b", "c3": "#2fc79a",
}  # fmt: skip
SANS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'DejaVu Sans', sans-serif"
MONO = "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
LETTER = 0.56
"""Mean width of a letter, as a share of its size."""
Point = tuple[float, float]


class Sheet:
    """The drawing so far. x grows to the right, y downwards, in pixels."""

    def __init__(self, *, variables: bool = False) -> None:
        self._parts: list[str] = []
        self._variables = variables

    def text(
        self,
        x: float,
        y: float,
        words: str,
        *,
        size: float = 13,
        fill: str = "ink",
        anchor: str = "start",
        weight: str = "",
        mono: bool = False,
        halo: bool = False,
    ) -> None:
        """A line of words on the base line `y`. `halo`: keep it readable on top of other shapes."""
        if not words:
            return
        style = f' font-weight="{weight}"' if weight else ""
        style += f' font-family="{MONO}"' if mono else ""
        style += f' text-anchor="{anchor}"' if anchor != "start" else ""
        paint = self._paint("fill", fill)
        if halo:
            around = "var(--paper)" if self._variables else LIGHT["paper"]
            style += f' stroke="{around}" stroke-width="3" paint-order="stroke"'
        self._parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" {paint}{style}>'
            f"{_clean(words)}</text>"
        )

    def paragraph(self, x: float, y: float, words: str, width: float, *, size: float = 13) -> float:
        """Words, wrapped to `width`, from `y` down; returns the y of their end."""
        for line in wrap(words, width, size):
            y += 1.45 * size
            self.text(x, y - 0.35 * size, line, size=size, fill="soft")
        return y

    def rect(self, x: float, y: float, width: float, height: float, fill: str) -> None:
        """A filled rectangle; an empty one is not drawn."""
        if width > 0 and height > 0:
            self._parts.append(
                f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" '
                f"{self._paint('fill', fill)}/>"
            )

    def line(
        self, start: Point, end: Point, stroke: str, *, dash: str = "", width: float = 1
    ) -> None:
        """A straight line; `dash`: lengths of its strokes and gaps."""
        (x1, y1), (x2, y2) = start, end
        self._parts.append(
            f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
            f'{self._paint("stroke", stroke)} stroke-width="{width:g}"{_dashed(dash)}/>'
        )

    def curve(self, points: Sequence[Point], stroke: str, *, dash: str = "") -> None:
        """A line through points."""
        places = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self._parts.append(
            f'<polyline points="{places}" fill="none" {self._paint("stroke", stroke)} '
            f'stroke-width="2"{_dashed(dash)}/>'
        )

    def dot(self, x: float, y: float, shape: int, fill: str, *, title: str = "") -> None:
        """A circle, square or triangle (`shape` modulo 3). `title` shows under the mouse."""
        paint = self._paint("fill", fill)
        match shape % 3:
            case 0:
                mark = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" {paint}/>'
            case 1:
                mark = f'<rect x="{x - 3.5:.1f}" y="{y - 3.5:.1f}" width="7" height="7" {paint}/>'
            case _:
                mark = f'<path d="M{x:.1f} {y - 4.8:.1f}l4.8 8.2h-9.6z" {paint}/>'
        self._parts.append(f"<g><title>{_clean(title)}</title>{mark}</g>" if title else mark)

    def place(self, sheet: Sheet, x: float, y: float) -> None:
        """Another sheet, with its upper left corner at (x, y)."""
        self._parts.append(f'<g transform="translate({x:g} {y:g})">{"".join(sheet._parts)}</g>')

    def piece(self, width: float, height: float, label: str) -> str:
        """An SVG element for a page; it fills the width of its place."""
        return (
            f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(label)}" '
            f'style="width:100%;height:auto">{"".join(self._parts)}</svg>'
        )

    def document(self, width: float, height: float, title: str) -> str:
        """An SVG file."""
        style = f"<style>{STYLE}</style>" if self._variables else ""
        paper = self._paint("fill", "paper")
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:.0f}" '
            f'viewBox="0 0 {width:g} {height:.0f}" font-family="{SANS}" role="img">'
            f"<title>{_clean(title)}</title>{style}"
            f'<rect width="100%" height="100%" {paper}/>{"".join(self._parts)}</svg>\n'
        )

    def _paint(self, what: str, colour: str) -> str:
        if self._variables:
            return f'style="{what}:var(--{colour})"'
        return f'{what}="{LIGHT[colour]}"'


def _variables(colours: dict[str, str]) -> str:
    return "".join(f"--{name}:{value};" for name, value in colours.items())


STYLE = (
    f":root{{color-scheme:light dark;{_variables(LIGHT)}}}"
    f"@media (prefers-color-scheme:dark){{:root{{{_variables(DARK)}}}}}"
)
"""The style of a file whose colours are CSS variables."""


def _dashed(dash: str) -> str:
    return f' stroke-dasharray="{dash}"' if dash else ""


def _clean(words: str) -> str:
    """Words without the control characters that XML forbids, and escaped."""
    return escape("".join(filter(str.isprintable, words)))


def measure(words: str, size: float) -> float:
    """The approximate width of words, in pixels."""
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
    """Words in lines of at most `width` pixels. A longer word has a line of its own."""
    lines: list[str] = []
    for word in words.split():
        if lines and measure(f"{lines[-1]} {word}", size) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines
