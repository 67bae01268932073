"""The icons of the demo's pictures: each a stack of polygons in the unit square.

Coordinates run from -1 to 1, x to the right and y downwards. Each part names a tone: ``body`` is
the colour that captions speak of, the others are details that do not change with it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

Point = tuple[float, float]
Colour = tuple[int, int, int]


class Polygon(NamedTuple):
    """One filled polygon of an icon."""

    tone: str
    points: tuple[Point, ...]


# Body colours: far apart in hue or lightness, so that 64 pixels are enough to name them.
COLOURS: dict[str, Colour] = {
    "red": (214, 40, 40),
    "orange": (247, 127, 20),
    "yellow": (252, 211, 40),
    "green": (46, 150, 62),
    "blue": (38, 92, 214),
    "purple": (126, 50, 172),
    "pink": (250, 140, 190),
    "white": (246, 246, 242),
    "black": (38, 38, 42),
}

# Details keep one colour whatever the body's is: a trunk stays brown on a pink tree.
DETAILS: dict[str, Colour] = {
    "bark": (118, 78, 46),
    "glass": (176, 220, 240),
    "metal": (150, 158, 168),
    "cream": (250, 236, 206),
    "ink": (52, 48, 56),
    "gold": (244, 190, 66),
    "flame": (255, 120, 30),
}


def _oval(cx: float, cy: float, rx: float, ry: float, start: float = 0.0, end: float = 360.0,
          steps: int = 26) -> tuple[Point, ...]:  # fmt: skip
    """Points of an ellipse's arc; angles in degrees, clockwise from the right."""
    angles = (math.radians(start + (end - start) * i / steps) for i in range(steps + 1))
    return tuple((cx + rx * math.cos(a), cy + ry * math.sin(a)) for a in angles)


def _box(x0: float, y0: float, x1: float, y1: float) -> tuple[Point, ...]:
    return ((x0, y0), (x1, y0), (x1, y1), (x0, y1))


def _mirror(points: Sequence[Point]) -> tuple[Point, ...]:
    return tuple((-x, y) for x, y in reversed(points))


def _star() -> list[Polygon]:
    tips = [
        (r * math.sin(i * math.pi / 5), -r * math.cos(i * math.pi / 5))
        for i, r in enumerate([1.0, 0.44] * 5)
    ]
    inner = [(x * 0.5, y * 0.5) for x, y in tips]
    return [Polygon("body", tuple(tips)), Polygon("light", tuple(inner))]


def _heart() -> list[Polygon]:
    def at(t: float) -> Point:
        x = 16 * math.sin(t) ** 3
        y = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)
        return (x / 16.5, -(y + 2.5) / 15.5)

    outline = tuple(at(i * 2 * math.pi / 40) for i in range(40))
    return [Polygon("body", outline), Polygon("light", _oval(-0.42, -0.42, 0.2, 0.16))]


def _tree() -> list[Polygon]:
    return [
        Polygon("bark", _box(-0.16, 0.4, 0.16, 1.0)),
        Polygon("body", ((0.0, -0.1), (0.86, 0.66), (-0.86, 0.66))),
        Polygon("body", ((0.0, -0.56), (0.68, 0.2), (-0.68, 0.2))),
        Polygon("body", ((0.0, -1.0), (0.5, -0.28), (-0.5, -0.28))),
        Polygon("light", ((0.0, -0.9), (0.1, -0.36), (-0.34, -0.36))),
    ]


def _house() -> list[Polygon]:
    return [
        Polygon("ink", _box(0.36, -0.86, 0.6, -0.3)),
        Polygon("body", _box(-0.72, -0.2, 0.72, 0.92)),
        Polygon("dark", ((0.0, -0.95), (0.98, -0.12), (-0.98, -0.12))),
        Polygon("bark", _box(-0.16, 0.32, 0.2, 0.92)),
        Polygon("glass", _box(-0.58, 0.08, -0.28, 0.4)),
        Polygon("glass", _box(0.34, 0.08, 0.62, 0.4)),
    ]


def _boat() -> list[Polygon]:
    return [
        Polygon("bark", _box(-0.06, -1.0, 0.04, 0.42)),
        Polygon("body", ((0.12, -0.92), (0.12, 0.26), (0.88, 0.26))),
        Polygon("body", ((-0.14, -0.7), (-0.14, 0.26), (-0.74, 0.26))),
        Polygon("bark", ((-0.96, 0.42), (0.96, 0.42), (0.62, 0.9), (-0.66, 0.9))),
        Polygon("cream", ((-0.92, 0.42), (0.92, 0.42), (0.84, 0.54), (-0.84, 0.54))),
    ]


def _fish() -> list[Polygon]:
    return [
        Polygon("dark", ((0.38, 0.0), (0.98, -0.56), (0.84, 0.0), (0.98, 0.56))),
        Polygon("dark", ((-0.3, -0.36), (0.12, -0.76), (0.3, -0.3))),
        Polygon("body", _oval(-0.2, 0.0, 0.76, 0.5)),
        Polygon("light", _oval(-0.16, 0.22, 0.48, 0.18)),
        Polygon("cream", _oval(-0.58, -0.12, 0.14, 0.14)),
        Polygon("ink", _oval(-0.6, -0.12, 0.07, 0.07)),
    ]


def _car() -> list[Polygon]:
    wheels = [Polygon("ink", _oval(x, 0.46, 0.25, 0.25)) for x in (-0.5, 0.5)]
    hubs = [Polygon("metal", _oval(x, 0.46, 0.11, 0.11)) for x in (-0.5, 0.5)]
    return [
        Polygon("body", ((-0.56, -0.02), (-0.36, -0.52), (0.34, -0.52), (0.62, -0.02))),
        Polygon("glass", ((-0.42, -0.04), (-0.28, -0.4), (-0.04, -0.4), (-0.04, -0.04))),
        Polygon("glass", ((0.06, -0.04), (0.06, -0.4), (0.26, -0.4), (0.44, -0.04))),
        Polygon(
            "body",
            ((-0.98, 0.08), (-0.9, -0.08), (0.8, -0.08), (0.98, 0.12), (0.98, 0.46), (-0.98, 0.46)),
        ),
        Polygon("gold", _box(0.84, 0.08, 0.98, 0.22)),
        *wheels,
        *hubs,
    ]


def _cup() -> list[Polygon]:
    steam = [
        Polygon(
            "cream",
            ((x, -0.62), (x + 0.1, -0.8), (x, -0.98), (x + 0.12, -0.98), (x + 0.2, -0.8),
             (x + 0.12, -0.62)),
        )
        for x in (-0.42, -0.06)
    ]  # fmt: skip
    return [
        *steam,
        Polygon("body", _oval(0.56, 0.14, 0.4, 0.36)),
        Polygon("hole", _oval(0.56, 0.14, 0.2, 0.18)),
        Polygon("body", ((-0.72, -0.42), (0.56, -0.42), (0.44, 0.7), (0.26, 0.84), (-0.42, 0.84),
                      (-0.6, 0.7))),
        Polygon("bark", _oval(-0.08, -0.42, 0.64, 0.14)),
        Polygon("light", ((-0.54, -0.16), (-0.38, -0.16), (-0.34, 0.6), (-0.44, 0.6))),
    ]  # fmt: skip


def _flower() -> list[Polygon]:
    petals = [
        Polygon("body", _oval(0.45 * math.cos(a), -0.36 + 0.45 * math.sin(a), 0.29, 0.29, steps=18))
        for a in (math.pi / 10 + i * 2 * math.pi / 5 for i in range(5))
    ]
    return [
        Polygon("leaf", _box(-0.06, 0.1, 0.06, 1.0)),
        Polygon("leaf", ((0.04, 0.78), (0.3, 0.44), (0.56, 0.46), (0.36, 0.72))),
        Polygon("leaf", ((-0.04, 0.9), (-0.3, 0.58), (-0.56, 0.6), (-0.36, 0.86))),
        *petals,
        Polygon("gold", _oval(0.0, -0.36, 0.24, 0.24)),
    ]


def _moon() -> list[Polygon]:
    outer = _oval(-0.05, 0.0, 0.95, 0.95, 48, 312, 30)
    inner = _oval(0.38, 0.0, 0.76, 0.76, 290, 70, 24)
    return [Polygon("body", outer + inner), Polygon("dark", _oval(-0.7, 0.1, 0.1, 0.1, steps=14)),
            Polygon("dark", _oval(-0.5, 0.42, 0.07, 0.07, steps=12))]  # fmt: skip


def _umbrella() -> list[Polygon]:
    dome = _oval(0.0, 0.05, 0.98, 0.9, 180, 360)
    scallops = tuple(
        (0.98 - 1.96 * i / 24, 0.05 - 0.13 * abs(math.sin(i * math.pi / 8))) for i in range(25)
    )
    handle = _oval(0.17, 0.72, 0.22, 0.26, 180, 10, 12) + _oval(0.17, 0.72, 0.1, 0.13, 10, 180, 12)
    return [
        Polygon("bark", _box(-0.05, -0.98, 0.05, 0.74)),
        Polygon("bark", handle),
        Polygon("body", dome + scallops),
        Polygon("light", ((-0.34, 0.02), (-0.02, -0.8), (0.02, -0.8), (0.34, 0.02), (0.0, -0.1))),
    ]


def _balloon() -> list[Polygon]:
    return [
        Polygon("ink", ((-0.3, 0.3), (-0.24, 0.3), (-0.14, 0.68), (-0.2, 0.68))),
        Polygon("ink", ((0.24, 0.3), (0.3, 0.3), (0.2, 0.68), (0.14, 0.68))),
        Polygon("body", (*_oval(0.0, -0.34, 0.7, 0.66, 160, 380), (0.3, 0.4), (-0.3, 0.4))),
        Polygon("light", (*_oval(0.0, -0.34, 0.26, 0.6, 160, 380), (0.12, 0.36), (-0.12, 0.36))),
        Polygon("bark", ((-0.24, 0.66), (0.24, 0.66), (0.18, 0.98), (-0.18, 0.98))),
    ]


def _mushroom() -> list[Polygon]:
    dots = [
        Polygon("cream", _oval(x, y, r, r * 0.85, steps=14))
        for x, y, r in ((-0.46, -0.24, 0.15), (0.02, -0.52, 0.18), (0.5, -0.2, 0.13))
    ]
    stem = ((-0.24, 0.0), (0.24, 0.0), (0.34, 0.9), (-0.34, 0.9))
    return [
        Polygon("cream", stem),
        Polygon("body", (*_oval(0.0, 0.08, 0.96, 0.98, 180, 360), (0.5, 0.2), (-0.5, 0.2))),
        *dots,
    ]


def _rocket() -> list[Polygon]:
    side = ((0.0, -1.0), (0.24, -0.66), (0.34, -0.24), (0.34, 0.3), (0.22, 0.58))
    fin = ((0.3, 0.06), (0.66, 0.42), (0.66, 0.76), (0.28, 0.52))
    return [
        Polygon("flame", ((-0.2, 0.56), (0.2, 0.56), (0.0, 1.0))),
        Polygon("metal", fin),
        Polygon("metal", _mirror(fin)),
        Polygon("body", side + _mirror(side)),
        Polygon("glass", _oval(0.0, -0.24, 0.17, 0.17)),
    ]


def _butterfly() -> list[Polygon]:
    upper = ((0.04, -0.06), (0.3, -0.62), (0.66, -0.86), (0.96, -0.7), (0.9, -0.26), (0.58, 0.06))
    lower = ((0.04, 0.02), (0.56, 0.1), (0.76, 0.36), (0.64, 0.74), (0.36, 0.76), (0.14, 0.46))
    spot = _oval(0.62, -0.5, 0.15, 0.15, steps=14)
    return [
        Polygon("body", upper),
        Polygon("body", _mirror(upper)),
        Polygon("dark", lower),
        Polygon("dark", _mirror(lower)),
        Polygon("cream", spot),
        Polygon("cream", _mirror(spot)),
        Polygon("ink", _oval(0.0, 0.02, 0.09, 0.56)),
    ]


def _crown() -> list[Polygon]:
    band = ((-0.8, 0.7), (-0.94, -0.5), (-0.44, 0.02), (0.0, -0.82), (0.44, 0.02), (0.94, -0.5),
            (0.8, 0.7))  # fmt: skip
    gems = [Polygon("glass", _oval(x, 0.44, 0.12, 0.12, steps=14)) for x in (-0.46, 0.0, 0.46)]
    balls = [
        Polygon("gold", _oval(x, y, 0.12, 0.12, steps=14))
        for x, y in ((-0.92, -0.54), (0.0, -0.86), (0.92, -0.54))
    ]
    return [Polygon("body", band), Polygon("dark", _box(-0.82, 0.24, 0.82, 0.7)), *gems, *balls]


_BUILDERS = {
    "star": _star,
    "heart": _heart,
    "tree": _tree,
    "house": _house,
    "boat": _boat,
    "fish": _fish,
    "car": _car,
    "cup": _cup,
    "flower": _flower,
    "moon": _moon,
    "umbrella": _umbrella,
    "balloon": _balloon,
    "mushroom": _mushroom,
    "rocket": _rocket,
    "butterfly": _butterfly,
    "crown": _crown,
}

SHAPES: tuple[str, ...] = tuple(_BUILDERS)


@cache
def icon(shape: str) -> tuple[Polygon, ...]:
    """The parts of an icon, back to front, in coordinates from -1 to 1."""
    return tuple(_BUILDERS[shape]())
