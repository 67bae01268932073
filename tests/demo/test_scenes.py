"""Scenes: same arguments, same pixels; pictures of web-like size; every kind of thing drawn."""

from __future__ import annotations

import io
import random

import numpy as np
import pytest
from PIL import Image

from laion_hpc.demo.scenes import (
    BACKGROUNDS,
    COLOURS,
    LAYOUTS,
    SHAPES,
    Scene,
    Thing,
    random_scene,
    render,
)


def jpeg_bytes(image: Image.Image) -> int:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return len(buffer.getvalue())


def difference(a: Image.Image, b: Image.Image) -> float:
    """Mean absolute difference of two pictures, 0..255."""
    return float(np.abs(np.asarray(a, dtype=float) - np.asarray(b, dtype=float)).mean())


def test_random_scenes_use_everything() -> None:
    rng = random.Random(1)
    scenes = [random_scene(rng) for _ in range(2000)]
    assert {scene.layout for scene in scenes} == set(LAYOUTS)
    assert {scene.background for scene in scenes} == set(BACKGROUNDS)
    things = {thing for scene in scenes for thing in scene.things}
    assert {thing.shape for thing in things} == set(SHAPES)
    assert {thing.colour for thing in things} == set(COLOURS)


def test_two_objects_differ_in_shape_and_colour() -> None:
    rng = random.Random(2)
    for scene in (random_scene(rng) for _ in range(500)):
        assert len(scene.things) == (2 if scene.layout in ("left", "above") else 1)
        assert len({thing.shape for thing in scene.things}) == len(scene.things)
        assert len({thing.colour for thing in scene.things}) == len(scene.things)


def test_scenes_are_hashable_and_repeatable() -> None:
    first, second = (random_scene(random.Random(3)) for _ in range(2))
    assert first == second
    assert hash(first) == hash(second)


@pytest.mark.parametrize("overlay", [{}, {"watermark": True}, {"hazard": True}])
def test_same_arguments_same_pixels(overlay: dict[str, bool]) -> None:
    scene = random_scene(random.Random(4))
    first, second = (render(scene, seed=7, **overlay) for _ in range(2))
    assert first.mode == "RGB"
    assert first.size == (320, 320)
    assert first.tobytes() == second.tobytes()


def test_pixels_do_not_depend_on_what_was_rendered_before() -> None:
    scene = random_scene(random.Random(5))
    first = render(scene, seed=1)
    render(random_scene(random.Random(6)), seed=2, watermark=True)
    assert render(scene, seed=1).tobytes() == first.tobytes()


def test_another_seed_is_another_picture() -> None:
    scene = random_scene(random.Random(7))
    assert difference(render(scene, seed=1), render(scene, seed=2)) > 2


@pytest.mark.parametrize("background", BACKGROUNDS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_jpeg_size_is_that_of_a_photograph(background: str, layout: str) -> None:
    things = (Thing("star", "red"), Thing("fish", "blue"))
    scene = Scene(things[: 2 if layout in ("left", "above") else 1], layout, background)
    for seed in range(2):
        assert 8_000 < jpeg_bytes(render(scene, seed=seed)) < 50_000


@pytest.mark.parametrize("size", [16, 64, 200, 700])
def test_any_size(size: int) -> None:
    scene = random_scene(random.Random(8))
    image = render(scene, size=size, watermark=True, hazard=True, seed=3)
    assert image.size == (size, size)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("colour", COLOURS)
def test_an_object_shows_its_colour(shape: str, colour: str) -> None:
    image = render(Scene((Thing(shape, colour),), "alone", "checker"), size=128, seed=1)
    pixels = np.asarray(image, dtype=float).reshape(-1, 3)
    near = np.abs(pixels - np.array(COLOURS[colour])).max(axis=1) < 26
    assert near.mean() > 0.02


def test_overlays_change_the_picture() -> None:
    scene = random_scene(random.Random(9))
    plain = render(scene, seed=4)
    assert difference(plain, render(scene, seed=4, watermark=True)) > 3
    assert difference(plain, render(scene, seed=4, hazard=True)) > 1.5
