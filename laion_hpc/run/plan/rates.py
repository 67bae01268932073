"""The rates of a plan: reads and checks rates.yaml."""

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
    """A number and its source."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    value: float = Field(ge=0)
    kind: Kind
    """`measured` with this program; `published` by others; `derived` from such figures by
    arithmetic; `assumed`: nobody measured it."""
    source: str = Field(min_length=10)
    """What was measured, where and with which data; or who published it."""


class Rate(Figure):
    """The cost of one unit, such as one link."""

    per: str
    """A name in `model.amounts`: wats, links, candidates, images, pairs, jobs …"""


class StageRates(BaseModel):
    """The cost of the jobs of one rule. The entries of a list are added."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cpu_seconds: tuple[Rate, ...] = ()
    """Seconds of one core."""
    gpu_seconds: tuple[Rate, ...] = ()
    """Seconds of one A100."""
    network_bytes: tuple[Rate, ...] = ()
    disk_bytes: tuple[Rate, ...] = ()
    """Written and kept."""
    replaced_bytes: tuple[Rate, ...] = ()
    """Written, and not needed after the next stage has copied what it keeps."""
    memory_mb: Figure | None = None
    """Peak of one job in a small run; None: not measured."""


class Rates(BaseModel):
    """The content of rates.yaml."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    shares: Mapping[str, Figure]
    """Shares and counts that relate the amounts, such as images downloaded per candidate."""
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
