"""The page: header, sections and style in one HTML file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import escape
from importlib.resources import files

from laion_hpc import __version__
from laion_hpc.charts.panels import Figure
from laion_hpc.charts.shapes import short
from laion_hpc.config import READS, digest
from laion_hpc.run.report import figures, funnel, tables
from laion_hpc.run.report.data import Run


@dataclass(frozen=True)
class Section:
    """A section of the page: a figure, and HTML below it. The figure is a file, too."""

    anchor: str
    title: str
    figure: Callable[[Run], Figure | None] | None = None
    html: Callable[[Run], str] | None = None


SECTIONS = (
    Section("funnel", "From links to samples", funnel.figure),
    Section("download", "Downloads", figures.download),
    Section("similarity", "Similarity of image and text", figures.similarity),
    Section("languages", "Languages", figures.languages),
    Section("sizes", "Image sizes and text lengths", figures.sizes, tables.quantiles),
    Section("scores", "Scores", figures.scores),
    Section("hosts", "Hosts", figures.hosts),
    Section("licenses", "Licences", figures.licenses),
    Section("subsets", "Splits and subsets", tables.parts, tables.subsets),
    Section("index", "Search index", html=tables.index),
    Section("throughput", "Throughput", tables.cost, tables.throughput),
    Section("samples", "Samples", html=tables.samples),
)
FIGURES = {section.anchor: section.title for section in SECTIONS if section.figure}
"""Name and title of every figure that is a file, too."""


def figures_of(run: Run) -> dict[str, Figure | None]:
    """The figures of a run by name; None where there is no data for one."""
    return {one.anchor: one.figure(run) for one in SECTIONS if one.figure}


def page(run: Run, made: Mapping[str, Figure | None] | None = None) -> str:
    """The whole document. Sections without data are left out, and named at the end.

    `made`: the figures, where they have been made already.
    """
    drawn = figures_of(run) if made is None else made
    bodies = {one: _body(one, run, drawn.get(one.anchor)) for one in SECTIONS}
    style = files("laion_hpc.run.report").joinpath("style.css").read_text(encoding="utf-8")
    title = escape(run.config.release.title)
    shown = {one: body for one, body in bodies.items() if body}
    nav = "".join(f'<a href="#{one.anchor}">{one.title}</a>' for one in shown)
    body = "".join(
        f'<section id="{one.anchor}"><h2>{one.title}</h2>{html}</section>'
        for one, html in shown.items()
    )
    missing = [one.title for one in SECTIONS if one not in shown]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title} · {escape(run.crawl)}</title><style>\n{style}</style></head>"
        f"<body><main><header><h1>{title}</h1>"
        f'<p class="lead">Crawl <code>{escape(run.crawl)}</code>, made by laion-hpc '
        f"{__version__}.</p>{_tiles(run)}<nav>{nav}</nav></header>\n{body}"
        f"{_footer(run, missing)}</main></body></html>\n"
    )


def _body(section: Section, run: Run, figure: Figure | None) -> str:
    return (figure.html() if figure else "") + (section.html(run) if section.html else "")


def _tiles(run: Run) -> str:
    found: list[tuple[str, str]] = []
    for name, what in (
        ("extract", "image links read"),
        ("shuffle", "distinct links with a text"),
        ("download", "images downloaded"),
        ("release", "samples released"),
    ):
        totals = run.stage(name)
        if totals is not None:
            found.append((short(totals.inputs if name == "extract" else totals.kept), what))
    if run.statistics:
        whole = run.statistics["datasets"]["all"]
        named = [one for one in whole["languages"] if one["language"] != "nolang"]
        found.append((str(len(named)), "languages"))
        found.append((short(whole["distinct_hosts"]), "hosts"))
    tiles = "".join(f"<li><b>{number}</b><span>{what}</span></li>" for number, what in found)
    return f'<ul class="tiles">{tiles}</ul>' if tiles else ""


def _footer(run: Run, missing: list[str]) -> str:
    digests = ", ".join(
        f"{stage} <code>{digest(run.config, stage)}</code>" for stage in READS if stage != "search"
    )
    absent = (
        f"<p>Missing, because the stage has not run or measured nothing: {', '.join(missing)}.</p>"
        if missing
        else ""
    )
    return f"<footer>{absent}<p>Config digest of each stage: {digests}.</p></footer>"
