"""The config: one YAML file, checked whole before anything runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from laion_hpc.config import faults
from laion_hpc.config.sections import Config
from laion_hpc.errors import UsageError

__all__ = ["READS", "Config", "digest", "load", "parse"]

READS: dict[str, tuple[str, ...]] = {
    "extract": ("extract", "dataset.blocks"),
    "shuffle": ("shuffle", "dataset"),
    "download": ("download",),
    "filter": ("filter", "dataset.samples_per_shard"),
    "embed": ("embed",),
    "tag": ("tag",),
    "index": ("index", "embed.model", "dataset.seed"),
    # Not what only describes it (title, licence, date): that rewrites the card, not the data.
    "release": (
        "release.subsets",
        "release.laion400m_layout",
        "release.rows_per_part",
        "dataset.samples_per_shard",
    ),
    "search": ("search",),
}
"""The keys that each stage reads: all that its digest covers."""


def load(path: str | Path | None) -> Config:
    """The config in a YAML file (defaults for what it leaves out; None: all defaults).

    Raises UsageError that names the file, the key and the allowed range.
    """
    if path is None:
        return Config()
    try:
        data = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{path}: no such config file") from None
    except OSError as error:
        raise UsageError(f"{path}: not a config file: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not valid YAML: {error}") from None
    if data is not None and not isinstance(data, dict):
        raise UsageError(f"{path}: a config is a mapping of keys, see config/default.yaml")
    return parse(data or {}, origin=str(path))


def parse(data: Mapping[str, Any], *, origin: str = "config") -> Config:
    """The config in a mapping; UsageError names `origin` and each key at fault."""
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        raise UsageError("\n  ".join(faults.told(error, origin, Config))) from None


def digest(config: Config, stage: str) -> str:
    """16 hex digits over the keys that `stage` reads; runtime keys change no byte and no digest."""
    parts = {}
    for key in READS[stage]:
        value: Any = config
        for name in key.split("."):
            value = getattr(value, name)
        parts[key] = _plain(value)
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return {
            name: _plain(getattr(value, name))
            for name, field in type(value).model_fields.items()
            if not (
                isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get("runtime")
            )
        }
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return value
