"""Finds the folders that a config names."""

from __future__ import annotations

import os
from pathlib import Path

PACKAGE = "package:"


def resolve_folder(name: str) -> Path:
    """The path of a folder (or file) that a config names.

    `package:demo/models/english` lies inside the installed package; anything else is a path,
    relative to the current folder; `~` is the home folder.
    """
    if name.startswith(PACKAGE):
        return Path(__file__).resolve().parent.parent / name.removeprefix(PACKAGE)
    return Path(name).expanduser()


def models_folder() -> Path:
    """The folder of fetched models: $LAION_HPC_MODELS, else `models` in the current folder."""
    return Path(os.environ.get("LAION_HPC_MODELS") or "models").expanduser()
