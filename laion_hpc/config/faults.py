"""The faults of a config in plain words: which key, what is allowed, what was given."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

_RULES = {
    "missing": "this key is required",
    "less_than_equal": "must be at most {le:g}",
    "less_than": "must be less than {lt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "greater_than": "must be more than {gt:g}",
    "too_short": "must have at least {min_length} item(s)",
    "too_long": "must have at most {max_length} item(s)",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "literal_error": "must be one of {expected}",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "string_type": "must be text; put it in quotes",
    "tuple_type": "must be a list, such as [a, b]",
    "model_type": "must have keys below it",
    "model_attributes_type": "must have keys below it",
}
"""What a key must be, by pydantic's name of the error."""


def told(error: ValidationError, origin: str, model: type[BaseModel]) -> list[str]:
    """A line for each fault: `origin: key: what is wrong`, with a near key for a misspelt one.

    For example `mine.yaml: filter.thresolds: unknown key; did you mean thresholds?`.
    """
    return [f"{origin}: {_key(fault)}: {_words(fault, model)}" for fault in error.errors()]


def _key(fault: ErrorDetails) -> str:
    return ".".join(str(part) for part in fault["loc"]) or "config"


def _words(fault: ErrorDetails, model: type[BaseModel]) -> str:
    kind = fault["type"]
    if kind == "extra_forbidden":
        return _unknown(str(fault["loc"][-1]), _keys(model, fault["loc"][:-1]))
    if kind == "value_error":
        return fault["msg"].removeprefix("Value error, ")
    rule = _RULES.get(kind)
    words = rule.format(**fault.get("ctx", {})) if rule else fault["msg"]
    return words if kind == "missing" else f"{words}, got {fault['input']!r}"


def _unknown(key: str, known: Sequence[str]) -> str:
    near = get_close_matches(key, known, n=1)
    if near:
        return f"unknown key; did you mean {near[0]}?"
    return f"unknown key; the keys here are {', '.join(known)}" if known else "unknown key"


def _keys(model: type[BaseModel], place: Sequence[str | int]) -> list[str]:
    """The keys of the section at a place of the config, such as ("release", "subsets", 0)."""
    section: type[BaseModel] | None = model
    for name in place:
        if isinstance(name, int):
            continue  # an item of a list: the name of the list has led to its section
        field = section.model_fields.get(name) if section else None
        section = _section(field.annotation) if field else None
    return list(section.model_fields) if section else []


def _section(annotation: Any) -> type[BaseModel] | None:
    """The section in a type: `FilterConfig`, or that of `tuple[SubsetConfig, ...]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _section(part))), None)
