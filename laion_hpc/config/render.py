"""The annotated default config, written from the schema so that the two cannot drift apart."""

from __future__ import annotations

import json
import textwrap
from typing import Any

from pydantic import BaseModel

from laion_hpc.config.sections import Config

HEADER = """\
# Every key of the config with its default, made by `laion-hpc config default`.
# Copy the keys you change into a file of your own; what you leave out has these values.
"""


def default_yaml() -> str:
    """All keys with defaults and their meaning as comments."""
    return HEADER + "\n" + _section(Config(), indent=0)


def _section(model: BaseModel, *, indent: int) -> str:
    lines: list[str] = []
    pad = "  " * indent
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if indent == 0 and isinstance(value, BaseModel):
            lines.append("")
        comment = f"{field.description or ''}{_range(field.metadata)}"
        lines += textwrap.wrap(comment, 96, initial_indent=f"{pad}# ", subsequent_indent=f"{pad}# ")
        if isinstance(value, BaseModel):
            lines += [f"{pad}{name}:", _section(value, indent=indent + 1).rstrip("\n")]
        elif isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
            lines.append(f"{pad}{name}:")
            lines += [f"{pad}  - {_inline(item.model_dump())}" for item in value]
        else:
            lines.append(f"{pad}{name}: {_inline(value)}")
    return "\n".join(lines) + "\n"


def _inline(value: Any) -> str:
    # JSON is YAML: one spelling for strings, lists and numbers.
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)


def _range(metadata: list[Any]) -> str:
    words = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    limits = [
        f"{sign} {getattr(bound, word)}"
        for bound in metadata
        for word, sign in words.items()
        if hasattr(bound, word)
    ]
    return f" [{', '.join(limits)}]" if limits else ""
