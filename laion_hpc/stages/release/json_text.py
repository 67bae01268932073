"""JSON for people and for diffs: one field a line, lists of numbers on one."""

from __future__ import annotations

import json
from typing import Any


def encode(data: Any) -> bytes:
    """UTF-8 JSON with an indent of one; keys in their own order, which is deterministic."""
    return (_text(data, "\n") + "\n").encode()


def _text(data: Any, newline: str) -> str:
    inner = newline + " "
    if isinstance(data, dict) and data:
        fields = (f"{_scalar(str(key))}: {_text(value, inner)}" for key, value in data.items())
        return "{" + inner + f",{inner}".join(fields) + newline + "}"
    if isinstance(data, list) and any(isinstance(item, (dict, list, str)) for item in data):
        return "[" + inner + f",{inner}".join(_text(item, inner) for item in data) + newline + "]"
    return _scalar(data)


def _scalar(data: Any) -> str:
    return json.dumps(data, ensure_ascii=False, allow_nan=False)
