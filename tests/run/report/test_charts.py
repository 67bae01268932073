import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laion_hpc.charts.shapes import Bar, Bars, Bin, Histogram, Mark, Stack, nice_ceiling, short


class Balanced(HTMLParser):
    """Fails unless every element is closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in ("rect", "img", "meta", "link", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag != "rect":
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def well_formed(html: str) -> Balanced:
    parser = Balanced()
    parser.feed(html)
    parser.close()
    assert not parser.open
    return parser


def widths(html: str) -> list[float]:
    return [float(found) for found in re.findall(r"width:([\d.]+)%", html)]


def test_bars_are_as_long_as_their_counts() -> None:
    html = Bars([Bar("a", 40), Bar("b", 10, "20%"), Bar("c", 0)]).html()
    assert widths(html) == [100, 25, 0]
    assert "log scale" not in html
    assert "20%" in well_formed(html).text


def test_bars_far_apart_are_on_a_log_scale_and_say_so() -> None:
    html = Bars([Bar("a", 99_999), Bar("b", 99), Bar("c", 0)]).html()
    assert widths(html) == [100, 40, 0]
    assert "log scale" in html
    assert widths(Bars([Bar("a", 1000), Bar("b", 1)], log=False).html()) == [100, 0.1]
    assert Bars([]).html() == ""


@given(st.text(), st.integers(0, 10**12))
def test_labels_are_escaped(label: str, count: int) -> None:
    for chart in (Bars([Bar(label, count, label)]), Stack([Bar(label, count)])):
        assert "<script" not in chart.html().lower()
        well_formed(chart.html())
    assert "&lt;script&gt;" in Bars([Bar("<script>", 1)]).html()


def test_a_stack_is_cut_in_proportion() -> None:
    html = Stack([Bar("a", 3), Bar("b", 1, tone="c2")]).html()
    assert widths(html) == [75, 25]
    assert "75.0%" in html


def test_a_histogram_has_its_bars_marks_and_ticks_in_place() -> None:
    html = Histogram(
        [Bin(0, 1, 100), Bin(1, 2, 25, "gone"), Bin(2, 4, 0)],
        ticks=[(0, "zero"), (2, "two"), (9, "outside")],
        marks=[Mark(1, "limit"), Mark(7, "outside too")],
        name="a plot",
    ).html()
    heights = [float(found) for found in re.findall(r' height="([\d.]+)"', html)]
    assert heights == [100, 25, 0]
    assert re.findall(r'x="([\d.]+)" y', html) == ["0.000", "25.000", "50.000"]
    assert "outside" not in html
    assert 'left:25.00%"><em>limit' in html
    assert 'aria-label="a plot"' in html
    well_formed(html)
    assert Histogram([], ticks=[], name="").html() == ""


@given(st.floats(0, 1e12))
def test_the_top_of_an_axis_is_just_above(value: float) -> None:
    top = nice_ceiling(value)
    assert value <= top <= max(2, 1.5 * value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (950, "950"),
        (9_999, "9,999"),
        (12_000, "12 k"),
        (20_332, "20.3 k"),
        (3_400_000, "3.4 M"),
        (5_850_000_000, "5.8 B"),
        (250_000_000, "250 M"),
    ],
)
def test_short_numbers(value: float, text: str) -> None:
    assert short(value) == text
