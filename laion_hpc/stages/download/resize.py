"""img2dataset's five resize modes, as pure arithmetic on sizes (width, height in pixels)."""

from __future__ import annotations

from dataclasses import dataclass

Size = tuple[int, int]

MODES = ("no", "keep_ratio", "keep_ratio_largest", "center_crop", "border")


@dataclass(frozen=True)
class Plan:
    """Scale to `scaled`, then cut `crop` out of it, then centre it on a `canvas`."""

    original: Size
    scaled: Size
    crop: tuple[int, int, int, int] | None = None
    """Left, upper, right, lower."""
    canvas: Size | None = None

    @property
    def changes(self) -> bool:
        """True if the pixels will not be those of the original."""
        return self.scaled != self.original or self.crop is not None or self.canvas is not None

    @property
    def shrinks(self) -> bool:
        """True if less than the original's resolution is wanted."""
        return self.scaled[0] < self.original[0] and self.scaled[1] < self.original[1]


def plan_resize(original: Size, mode: str, side: int, only_if_bigger: bool) -> Plan:
    """What to do with an image of size `original`; `side` is the target in pixels.

    `keep_ratio` makes the shorter side `side`, `keep_ratio_largest` the longer one;
    `center_crop` cuts the middle square of the former, `border` pads the latter to a square.
    With `only_if_bigger` an image whose side in question is not above `side` stays as it is.
    """
    if mode not in MODES:
        raise ValueError(f"no resize mode {mode!r}")
    by_shorter = mode in ("keep_ratio", "center_crop")
    reference = min(original) if by_shorter else max(original)
    if mode == "no" or (only_if_bigger and reference <= side):
        return Plan(original, original)
    scaled = (_scale(original[0], side, reference), _scale(original[1], side, reference))
    if mode == "center_crop":
        left, upper = (scaled[0] - side) // 2, (scaled[1] - side) // 2
        return Plan(original, scaled, crop=(left, upper, left + side, upper + side))
    if mode == "border":
        return Plan(original, scaled, canvas=(side, side))
    return Plan(original, scaled)


def _scale(length: int, side: int, reference: int) -> int:
    """`length · side / reference`, rounded half up, at least a pixel."""
    return max(1, (2 * length * side + reference) // (2 * reference))
