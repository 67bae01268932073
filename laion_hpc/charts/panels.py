"""A figure of the report: panels with a chart each, their headings and captions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Protocol

from laion_hpc.charts.shapes import Stack


class Chart(Protocol):
    """What can stand in a panel; `drawing` must know how to draw it, too."""

    def html(self) -> str:
        """The chart for the page; nothing if it is empty."""
        ...


@dataclass(frozen=True)
class Panel:
    """A chart with its heading (`code`: it is a name, such as of a column) and its caption."""

    title: str
    chart: Chart
    caption: str = ""
    note: str = ""
    """Beside the heading, smaller."""
    code: bool = False

    def html(self) -> str:
        """For the page; nothing if the chart is empty."""
        heading = escape(self.title)
        heading = f"<code>{heading}</code>" if self.code else heading
        if self.note:
            heading += f" <small>{escape(self.note)}</small>"
        return figure(heading, self.chart.html(), escape(self.caption))


@dataclass(frozen=True)
class Figure:
    """All panels on one subject; made once, then shown in the page and drawn as a file."""

    panels: Sequence[Panel]
    lead: str = ""
    """What it shows, in a sentence or two."""
    top: Stack | None = None
    """Above the panels."""
    columns: int = 2

    def html(self) -> str:
        """For the page: panels beside each other where there is room."""
        lead = f"<p>{escape(self.lead)}</p>" if self.lead else ""
        body = "".join(panel.html() for panel in self.panels)
        kind = {1: "one", 3: "three"}.get(self.columns, "")
        return lead + (self.top.html() if self.top else "") + side_by_side(body, kind=kind)


def figure(heading: str, body: str, caption: str = "") -> str:
    """A piece of HTML with its heading and caption; nothing if it has no body."""
    if not body:
        return ""
    above = f"<h3>{heading}</h3>" if heading else ""
    below = f"<figcaption>{caption}</figcaption>" if caption else ""
    return f"<figure>{above}{body}{below}</figure>"


def side_by_side(*figures: str, kind: str = "") -> str:
    """Figures of HTML beside each other where there is room; nothing if there are none."""
    body = "".join(figures)
    return f'<div class="figures {kind}">{body}</div>' if body else ""
