"""Boxes are blurred, nothing else is, and what cannot be read is not kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageChops

from laion_hpc.cli import main
from laion_hpc.files import ledger
from laion_hpc.files.shards import read_shard
from laion_hpc.stages.download.blur import are_boxes, blur
from laion_hpc.stages.download.image import make_picture
from tests.stages.download.pictures import encoded, rules, stored
from tests.stages.download.web import write_config
from tests.web.hostile import Server, response


def stripes(width: int = 400, height: int = 300) -> Image.Image:
    """Lines of a pixel, which any blur turns grey."""
    image = Image.new("L", (2, 1))
    image.putpixel((1, 0), 255)
    tile = Image.new("L", (width, height))
    for x in range(0, width, 2):
        tile.paste(image.resize((2, height), Image.Resampling.NEAREST), (x, 0))
    return tile.convert("RGB")


def contrast(image: Image.Image, box: tuple[int, int, int, int]) -> int:
    low, high = image.convert("L").crop(box).getextrema()
    return int(high) - int(low)  # type: ignore[arg-type]


def test_inside_is_grey_and_outside_untouched() -> None:
    image = stripes()
    blurred = blur(image, [[0.25, 0.25, 0.5, 0.75]])
    assert contrast(blurred, (110, 90, 190, 210)) < 20
    # A tenth of 150 pixels of growth, and three sigma of 15 for the soft edge.
    changed = ImageChops.difference(image, blurred).getbbox()
    assert changed is not None
    left, top, right, bottom = changed
    assert left >= 100 - 15 - 60 and right <= 200 + 15 + 60
    assert top >= 75 - 15 - 60 and bottom <= 225 + 15 + 60
    assert contrast(blurred, (300, 0, 400, 300)) == 255


def test_no_boxes_no_change() -> None:
    image = stripes()
    assert blur(image, []) is image


@given(
    st.lists(
        st.lists(st.floats(-2, 3, width=32), min_size=4, max_size=4).map(
            lambda n: [min(n[0], n[2]), min(n[1], n[3]), max(n[0], n[2]), max(n[1], n[3])]
        ),
        max_size=4,
    )
)
def test_any_boxes(boxes: list[list[float]]) -> None:
    assert are_boxes(boxes)
    assert blur(stripes(40, 30), boxes).size == (40, 30)


@pytest.mark.parametrize(
    "boxes",
    [[[0, 0, 1]], [[0, 0, 1, float("nan")]], [[0.5, 0, 0.4, 1]], [[None, 0, 1, 1]], [5], "x"],
)
def test_boxes_that_cannot_be_read(boxes: Any) -> None:
    picture = make_picture(encoded(stripes()), rules(), boxes=boxes)
    assert (picture.reason, picture.image) == ("bad_boxes", b"")
    assert picture.sha256


def test_blurred_after_turning_and_before_scaling() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    body = encoded(stripes(300, 400), quality=100, exif=exif)
    keep = rules(resize_mode="no", encode_format="png", skip_reencode=True)
    picture = make_picture(body, keep, boxes=[[0, 0, 0.5, 1]])
    image = stored(picture.image)
    assert image.size == (400, 300)
    assert contrast(image, (20, 110, 150, 190)) < 20
    assert contrast(image, (330, 0, 400, 300)) > 200


def test_a_picture_with_boxes_is_never_stored_as_it_came() -> None:
    body = encoded(stripes(200, 200), "JPEG")
    keep = rules(skip_reencode=True, resize_mode="no")
    assert make_picture(body, keep).image == body
    assert make_picture(body, keep, boxes=[[0, 0, 1, 1]]).image != body


def test_the_option(tmp_path: Path) -> None:
    body = encoded(stripes(), "PNG")
    with Server({"*": response(body), "/robots.txt": response(b"")}) as server:
        boxes = [[[0.0, 0.0, 1.0, 1.0]], [], None, [[0.0, 0.0, 1.0, float("nan")]]]
        table = pa.table({"url": [f"{server.url}/{n}" for n in range(4)], "faces": boxes})
        data = tmp_path / "u.parquet"
        pq.write_table(table, data)
        config = write_config(tmp_path, min_bytes=0, encode_format="png", resize_mode="no")
        arguments = ["download", str(data), "--output", str(tmp_path / "o"), "--config", config]
        assert main([*arguments, "--blur-column", "faces"]) == 0
        sizes = {
            sample.key: contrast(stored(sample.members["png"]), (150, 100, 250, 200))
            for sample in read_shard(tmp_path / "o" / "00000.tar")
        }
        assert sizes == {"0000000000": sizes["0000000000"], "0000000001": 255, "0000000002": 255}
        assert sizes["0000000000"] < 20
        manifest = ledger.read(tmp_path / "o" / "manifest.json")
        assert dict(manifest.dropped) == {"bad_boxes": 1}
        # Without the option other pictures come out: nothing is taken for done.
        assert main(arguments) == 0
        assert ledger.read(tmp_path / "o" / "manifest.json").kept == 4
        assert main([*arguments, "--blur-column", "none"]) == 2
        assert main([*arguments, "--blur-column", "url"]) == 1
