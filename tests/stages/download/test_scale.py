"""Scaling is Pillow's bicubic, whoever does it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from laion_hpc.stages.download import scale
from tests.stages.download.pictures import difference, photo

SIDES = st.tuples(st.integers(1, 200), st.integers(1, 200))


@settings(deadline=None)
@given(SIDES, SIDES)
def test_close_to_pillow_at_any_size(before: tuple[int, int], after: tuple[int, int]) -> None:
    image = photo(*(max(side, 8) for side in before)).crop((0, 0, *before))
    found = scale.scaled(image, after)
    expected = image.resize(after, Image.Resampling.BICUBIC)
    assert (found.mode, found.size) == ("RGB", after)
    shrinks = before[0] >= after[0] and before[1] >= after[1]
    assert difference(found, expected) <= (1 if shrinks else 0)


def test_the_same_size_is_the_same_image() -> None:
    image = photo()
    assert scale.scaled(image, image.size) is image


def test_by_pillow_where_there_is_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scale, "_resizer", None)
    image = photo()
    expected = image.resize((50, 40), Image.Resampling.BICUBIC)
    assert scale.scaled(image, (50, 40)).tobytes() == expected.tobytes()


def test_the_bytes_do_not_depend_on_the_processor() -> None:
    resizer = pytest.importorskip("cykooz_resizer", reason="has no build for this processor")
    image = photo(517, 389)
    found = set()
    for extension in resizer.CpuExtensions:
        own = resizer.Resizer()
        try:
            own.cpu_extensions = extension
        except ValueError:
            continue  # of another kind of processor
        for size in ((341, 256), (99, 700), (3, 2)):
            out = Image.new("RGB", size)
            own.resize_pil(image, out, scale._bicubic)
            found.add((size, out.tobytes()))
    assert len(found) == 3
