"""The backgrounds of the demo's pictures: bricks, planks, waves, stars, ..., as RGB arrays."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.floating[Any]]

_NOISE_SIDE = 512


@cache
def _grain() -> Floats:
    """White noise of unit variance, (512, 512): sampling it is far cheaper than drawing it."""
    return np.random.default_rng(5).standard_normal((_NOISE_SIDE, _NOISE_SIDE), dtype=np.float32)


@cache
def _clouds(cells: int) -> Floats:
    """Smooth noise of zero mean and unit variance, (512, 512), from a grid of `cells` per side."""
    rng = np.random.default_rng(cells)
    field = np.zeros((_NOISE_SIDE, _NOISE_SIDE), dtype=np.float32)
    for octave in range(4):
        side = cells << octave
        grid = Image.fromarray(rng.standard_normal((side, side), dtype=np.float32))
        smooth = grid.resize((_NOISE_SIDE, _NOISE_SIDE), Image.Resampling.BICUBIC)
        field += np.asarray(smooth) * np.float32(0.55**octave)
    field -= field.mean()
    scaled: Floats = field / field.std()
    return scaled


def _crop(field: Floats, size: int, rng: np.random.Generator) -> Floats:
    """A random window of a (512, 512) field, (size, size), tiled when `size` is larger."""
    y, x = (int(v) for v in rng.integers(0, _NOISE_SIDE, 2))
    if y + size <= _NOISE_SIDE and x + size <= _NOISE_SIDE:
        return field[y : y + size, x : x + size]
    if size <= _NOISE_SIDE:
        y, x = y % (_NOISE_SIDE - size + 1), x % (_NOISE_SIDE - size + 1)
        return field[y : y + size, x : x + size]
    return np.take(
        np.take(field, np.arange(y, y + size), axis=0, mode="wrap"),
        np.arange(x, x + size),
        axis=1,
        mode="wrap",
    )


def _flat(colour: tuple[float, float, float], rng: np.random.Generator) -> Floats:
    """A colour, shifted a little: no two walls are painted from one pot. (3,), 0..255."""
    shift = rng.uniform(-12, 12) + rng.uniform(-7, 7, 3)
    return (np.asarray(colour) + shift).astype(np.float32)


def _rgb(red: float, green: float, blue: float) -> Floats:
    """A colour, or what is added to one, as an array. (3,)"""
    return np.array([red, green, blue], dtype=np.float32)


def _mix(low: Floats, high: Floats, weight: Floats) -> Floats:
    """Blend two colours, (3,) each, by a weight field (h, w) in 0..1 -> (h, w, 3)."""
    return low + weight[..., None] * (high - low)


def _gradient(stops: list[Floats], size: int) -> Floats:
    """A vertical gradient through equally spaced colours, (size, 1, 3)."""
    at = np.linspace(0.0, 1.0, size)
    places = np.linspace(0.0, 1.0, len(stops))
    bands = [np.interp(at, places, [stop[c] for stop in stops]) for c in range(3)]
    return np.stack(bands, axis=-1).astype(np.float32)[:, None, :]


def _axes(size: int) -> tuple[Floats, Floats]:
    """Unit coordinates: y as a column (size, 1), x as a row (1, size)."""
    line = (np.arange(size, dtype=np.float32) + 0.5) / size
    return line[:, None], line[None, :]


def _dots(picture: Floats, count: int, colour: Floats, radii: tuple[float, float],
          rng: np.random.Generator) -> None:  # fmt: skip
    """Scatter small soft discs over a picture in place; radii as shares of its side."""
    size = picture.shape[0]
    places = rng.uniform(0, size, (2, count))
    for cy, cx, share in zip(*places, rng.uniform(*radii, count), strict=True):
        r = max(0.8, share * size)
        y0, y1 = max(0, int(cy - r - 1)), min(size, int(cy + r + 2))
        x0, x1 = max(0, int(cx - r - 1)), min(size, int(cx + r + 2))
        yy = np.arange(y0, y1, dtype=np.float32)[:, None] - np.float32(cy)
        xx = np.arange(x0, x1, dtype=np.float32)[None, :] - np.float32(cx)
        cover = np.clip(r + 0.5 - np.sqrt(yy * yy + xx * xx), 0.0, 1.0)[..., None]
        patch = picture[y0:y1, x0:x1]
        patch += cover * (colour - patch)


def _brick(size: int, rng: np.random.Generator) -> Floats:
    y, x = _axes(size)
    rows = int(rng.integers(8, 11))
    row = np.floor(y * rows)
    along = x * rows / 2 + 0.5 * (row % 2) + np.float32(rng.uniform())
    gap = np.minimum(np.abs((y * rows) % 1 - 0.5), 1.0) > 0.43
    joint = gap | (np.abs(along % 1 - 0.5) > 0.462)
    shade = rng.uniform(-22, 22, (rows + 2, rows + 2)).astype(np.float32)
    body = _flat((168, 84, 62), rng) + shade[row.astype(int), along.astype(int)][..., None]
    return np.where(joint[..., None], _flat((206, 196, 184), rng), body)


def _wood(size: int, rng: np.random.Generator) -> Floats:
    y, x = _axes(size)
    planks = int(rng.integers(4, 6))
    plank = np.floor(x * planks).astype(int)
    bend = _crop(_clouds(4), size, rng) * 0.03
    rings = np.sin((x * 46 + bend * 60 + plank * 1.7) * 2 + y * 1.5)
    shade = rng.uniform(-14, 14, planks + 1).astype(np.float32)
    body = _mix(_flat((158, 110, 66), rng), _flat((196, 148, 98), rng), 0.5 + 0.5 * rings)
    body = body + shade[plank][..., None]
    seam = np.abs((x * planks) % 1 - 0.5) > 0.485
    return np.where(seam[..., None], _flat((86, 56, 32), rng), body)


def _sea(size: int, rng: np.random.Generator) -> Floats:
    y, x = _axes(size)
    phase = np.float32(rng.uniform(0, 6.28))
    swell = np.sin(x * 15 + phase) * 0.018 + np.sin(x * 34 + phase * 2 + y * 9) * 0.008
    crest = ((y + swell) * rng.uniform(8, 10)) % 1
    base = _gradient([_flat((30, 132, 168), rng), _flat((10, 78, 122), rng)], size)
    foam = np.clip((crest - 0.72) / 0.28, 0, 1) ** 2
    painted: Floats = base + foam[..., None] * (_flat((208, 238, 240), rng) - base)
    return painted


def _night(size: int, rng: np.random.Generator) -> Floats:
    base = _gradient([_flat((12, 14, 46), rng), _flat((40, 44, 98), rng)], size)
    haze = _crop(_clouds(3), size, rng)[..., None] * _rgb(5, 4, 9)
    picture = base + haze
    _dots(picture, 60, _rgb(250, 248, 226), (0.002, 0.0075), rng)
    return picture


def _sunset(size: int, rng: np.random.Generator) -> Floats:
    stops = [(92, 48, 112), (206, 82, 96), (250, 150, 74), (255, 208, 120)]
    base = _gradient([_flat(stop, rng) for stop in stops], size)
    streaks = np.repeat(_crop(_clouds(6), size, rng)[:, :1], size, axis=1)
    picture = base + (streaks * 5 + _crop(_clouds(4), size, rng) * 6)[..., None]
    y, x = _axes(size)
    sun_x, sun_y, r = rng.uniform(0.15, 0.85), rng.uniform(0.74, 0.86), 0.13
    disc = np.clip((r - np.hypot(x - sun_x, y - sun_y)) * size, 0, 1)[..., None]
    painted: Floats = picture + disc * (_rgb(255, 240, 178) - picture)
    return painted


def _sky(size: int, rng: np.random.Generator) -> Floats:
    base = _gradient([_flat((84, 164, 236), rng), _flat((172, 216, 248), rng)], size)
    cover = np.clip(_crop(_clouds(4), size, rng) * 0.9 - 0.1, 0, 0.95)
    painted: Floats = base + cover[..., None] * (_rgb(252, 252, 252) - base)
    return painted


def _meadow(size: int, rng: np.random.Generator) -> Floats:
    y, _ = _axes(size)
    base = _gradient([_flat((142, 196, 84), rng), _flat((72, 142, 46), rng)], size)
    blades = np.repeat(_crop(_grain(), size, rng)[:: max(1, size // 40)], 64, axis=0)[:size]
    tufts = _crop(_clouds(8), size, rng)
    picture = base + (blades * (4 + 9 * y) + tufts * 9)[..., None] * _rgb(0.8, 1, 0.5)
    _dots(picture, 14, _rgb(250, 250, 250), (0.006, 0.011), rng)
    _dots(picture, 14, _rgb(250, 216, 70), (0.006, 0.011), rng)
    return picture


def _desert(size: int, rng: np.random.Generator) -> Floats:
    y, x = _axes(size)
    phase = np.float32(rng.uniform(0, 6.28))
    picture = np.empty((size, size, 3), dtype=np.float32)
    picture[:] = _gradient([_flat((250, 226, 176), rng), _flat((244, 206, 142), rng)], size)
    for step, top in enumerate((0.2, 0.42, 0.66)):
        ridge = top + 0.06 * np.sin(x * (5 + step) + phase * (step + 1)) + 0.02 * np.sin(x * 13)
        ripple = np.sin((y - ridge) * 90) * 5
        dune = _flat((232 - 16 * step, 184 - 20 * step, 112 - 18 * step), rng) + ripple[..., None]
        picture = np.where((y > ridge)[..., None], dune, picture)
    return picture


def _snow(size: int, rng: np.random.Generator) -> Floats:
    base = _gradient([_flat((150, 168, 190), rng), _flat((206, 218, 230), rng)], size)
    picture = base + _crop(_clouds(4), size, rng)[..., None] * np.float32(5)
    y, x = _axes(size)
    ground = 0.8 + 0.05 * np.sin(x * 5 + np.float32(rng.uniform(0, 6.28)))
    picture = np.where((y > ground)[..., None], _rgb(244, 248, 252), picture)
    _dots(picture, 70, _rgb(255, 255, 255), (0.005, 0.014), rng)
    return picture


def _checker(size: int, rng: np.random.Generator) -> Floats:
    y, x = _axes(size)
    cells = rng.uniform(6, 8)
    odd = (np.floor(x * cells) + np.floor(y * cells)) % 2 > 0
    wear = _crop(_clouds(6), size, rng)[..., None] * np.float32(5)
    painted: Floats = (
        np.where(odd[..., None], _flat((232, 230, 224), rng), _flat((70, 76, 84), rng)) + wear
    )
    return painted


_PAINTERS = {
    "brick": _brick,
    "wood": _wood,
    "sea": _sea,
    "night": _night,
    "sunset": _sunset,
    "sky": _sky,
    "meadow": _meadow,
    "desert": _desert,
    "snow": _snow,
    "checker": _checker,
}

BACKGROUNDS: tuple[str, ...] = tuple(_PAINTERS)


def paint(background: str, size: int, rng: np.random.Generator) -> Image.Image:
    """Paint a background, RGB of `size` x `size` pixels, with a photograph's grain over it."""
    picture = _PAINTERS[background](size, rng)
    grain = _crop(_grain(), size, rng)[..., None] * np.float32(rng.uniform(2.2, 3.6))
    return Image.fromarray(np.clip(picture + grain, 0, 255).astype(np.uint8))
