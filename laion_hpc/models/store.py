"""Finds the models that a config names, and checks that they have not changed since the fetch.

`models/lock.json` holds the sizes and SHA-256 of all files that `laion-hpc models fetch` fetched. A
job uses a model only if its files are still the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from laion_hpc.config.sections import Config, ModelConfig
from laion_hpc.errors import InputError
from laion_hpc.files.atomic import write_bytes
from laion_hpc.models.folders import models_folder, resolve_folder

LOCK = "lock.json"


@dataclass(frozen=True)
class Entry:
    """One file of a model; `name` is relative to the model's folder."""

    name: str
    bytes: int
    sha256: str


def named(config: Config) -> dict[str, ModelConfig]:
    """The models of a config by the key that names them."""
    return {
        "filter.english": config.filter.english,
        "filter.multilingual": config.filter.multilingual,
        "embed.model": config.embed.model,
    }


def place(config: ModelConfig) -> str:
    """Place of a fetched model in the folder of models, such as open_clip/ViT-L-14/openai."""
    tag = f"/{config.pretrained}" if config.pretrained else ""
    return f"{config.library}/{config.name.replace(':', '-')}{tag}"


def folder_of(config: ModelConfig, config_file: str | None = None) -> Path:
    """The folder of a model; InputError, with the command that fetches it, if it is missing."""
    folder = _expected_folder(config)
    if not folder.is_dir():
        raise InputError(missing(config, folder, config_file or "FILE"))
    return folder


def missing(config: ModelConfig, folder: Path, config_file: str) -> str:
    """The advice for a model whose folder is missing."""
    if config.folder:
        return f"{folder}: no such folder; the config names it as the model {config.name}"
    return (
        f"{folder}: the model {config.name} has not been fetched; run, where there is internet:\n"
        f"  laion-hpc models fetch --config {config_file}"
    )


def fingerprint(config: ModelConfig, config_file: str | None = None) -> str:
    """Digest of a model's files: from the lock file if it was fetched, else from its folder."""
    entries = None if config.folder else read_lock().get(place(config))
    if entries is None:
        entries = entries_of(folder_of(config, config_file))
    digest = hashlib.sha256()
    for entry in sorted(entries, key=lambda entry: entry.name):
        digest.update(f"{entry.name}\0{entry.sha256}\0".encode())
    return digest.hexdigest()[:16]


def verify(models: Mapping[str, ModelConfig], config_file: str | None) -> None:
    """Check that every model is there and unchanged since its fetch; `models` by config key.

    InputError lists all that are missing or altered and the command that fetches them.
    """
    faults = []
    for key, config in models.items():
        fault = fault_of(config, config_file or "FILE")
        if fault:
            faults.append(f"{key}: {fault}")
    if faults:
        raise InputError("\n".join(faults))


def fault_of(config: ModelConfig, config_file: str) -> str:
    """The fault of a model's files, and what to do; empty if there is none."""
    if found := missing_of(config, config_file):
        return found
    folder = _expected_folder(config)
    if config.folder or entries_of(folder) == read_lock()[place(config)]:
        return ""
    return f"{folder}: altered since it was fetched (SHA-256); {_again(config_file)}"


def missing_of(config: ModelConfig, config_file: str) -> str:
    """What a model lacks, and what to do; empty if nothing. Reads none of its files."""
    folder = _expected_folder(config)
    if not folder.is_dir():
        return missing(config, folder, config_file)
    if config.folder:
        return ""
    entries = read_lock().get(place(config))
    if entries is None:
        return f"{folder}: not in {models_folder() / LOCK}; {_again(config_file)}"
    for entry in entries:
        path = folder / entry.name
        if not path.is_file() or path.stat().st_size != entry.bytes:
            return f"{path}: missing or cut short; {_again(config_file)}"
    return ""


def _again(config_file: str) -> str:
    return f"run, where there is internet: laion-hpc models fetch --config {config_file}"


def entries_of(folder: Path) -> list[Entry]:
    """The files of a model's folder in the order of their names, with sizes and SHA-256."""

    def describe(path: Path) -> Entry:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        return Entry(path.relative_to(folder).as_posix(), path.stat().st_size, digest)

    # Names that begin with a dot are a downloader's; names that end in _ are Python caches.
    paths = sorted(
        path
        for path in folder.rglob("*")
        if path.is_file()
        and not any(
            part.startswith(".") or part == "__pycache__" for part in path.relative_to(folder).parts
        )
    )
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(describe, paths))


def read_lock() -> dict[str, list[Entry]]:
    """The lock file by place; empty if there is none. InputError if it is damaged."""
    path = models_folder() / LOCK
    try:
        models = json.loads(path.read_bytes())["models"]
        return {name: [Entry(**entry) for entry in files] for name, files in models.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(
            f"{path}: the lock file is invalid ({error!r}); "
            "remove it and run laion-hpc models fetch again"
        ) from None


def write_lock(models: Mapping[str, list[Entry]]) -> None:
    """Write the lock file atomically, sorted."""
    data = {
        "format": 1,
        "models": {name: [asdict(entry) for entry in files] for name, files in models.items()},
    }
    write_bytes(
        models_folder() / LOCK, (json.dumps(data, indent=1, sort_keys=True) + "\n").encode()
    )


def _expected_folder(config: ModelConfig) -> Path:
    if config.folder:
        return resolve_folder(config.folder)
    return models_folder() / place(config)
