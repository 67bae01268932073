"""What a demo picture shows (`Scene`), how one is drawn at random, and how it is rendered."""

from __future__ import annotations

import math
import random
import zlib
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from laion_hpc.demo.scene_backgrounds import BACKGROUNDS, paint
from laion_hpc.demo.scene_icons import COLOURS, DETAILS, SHAPES, Colour, Point, icon
from laion_hpc.demo.scene_overlays import stamp_hazard, stamp_watermark

__all__ = [
    "BACKGROUNDS",
    "COLOURS",
    "LAYOUTS",
    "SHAPES",
    "Scene",
    "Thing",
    "random_scene",
    "render",
]

LAYOUTS = ("alone", "left", "above", "three")
_LAYOUT_ODDS = (0.46, 0.2, 0.16, 0.18)

_OVERSAMPLING = 2  # polygons are drawn twice as large and reduced: PIL draws without antialiasing


@dataclass(frozen=True, order=True)
class Thing:
    """One object of a picture."""

    shape: str
    colour: str


@dataclass(frozen=True, order=True)
class Scene:
    """Everything that a picture shows and a caption may tell.

    `things` holds two objects when the layout is "left" (the first is to the left of the second)
    or "above", and one otherwise; "three" shows that one three times.
    """

    things: tuple[Thing, ...]
    layout: str
    background: str


def random_scene(rng: random.Random) -> Scene:
    """Draw a scene; two objects in one picture differ in both shape and colour."""
    layout = rng.choices(LAYOUTS, _LAYOUT_ODDS)[0]
    count = 2 if layout in ("left", "above") else 1
    shapes = rng.sample(SHAPES, count)
    colours = rng.sample(tuple(COLOURS), count)
    things = tuple(Thing(shape, colour) for shape, colour in zip(shapes, colours, strict=True))
    return Scene(things, layout, rng.choice(BACKGROUNDS))


def render(
    scene: Scene,
    *,
    size: int = 320,
    watermark: bool = False,
    hazard: bool = False,
    seed: int = 0,
) -> Image.Image:
    """Render a scene as an RGB image of `size` x `size` pixels.

    The same arguments give the same pixels. Another `seed` gives another picture of the same
    scene: places, hues, textures and grain differ. `watermark` lays a stock-photo text over it,
    `hazard` a warning sign, which stands for what a safety filter should find.
    """
    rng = np.random.default_rng((seed & 0xFFFFFFFF, zlib.crc32(repr(scene).encode())))
    picture = paint(scene.background, size, rng)
    for thing, (x, y, radius) in zip(_instances(scene), _places(scene, rng), strict=True):
        _place(picture, thing, x * size, y * size, radius * size, rng)
    if hazard:
        stamp_hazard(picture, rng)
    if watermark:
        stamp_watermark(picture, rng)
    return picture


def _instances(scene: Scene) -> tuple[Thing, ...]:
    return scene.things * 3 if scene.layout == "three" else scene.things


def _places(scene: Scene, rng: np.random.Generator) -> list[tuple[float, float, float]]:
    """Centre and radius of every object, as shares of the picture's side."""
    if scene.layout == "alone":
        spots, radius, slack = [(0.5, 0.5)], rng.uniform(0.27, 0.33), 0.08
    elif scene.layout == "left":
        spots, radius, slack = [(0.27, 0.5), (0.73, 0.5)], rng.uniform(0.19, 0.215), 0.035
    elif scene.layout == "above":
        spots, radius, slack = [(0.5, 0.27), (0.5, 0.73)], rng.uniform(0.19, 0.215), 0.035
    else:
        rows = [(0.5, 0.28), (0.26, 0.68), (0.74, 0.68)]
        spots = rows if rng.random() < 0.5 else [(x, 1 - y) for x, y in rows]
        radius, slack = rng.uniform(0.155, 0.185), 0.04
    shifts = rng.uniform(-slack, slack, (len(spots), 2))
    return [
        (x + float(dx), y + float(dy), radius)
        for (x, y), (dx, dy) in zip(spots, shifts, strict=True)
    ]


def _tones(thing: Thing, rng: np.random.Generator) -> dict[str, Colour]:
    """The colours of an icon's parts: the body's is jittered, its shades follow it."""
    jitter = rng.uniform(-9, 9, 3)
    body = np.clip(np.add(COLOURS[thing.colour], jitter), 0.0, 255.0)
    light = 0.34 if thing.colour != "black" else 0.2

    def shade(factor: float, lift: float = 0.0) -> Colour:
        r, g, b = (int(c * factor + (255 - c * factor) * lift) for c in body)
        return (r, g, b)

    # A green leaf under a green flower would hide in it.
    leaf = (30, 104, 60) if thing.colour == "green" else (64, 150, 70)
    return {
        **DETAILS,
        "body": shade(1.0),
        "dark": shade(0.78) if thing.colour != "black" else shade(1.0, 0.14),
        "light": shade(1.0, light),
        "leaf": leaf,
        "line": shade(0.42) if thing.colour != "black" else (14, 14, 16),
    }


def _place(
    picture: Image.Image, thing: Thing, x: float, y: float, radius: float, rng: np.random.Generator
) -> None:
    """Draw an object with its rim and shadow onto the picture in place; pixels."""
    tones = _tones(thing, rng)
    turn = math.radians(float(rng.uniform(-9, 9)))
    cos, sin = math.cos(turn), math.sin(turn)
    scale = radius * _OVERSAMPLING * 0.94
    side = (int(radius * 2.5) + 2) * _OVERSAMPLING
    middle = side / 2

    def moved(points: tuple[Point, ...], shift: float = 0.0) -> list[Point]:
        return [
            (middle + shift + scale * (px * cos - py * sin),
             middle + shift + scale * (px * sin + py * cos))
            for px, py in points
        ]  # fmt: skip

    parts = icon(thing.shape)
    solid = [part for part in parts if part.tone != "hole"]
    rim = max(2, round(scale * 0.055))
    tile = Image.new("RGBA", (side, side), (*tones["line"], 0))
    draw = ImageDraw.Draw(tile)
    for part in solid:
        draw.polygon(moved(part.points, scale * 0.07), fill=(0, 0, 0, 70))
    outlines = [moved(part.points) for part in solid]
    for fill, width in (((255, 255, 255, 255), rim * 4), ((*tones["line"], 255), rim * 2)):
        for points in outlines:
            draw.line([*points, points[0], points[1]], fill=fill, width=width, joint="curve")
    for part in parts:
        if part.tone == "hole":
            draw.polygon(moved(part.points), fill=(255, 255, 255, 255))
        else:
            draw.polygon(moved(part.points), fill=(*tones[part.tone], 255))
    tile = tile.reduce(_OVERSAMPLING)
    corner = (round(x - tile.width / 2), round(y - tile.height / 2))
    picture.paste(tile, corner, tile)
