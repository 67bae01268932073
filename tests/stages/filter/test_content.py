"""The content filter's decisions, on vectors made for the purpose."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from laion_hpc.errors import UsageError
from laion_hpc.stages.filter.content import (
    ContentFilter,
    Prompts,
    load_prompts,
    looked_for_among_nearest,
    names_a_minor,
)

PROMPTS = Prompts(
    neutral=("n0", "n1"), unsafe=("u0", "u1"), minor=("m0",), adult=("a0", "a1"),
    animal=("z0",), thing=("t0",),
)  # fmt: skip
PROMPT_NAMES = ("n0", "n1", "u0", "u1", "m0", "a0", "a1", "z0", "t0")
AXES = {name: axis for axis, name in enumerate(PROMPT_NAMES)}


def embed(texts: Sequence[str]) -> NDArray[np.float32]:
    return np.eye(len(AXES), dtype=np.float32)[[AXES[text] for text in texts]]


def judged(near: dict[str, float], text: str = "") -> tuple[str, bool]:
    """The verdict on one image with these cosines to the prompts."""
    image = np.zeros((1, len(AXES)), np.float32)
    for name, cosine in near.items():
        image[0, AXES[name]] = cosine
    nsfw, drop = ContentFilter(PROMPTS, embed).judge(image, [text])
    return nsfw[0], bool(drop[0])


ADULT = {"a0": 0.5, "a1": 0.4, "t0": 0.3}


@pytest.mark.parametrize(
    ("near", "text", "expected"),
    [
        ({"n0": 0.5, "n1": 0.4, "u0": 0.3} | ADULT, "a child", ("UNLIKELY", False)),
        ({"n0": 0.5, "u1": 0.4, "n1": 0.3} | ADULT, "a man", ("UNSURE", False)),
        ({"u0": 0.5, "u1": 0.4, "n0": 0.3} | ADULT, "a man", ("NSFW", False)),
        # a minor among the two nearest ages
        ({"n0": 0.5, "u1": 0.4, "a0": 0.5, "m0": 0.4, "t0": 0.3}, "", ("UNSURE", True)),
        ({"u0": 0.5, "u1": 0.4, "m0": 0.5, "a0": 0.4, "t0": 0.3}, "", ("NSFW", True)),
        ({"n0": 0.5, "n1": 0.4, "m0": 0.5, "a0": 0.4, "t0": 0.3}, "", ("UNLIKELY", False)),
        # a word in the text
        ({"u0": 0.5, "u1": 0.4} | ADULT, "Two TEENagers", ("NSFW", True)),
        # an animal nearer than any thing
        ({"u0": 0.5, "u1": 0.4, "z0": 0.4} | ADULT, "", ("NSFW", True)),
        ({"n0": 0.5, "n1": 0.4, "z0": 0.4} | ADULT, "", ("UNLIKELY", False)),
    ],
)
def test_verdicts(near: dict[str, float], text: str, expected: tuple[str, bool]) -> None:
    assert judged(near, text) == expected


@given(
    st.lists(st.lists(st.floats(-1, 1, width=32), min_size=5, max_size=5), min_size=1, max_size=8),
    st.integers(1, 4),
    st.integers(1, 3),
)
def test_nearest_agrees_with_sorting(rows: list[list[float]], split: int, nearest: int) -> None:
    cosines = np.array(rows, np.float32)
    found = looked_for_among_nearest(cosines[:, :split], cosines[:, split:], nearest)
    for row, count in zip(rows, found, strict=True):
        best = sorted(range(5), key=lambda i: (-row[i], i))[:nearest]
        assert count == sum(i < split for i in best)


def test_words() -> None:
    assert names_a_minor("BABYSITTER wanted", ("baby",))
    assert not names_a_minor("an adult", ("baby", "kid"))
    assert not names_a_minor("a baby", ())


def test_preset_is_whole() -> None:
    prompts = load_prompts("laion400m")
    assert prompts is not None
    # LAION's script ran two prompts into one for want of a comma: 35 must be 35
    assert len(prompts.neutral) + len(prompts.unsafe) == 35
    for wanted, against in prompts.rankings:
        assert len(set(wanted) | set(against)) == len(wanted) + len(against)
        assert min(len(wanted), len(against)) > 1
    assert prompts.minor_words == ("teen", "kid", "child", "baby")
    assert load_prompts("off") is None


def test_own_prompts(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("neutral: [calm scene, empty room]\nunsafe: [hazard sign]\nminor_words: []\n")
    prompts = load_prompts(str(path))
    assert prompts is not None
    # without prompts of minors or animals those rules drop nothing
    vectors = {"calm scene": 0, "empty room": 1, "hazard sign": 2}

    def embed_three(texts: Sequence[str]) -> NDArray[np.float32]:
        return np.eye(3, dtype=np.float32)[[vectors[text] for text in texts]].reshape(-1, 3)

    images = np.array([[0, 0.4, 0.5], [0.4, 0.5, 0]], np.float32)
    nsfw, drop = ContentFilter(prompts, embed_three).judge(images, ["a child", "a child"])
    assert nsfw == ["UNSURE", "UNLIKELY"]
    assert not drop.any()
    assert prompts.digest != prompts.model_copy(update={"unsafe": ("other",)}).digest


@pytest.mark.parametrize(
    "text", ["neutral: [a, b]\n", "neutral: [a, b]\nunsafe: [c]\nunsave: [d]\n", "neutral: ["]
)
def test_bad_prompts_are_named(text: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"filter\.zero_shot: .*mine\.yaml"):
        load_prompts(str(path))
    with pytest.raises(UsageError, match="no such file"):
        load_prompts(str(tmp_path / "none.yaml"))
