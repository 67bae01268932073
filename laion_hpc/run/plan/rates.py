"""The measured rates that a plan is made of: reading and checking rates.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from laion_hpc.errors import UsageError

DEFAULT = Path(__file__).with_name("rates.yaml")

Kind = Literal["measured", "published", "derived", "assumed"]


class Figure(BaseModel):
    """A number and how far it can be trusted."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    value: float = Field(ge=0)
    kind: Kind
    """`measured` with this program; `published` by others, not measured; `derived` from figures
    of either kind, or by arithmetic; `assumed`: nobody's measurement."""
    source: str = Field(min_length=10)
    """What was measured, where and on what; or who published it."""


class Rate(Figure):
    """What one unit of something costs."""

    per: str
    """A name in `model.amounts`: wats, links, candidates, images, pairs, jobs …"""


class StageRates(BaseModel):
    """What the jobs of one rule cost. Every list is summed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cpu_seconds: tuple[Rate, ...] = ()
    """Seconds of one core."""
    gpu_seconds: tuple[Rate, ...] = ()
    """Seconds of one A100."""
    network_bytes: tuple[Rate, ...] = ()
    disk_bytes: tuple[Rate, ...] = ()
    """Written and needed afterwards."""
    replaced_bytes: tuple[Rate, ...] = ()
    """Written, and no more needed when the next stage has its own copy of what it keeps."""
    memory_mb: Figure | None = None
    """Peak of one job in a small run; None: not measured."""


class Rates(BaseModel):
    """The whole of rates.yaml."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    shares: Mapping[str, Figure]
    """How much of one stage's output the next one makes of it."""
    rules: Mapping[str, StageRates]


def load(path: Path = DEFAULT) -> Rates:
    """The rates in a YAML file; UsageError names the file and the key at fault."""
    try:
        return Rates.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file of rates") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not valid YAML: {error}") from None
    except ValidationError as error:
        fault = error.errors()[0]
        key = ".".join(str(part) for part in fault["loc"])
        raise UsageError(f"{path}: {key}: {fault['msg']}") from None
