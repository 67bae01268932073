"""What the sections share: their base, bounded numbers, a CLIP model, the sizes of a dataset."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

Fraction = Annotated[float, Field(ge=0, le=1)]
Cosine = Annotated[float, Field(ge=-1, le=1)]
RUNTIME: dict[str, Any] = {"runtime": True}
"""Marks a field that changes no byte of the outputs; the digests leave it out."""


def expanded(path: str) -> str:
    """A path with `~` and variables as the shell has them; ValueError for one that is not set.

    `$SCRATCH/results` -> `/scratch/me/results`.
    """
    try:
        home = str(Path(path).expanduser()) if path.startswith("~") else path
    except RuntimeError:
        raise ValueError(f"{path!r}: there is no user with that home folder") from None
    found = os.path.expandvars(home)
    if unset := re.search(r"\$(\w+|\{\w+\})", found):
        raise ValueError(f"{path!r}: the variable {unset[0]} is not set")
    return found


PathText = Annotated[str, AfterValidator(expanded)]
"""A file or folder, relative to where the program is started; `~` and `$VAR` are expanded."""


class Section(BaseModel):
    """Unknown keys are errors: a misspelt threshold must not cost a night."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def in_order(section: Section, least: str, most: str) -> None:
    """ValueError if a section's lower limit is above its upper one: nothing would pass."""
    low, high = getattr(section, least), getattr(section, most)
    if low > high:
        raise ValueError(f"{least} is {low}, above {most}, {high}: nothing would pass")


class DatasetConfig(Section):
    """Sizes that several stages share."""

    blocks: int = Field(
        500, ge=1, le=9999, description="Parts that a crawl is cut into by the hash of the URL."
    )
    samples_per_shard: int = Field(
        10_000, ge=1, le=100_000, description="Samples in a full tar shard."
    )
    seed: int = Field(0, ge=0, description="Seed of every random order and sample.")


class ModelConfig(Section):
    """A CLIP model: by name and pretrained tag (fetched from the hub), or from a local folder."""

    library: Literal["open_clip", "sentence_transformers"] = Field(
        "open_clip", description="The library that loads it."
    )
    name: str = Field(
        ..., description="Architecture (open_clip) or repository (sentence_transformers)."
    )
    pretrained: str = Field("", description="open_clip's tag of the weights, such as openai.")
    folder: PathText = Field(
        "",
        description="A local folder with config, weights and tokenizer (`package:…` lies in "
        "laion_hpc itself); wins over the tag.",
    )

    @model_validator(mode="after")
    def _weights_fit(self) -> ModelConfig:
        if self.library == "sentence_transformers":
            if self.pretrained:
                raise ValueError("pretrained: a sentence_transformers model has no such tags")
        elif not self.folder and not self.pretrained:
            raise ValueError("an open_clip model needs pretrained (a tag) or folder")
        elif not self.folder and ("/" in self.pretrained or self.pretrained.endswith(".pt")):
            raise ValueError(
                "pretrained is a tag, not a file: a weights file tells neither its activation nor "
                "its mean and std; make a folder of it with `laion-hpc models import`"
            )
        elif self.pretrained == "openai" and not self.name.endswith("-quickgelu"):
            # The plain architectures compute GELU: such embeddings are off, and nothing fails.
            raise ValueError(f"OpenAI's weights need QuickGELU: write name: {self.name}-quickgelu")
        return self
