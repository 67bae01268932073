"""Figures as files: the same numbers as on the page, well-formed, nothing outside the sheet."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laion_hpc.charts.drawing import WIDTH, draw
from laion_hpc.charts.funnel import Funnel
from laion_hpc.charts.panels import Figure, Panel
from laion_hpc.charts.shapes import Bar, Bars, Bin, Histogram, Mark, Stack
from laion_hpc.charts.sheet import clip, measure, wrap
from laion_hpc.cli import main
from laion_hpc.config import Config, load
from laion_hpc.run.report.data import Run, StageTotals, gather
from laion_hpc.run.report.funnel import steps
from laion_hpc.run.report.page import FIGURES, figures_of
from tests.run.report.synthetic import CRAWL, make_run

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def crawl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("drawing")
    make_run(root, links=500)
    return root / CRAWL


@pytest.fixture(scope="module")
def run(crawl: Path) -> Run:
    return gather(crawl, load(None), samples=0)


def words(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def rectangles(svg: str, fill: str) -> list[dict[str, float]]:
    return [
        {name: float(element.attrib[name]) for name in ("x", "y", "width", "height")}
        for element in ElementTree.fromstring(svg).iter(f"{SVG}rect")
        if element.attrib["fill"] == fill and "x" in element.attrib
    ]


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_says_what_the_page_says(run: Run, name: str) -> None:
    figure = figures_of(run)[name]
    assert figure is not None
    svg = draw(figure, FIGURES[name])
    said = " ".join(words(svg))
    assert FIGURES[name] in said
    for panel in figure.panels:
        assert panel.title in said
        if isinstance(panel.chart, Bars):
            assert all(row.value in said for row in panel.chart.rows)
        elif isinstance(panel.chart, Histogram):
            assert all(label in said for _, label in panel.chart.marks_shown())
        elif isinstance(panel.chart, Funnel):
            reasons = [one for step in panel.chart.steps for one in step.reasons]
            assert len(reasons) > 10
            assert all(one.name in said and one.count in said for one in reasons)
    # Nothing is drawn off the sheet.
    root = ElementTree.fromstring(svg)
    height = float(root.attrib["height"])
    for element in root.iter():
        if "x" in element.attrib:
            right = float(element.attrib["x"]) + float(element.attrib.get("width", 0))
            bottom = float(element.attrib["y"]) + float(element.attrib.get("height", 0))
            assert 0 <= right <= WIDTH
            assert 0 <= bottom <= height


def test_shapes_are_as_large_as_their_counts() -> None:
    bars = Bars([Bar("a", 40), Bar("b", 10)])
    svg = draw(Figure([Panel("Bars", bars)]), "title")
    long, short = (one["width"] for one in rectangles(svg, "#0072b2"))
    assert short == pytest.approx(long / 4, abs=0.2)
    bins = [Bin(0, 1, 100), Bin(1, 2, 25), Bin(2, 4, 0)]
    plot = Histogram(bins, ticks=[(0, "0")], name="a plot", marks=[Mark(1, "limit")])
    svg = draw(Figure([Panel("Plot", plot)]), "title")
    high, low = (one["height"] for one in rectangles(svg, "#0072b2"))
    assert low == pytest.approx(high / 4, abs=0.2)
    parts = Stack([Bar("a", 3, tone="c1"), Bar("b", 1, tone="c2")])
    svg = draw(Figure([], top=parts), "title")
    wide, narrow = (rectangles(svg, fill)[0]["width"] for fill in ("#0072b2", "#d55e00"))
    assert narrow + 2 == pytest.approx((wide + 2) / 3, abs=0.2)


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    (tmp_path / "mine" / "extract").mkdir(parents=True)
    made = figures_of(gather(tmp_path / "mine", Config(), samples=0))
    assert set(made) == set(FIGURES)
    assert set(made.values()) == {None}
    assert "Nothing to show" in draw(None, "Languages")


@given(st.text(), st.integers(0, 10**12))
def test_any_words_make_well_formed_figures(label: str, count: int) -> None:
    totals = StageTotals("download", "urls", 1, count + 1, 1, Counter({label: count}))
    panels = [
        Panel(label, Bars([Bar(label, count, label)]), label, label),
        Panel("", Histogram([Bin(0, 1, count)], [(0, label)], label, [Mark(0.5, label)])),
        Panel("", Funnel(steps([totals]))),
    ]
    svg = draw(Figure(panels, label, Stack([Bar(label, count)])), label)
    ElementTree.fromstring(svg)
    assert svg.encode()


@given(st.text(), st.integers(20, 400))
def test_words_are_kept_within_their_width(words: str, width: int) -> None:
    assert measure(clip(words, width, 12), 12) <= width
    lines = wrap(words, width, 12)
    assert " ".join(lines).split() == words.split()
    assert all(measure(line, 12) <= width for line in lines if " " in line)


def test_the_command_writes_every_figure(crawl: Path, tmp_path: Path) -> None:
    command = ["report", str(crawl), "--output", str(tmp_path / "page.html"), "--samples", "0"]
    assert main([*command, "--figures", str(tmp_path / "figures")]) == 0
    made = {path.stem for path in (tmp_path / "figures").iterdir()}
    assert made == set(FIGURES)
