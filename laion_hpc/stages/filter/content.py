"""The content filter of LAION-400M: the class of an image, and the samples to drop.

It decides on cosines alone; the prompts are data (`zero_shot/*.yaml`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from laion_hpc.errors import UsageError
from laion_hpc.models import resolve_folder

OFF = "off"
UNTAGGED = "UNTAGGED"
CLASSES = np.array(["UNLIKELY", "UNSURE", "NSFW"])
"""The class by the number of unsafe prompts among the nearest two."""

_PRESETS = {"laion400m": Path(__file__).parent / "zero_shot" / "laion400m.yaml"}


class Prompts(BaseModel):
    """Lists of prompts. `adult` is compared with `minor`, `thing` with `animal`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    neutral: tuple[str, ...] = Field(min_length=2)
    unsafe: tuple[str, ...] = Field(min_length=1)
    minor: tuple[str, ...] = ()
    adult: tuple[str, ...] = ()
    animal: tuple[str, ...] = ()
    thing: tuple[str, ...] = ()
    minor_words: tuple[str, ...] = ("teen", "kid", "child", "baby")

    @property
    def rankings(self) -> tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]:
        """(prompts to find, prompts against them) of the three questions; neutral by default."""
        return (
            (self.unsafe, self.neutral),
            (self.minor, self.adult or self.neutral),
            (self.animal, self.thing or self.neutral),
        )

    @property
    def digest(self) -> str:
        """Of all prompts and words, in their order."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]


def load_prompts(name: str) -> Prompts | None:
    """The prompts of a preset or of a YAML file; None for `off`.

    UsageError names the file and what is wrong with it.
    """
    if name == OFF:
        return None
    path = _PRESETS.get(name) or resolve_folder(name)
    try:
        return Prompts.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise UsageError(
            f"filter.zero_shot: {path}: no such file; give {', '.join(_PRESETS)}, a YAML file of "
            "prompts, or off"
        ) from None
    except (ValidationError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(
            f"filter.zero_shot: {path}: the file of prompts is invalid: {error}"
        ) from None


def looked_for_among_nearest(
    looked_for: NDArray[np.float32], against: NDArray[np.float32], nearest: int
) -> NDArray[np.int64]:
    """The number of prompts to find among the `nearest`: (n, a) and (n, b) cosines -> (n,).

    Of equal cosines the prompt to find comes first: in doubt, the sample is suspect.
    """
    cosines = np.concatenate([looked_for, against], axis=1)
    order = np.argsort(-cosines, axis=1, kind="stable")[:, :nearest]
    return np.asarray((order < looked_for.shape[1]).sum(axis=1))


def names_a_minor(text: str, words: Sequence[str]) -> bool:
    """True if the text holds one of the words, in any case, also inside another word."""
    folded = text.casefold()
    return any(word.casefold() in folded for word in words)


class ContentFilter:
    """Prompts with their embeddings, ready to judge images."""

    def __init__(self, prompts: Prompts, embed_texts: Any) -> None:
        self._words = prompts.minor_words
        self._rankings = [
            (embed_texts(wanted), embed_texts(against)) for wanted, against in prompts.rankings
        ]

    def judge(
        self, images: NDArray[np.float32], texts: Sequence[str]
    ) -> tuple[list[str], NDArray[np.bool_]]:
        """Classes of n images (n, width) with their texts, and which samples must be dropped."""
        unsafe, minor, animal = (
            looked_for_among_nearest(_cosines(images, wanted), _cosines(images, against), nearest)
            for (wanted, against), nearest in zip(self._rankings, (2, 2, 1), strict=True)
        )
        named = np.fromiter((names_a_minor(text, self._words) for text in texts), bool, len(texts))
        drop = (unsafe > 0) & ((minor > 0) | named | (animal > 0))
        return CLASSES[np.minimum(unsafe, 2)].tolist(), drop


def _cosines(images: NDArray[np.float32], prompts: NDArray[np.float32]) -> NDArray[np.float32]:
    # einsum's own loop: a threaded BLAS may add in another order on another machine.
    return np.asarray(np.einsum("nd,kd->nk", images, prompts, optimize=False), np.float32)
