"""The page: header, sections, style, in one self-contained piece of HTML."""

from __future__ import annotations

from html import escape
from importlib.resources import files

from laion_hpc import __version__
from laion_hpc.config import READS, digest
from laion_hpc.report import figures, funnel, tables
from laion_hpc.report.charts import short
from laion_hpc.report.data import Run

SECTIONS = (
    ("funnel", "From links to samples", funnel.section),
    ("download", "Downloads", figures.download),
    ("similarity", "Similarity of image and text", figures.similarity),
    ("languages", "Languages", figures.languages),
    ("sizes", "Image sizes and text lengths", tables.sizes),
    ("scores", "Scores", figures.scores),
    ("hosts", "Hosts", figures.hosts),
    ("licenses", "Licences", figures.licenses),
    ("subsets", "Splits and subsets", tables.subsets),
    ("index", "Search index", tables.index),
    ("throughput", "Throughput", tables.throughput),
    ("samples", "Samples", tables.samples),
)


def page(run: Run) -> str:
    """The whole document. Sections without data are left out, and named at the end."""
    made = [(anchor, title, write(run)) for anchor, title, write in SECTIONS]
    style = files("laion_hpc.report").joinpath("style.css").read_text(encoding="utf-8")
    title = escape(run.config.release.title)
    nav = "".join(f'<a href="#{anchor}">{name}</a>' for anchor, name, body in made if body)
    body = "".join(
        f'<section id="{anchor}"><h2>{name}</h2>{html}</section>'
        for anchor, name, html in made
        if html
    )
    missing = [name for _, name, html in made if not html]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title} · {escape(run.crawl)}</title><style>\n{style}</style></head>"
        f"<body><main><header><h1>{title}</h1>"
        f'<p class="lead">Crawl <code>{escape(run.crawl)}</code>, made by laion-hpc '
        f"{__version__}.</p>{_tiles(run)}<nav>{nav}</nav></header>\n{body}"
        f"{_footer(run, missing)}</main></body></html>\n"
    )


def _tiles(run: Run) -> str:
    found: list[tuple[str, str]] = []
    for name, what in (
        ("extract", "image links read"),
        ("shuffle", "different links with a text"),
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
        f"<p>Not here, because the stage has not run or measured nothing: {', '.join(missing)}.</p>"
        if missing
        else ""
    )
    return f"<footer>{absent}<p>Digests of the config by stage: {digests}.</p></footer>"
