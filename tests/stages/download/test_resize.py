"""The five resize modes, as arithmetic."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laion_hpc.stages.download.resize import MODES, plan_resize

sides = st.integers(1, 20_000)


def result(original: tuple[int, int], mode: str, side: int, only: bool) -> tuple[int, int]:
    plan = plan_resize(original, mode, side, only)
    if plan.crop is not None:
        left, upper, right, lower = plan.crop
        assert 0 <= left < right <= plan.scaled[0] and 0 <= upper < lower <= plan.scaled[1]
        return right - left, lower - upper
    return plan.canvas or plan.scaled


@pytest.mark.parametrize(
    ("mode", "size"),
    [
        ("no", (400, 300)),
        ("keep_ratio", (341, 256)),
        ("keep_ratio_largest", (256, 192)),
        ("center_crop", (256, 256)),
        ("border", (256, 256)),
    ],
)
def test_the_modes(mode: str, size: tuple[int, int]) -> None:
    assert result((400, 300), mode, 256, True) == size
    assert result((300, 400), mode, 256, True) == size[::-1]


@given(sides, sides, st.sampled_from(MODES), st.integers(8, 1_024), st.booleans())
def test_sizes(width: int, height: int, mode: str, side: int, only: bool) -> None:
    size = result((width, height), mode, side, only)
    assert min(size) >= 1
    reference = min if mode in ("keep_ratio", "center_crop") else max
    if mode == "no" or (only and reference(width, height) <= side):
        assert size == (width, height)
        assert not plan_resize((width, height), mode, side, only).changes
    elif mode in ("center_crop", "border"):
        assert size == (side, side)
    else:
        assert reference(size) == side
        # The ratio is kept as well as whole pixels can.
        assert abs(size[0] * height - size[1] * width) <= max(width, height)
    # Width and height are treated alike.
    assert result((height, width), mode, side, only) == size[::-1]


@given(sides, sides, st.sampled_from(MODES), st.integers(8, 1_024))
def test_never_enlarges_when_told_so(width: int, height: int, mode: str, side: int) -> None:
    plan = plan_resize((width, height), mode, side, True)
    assert plan.scaled[0] <= width and plan.scaled[1] <= height


def test_an_unknown_mode_is_an_error() -> None:
    with pytest.raises(ValueError, match="stretch"):
        plan_resize((1, 1), "stretch", 256, True)
