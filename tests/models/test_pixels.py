"""Pillow alone gives the bytes that open_clip's preprocessing gives."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from PIL import Image

from laion_hpc.models.pixels import Geometry, geometry_of
from laion_hpc.models.resampling import resize

SIZES = [(341, 256), (256, 341), (224, 224), (223, 225), (640, 13), (13, 640), (1, 1), (2, 90)]
SIZES += [(90, 3), (225, 224), (100, 100), (160, 224), (701, 497), (224, 160), (447, 449)]


def transforms(**keys: Any) -> tuple[Any, Any]:
    """A PreprocessCfg and what open_clip makes of it, up to the crop."""
    from laion_hpc.models.torchvision_shim import ensure_torchvision

    ensure_torchvision()
    from open_clip.transform import PreprocessCfg, image_transform_v2

    from laion_hpc.models.open_clip_tower import _geometry

    config = PreprocessCfg(**keys)
    return config, _geometry(image_transform_v2(config, False))


@pytest.mark.parametrize("mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear", "random"])
@pytest.mark.parametrize("size", [224, (224, 160)])
@pytest.mark.parametrize("fill", [0, 127])
def test_same_bytes_as_open_clip(mode: str, interpolation: str, size: Any, fill: int) -> None:
    config, reference = transforms(
        size=size, resize_mode=mode, interpolation=interpolation, fill_color=fill
    )
    geometry = geometry_of(config, reference)
    assert geometry is not None
    rng = np.random.default_rng(5)
    for width, height in SIZES:
        image = Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8))
        try:
            expected = np.asarray(reference(image))
        except ValueError:  # a side would be rounded to nothing
            with pytest.raises(ValueError):
                geometry(image)
            continue
        found = np.empty((geometry.height, geometry.width, 3), np.uint8)
        geometry.put(image, found)
        assert np.array_equal(found, expected), (width, height)
        assert np.array_equal(np.asarray(geometry(image)), expected), (width, height)


def test_what_is_not_known_is_left_to_open_clip() -> None:
    config, reference = transforms(size=32)
    assert geometry_of(config, lambda image: reference(image).rotate(180)) is None
    config.resize_mode = "of another version"
    assert geometry_of(config, reference) is None


def test_a_geometry_changes_no_image_of_its_size() -> None:
    image = Image.new("RGB", (8, 8), (1, 2, 3))
    assert Geometry(8, 8, "shorter", 3)(image) is image


def test_a_process_that_decodes_needs_no_torch() -> None:
    script = "import sys, laion_hpc.models.decoder_process; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr


def test_our_resampling_gives_pillows_bytes() -> None:
    rng = np.random.default_rng(7)
    known = 0
    for number in range(150):
        before, after = (tuple(map(int, rng.integers(1, 300, 2))) for _ in range(2))
        left, top = (int(rng.integers(0, side)) for side in after)
        right, bottom = (
            int(rng.integers(a + 1, b + 1)) for a, b in ((left, after[0]), (top, after[1]))
        )
        window = (left, top, right, bottom)
        resample = Image.Resampling.BICUBIC if number % 3 else Image.Resampling.BILINEAR
        if not resize.knows(before, after, resample):
            continue
        known += 1
        levels = 2 if number % 2 else 256  # black beside white overshoots
        pixels = rng.integers(0, levels, (*before[::-1], 3)) * (255 // (levels - 1))
        image = Image.fromarray(pixels.astype(np.uint8))
        expected = np.asarray(image.resize(after, resample).crop(window))
        found = np.empty_like(expected)
        resize.resize_window(image, after, window, resample, found)
        assert np.array_equal(found, expected), (before, after, window, resample)
    assert known > 80


def test_tall_images_are_left_to_pillow() -> None:
    assert resize._as_pillow()
    assert resize.knows((300, 400), (224, 298), 3)
    assert not resize.knows((300, 700), (224, 522), 3)
    assert not resize.knows((300, 224), (224, 224), 3)
    assert not resize.knows((300, 400), (224, 298), int(Image.Resampling.LANCZOS))
