"""A figure of the report: panels, each with a heading, a chart and a caption."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Protocol

from laion_hpc.charts.shapes import Stack


class Chart(Protocol):
    """A chart in a panel. `drawing` has a function for each class of chart."""

    def html(self) -> str:
        """The chart as HTML; an empty string if it has no data."""
        ...


@dataclass(frozen=True)
class Panel:
    """A chart with its heading and caption. `code`: the heading is a name, such as of a column."""

    title: str
    chart: Chart
    caption: str = ""
    note: str = ""
    """Small text beside the heading."""
    code: bool = False

    def html(self) -> str:
        """The panel as HTML; an empty string if its chart has no data."""
        heading = escape(self.title)
        heading = f"<code>{heading}</code>" if self.code else heading
        if self.note:
            heading += f" <small>{escape(self.note)}</small>"
        return figure(heading, self.chart.html(), escape(self.caption))


@dataclass(frozen=True)
class Figure:
    """The panels on one subject. The page shows it, and it is drawn as a file."""

    panels: Sequence[Panel]
    lead: str = ""
    """One or two sentences on what it shows."""
    top: Stack | None = None
    """A bar above the panels."""
    columns: int = 2

    def html(self) -> str:
        """The figure as HTML; panels stand side by side where there is room."""
        lead = f"<p>{escape(self.lead)}</p>" if self.lead else ""
        body = "".join(panel.html() for panel in self.panels)
        kind = {1: "one", 3: "three"}.get(self.columns, "")
        return lead + (self.top.html() if self.top else "") + side_by_side(body, kind=kind)


def figure(heading: str, body: str, caption: str = "") -> str:
    """An HTML body with its heading and caption; an empty string if the body is empty."""
    if not body:
        return ""
    above = f"<h3>{heading}</h3>" if heading else ""
    below = f"<figcaption>{caption}</figcaption>" if caption else ""
    return f"<figure>{above}{body}{below}</figure>"


def side_by_side(*figures: str, kind: str = "") -> str:
    """HTML figures side by side where there is room; an empty string if there are none."""
    body = "".join(figures)
    return f'<div class="figures {kind}">{body}</div>' if body else ""
