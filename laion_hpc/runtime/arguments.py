"""Options that several commands share."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_config(parser: Any, *, default: str = "all defaults") -> None:
    """Add `--config FILE`; `default` says what holds without it."""
    parser.add_argument("--config", metavar="FILE", help=f"YAML config (default: {default})")


def add_block(parser: Any) -> None:
    """Add `--block B`, needed, 0 to 9999."""
    parser.add_argument(
        "--block", type=block_number, required=True, metavar="B", help="number of the block"
    )


def add_processes(parser: Any, *, meaning: str = "worker processes", default: int = 1) -> None:
    """Add `--processes N`, at least 1; `parser` is an argparse parser or group."""
    parser.add_argument(
        "--processes",
        type=count,
        default=default,
        metavar="N",
        help=f"{meaning} (default: {default})",
    )


def add_folders(parser: Any, option: str, *, meaning: str) -> None:
    """Add an option that takes one folder or several, none by default."""
    parser.add_argument(option, type=Path, nargs="+", default=[], metavar="DIR", help=meaning)


def add_loudness(parser: argparse.ArgumentParser) -> None:
    """Add `--quiet` and `--verbose` to a command, and to each of its actions if it has some."""
    parser.set_defaults(log="")
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for one in set(action.choices.values()):
                add_loudness(one)
            return
    loudness = parser.add_mutually_exclusive_group()
    for option, meaning in (("quiet", "say warnings and errors only"), ("verbose", "say details")):
        loudness.add_argument(
            f"--{option}", dest="log", action="store_const", const=option, default="", help=meaning
        )


def count(text: str) -> int:
    """The type of an option that takes a number from 1 on."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {text!r}")
    return int(text)


def block_number(text: str) -> int:
    """The type of an option that takes the number of a block."""
    if not (text.isascii() and text.isdigit() and len(text) <= 4):
        raise argparse.ArgumentTypeError(f"{text!r} is not a block: give a number up to 9999")
    return int(text)
