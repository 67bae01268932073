import re
from typing import Any
from xml.etree import ElementTree

from laion_hpc.charts import recall_plot
from laion_hpc.charts.recall_plot import HEIGHT, WIDTH, document, figure, panels
from laion_hpc.charts.sheet import STYLE

NPROBES = (1, 2, 4)
EVALUATION: dict[str, Any] = {
    "modality": "image",
    "queries": {"image": 100, "text": 50},
    "target_recall": 0.95,
    "nprobe": 4,
    "recall": [
        {
            "nprobe": nprobe,
            "image": {"1": 0.7 + nprobe / 20, "10": 0.75 + nprobe / 20, "100": 0.9},
            "text": {"1": 0.3, "10": 0.2, "100": 0.1},
        }
        for nprobe in NPROBES
    ],
}
STATS = {"latency": [{"nprobe": 1, "p50_ms": 0.123}, {"nprobe": 4, "p50_ms": 1.26}]}
SVG = "{http://www.w3.org/2000/svg}"


def drawn(html: str) -> ElementTree.Element:
    return ElementTree.fromstring(html)


def heights(html: str) -> list[list[float]]:
    """The y of the points of each curve."""
    found = [one.attrib["points"].split() for one in drawn(html).iter("polyline")]
    return [[float(point.split(",")[1]) for point in points] for points in found]


def test_a_panel_for_each_kind_of_query_with_a_curve_for_each_depth() -> None:
    image, text = panels(EVALUATION, STATS)
    assert (image.title, text.title) == ("image → image", "text → image")
    assert list(image.curves) == [1, 10, 100]
    at_1, at_10, at_100 = heights(figure(image))
    assert at_1 > at_10  # lower on the page is higher as a number
    assert at_1 == sorted(at_1, reverse=True)
    assert len(set(at_100)) == 1
    assert all(0 < y < HEIGHT for ys in (at_1, at_10, at_100) for y in ys)


def test_equal_recalls_are_at_equal_heights_and_the_best_at_the_top() -> None:
    full = EVALUATION | {
        "queries": {"image": 1},
        "recall": [{"nprobe": n, "image": {"1": 1.0, "10": 0.95}} for n in NPROBES],
    }
    (panel,) = panels(full)
    html = figure(panel)
    top, lower = heights(html)
    assert set(top) == {recall_plot.TOP}
    # The line of the aim runs where recall@10 meets it.
    lines = [one for one in drawn(html).iter("line") if one.get("stroke-dasharray") == "1 3"]
    assert [float(one.attrib["y1"]) for one in lines] == [lower[0]]


def test_times_and_the_stored_choice_are_told() -> None:
    image, _ = panels(EVALUATION, STATS)
    words = [one.text for one in drawn(figure(image)).iter("text")]
    assert {"1", "2", "4", "0.12", "1.3", "ms", "stored", "target @10: 0.95"} <= set(words)
    assert "recall@10 0.9500 with 4 cells, 1.3 ms" in figure(image)
    assert "4 cells searched: @1 0.900, @10 0.950" in figure(image)
    bare, _ = panels(EVALUATION)
    assert "ms" not in [one.text for one in drawn(figure(bare)).iter("text")]


def test_a_file_of_its_own_holds_all_panels_and_its_colours() -> None:
    data = document(panels(EVALUATION))
    root = ElementTree.fromstring(data)
    assert len(list(root.iter(f"{SVG}polyline"))) == 6
    width, height = map(float, root.attrib["viewBox"].split()[2:])
    assert width >= 2 * WIDTH
    assert height >= HEIGHT
    used = set(re.findall(r"var\((--\w+)\)", data.decode()))
    assert used <= set(re.findall(r"(--\w+):", STYLE))
    assert data == document(panels(EVALUATION))


def test_one_step_alone_is_drawn() -> None:
    one = EVALUATION | {"nprobe": 1, "recall": EVALUATION["recall"][:1]}
    assert all(len(ys) == 1 for panel in panels(one) for ys in heights(figure(panel)))
