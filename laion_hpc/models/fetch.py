"""Fetches models from the hub, into folders that load without a network."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from laion_hpc.config.sections import ModelConfig
from laion_hpc.errors import InputError, LaionHpcError, UsageError
from laion_hpc.models import store
from laion_hpc.models.folders import models_folder
from laion_hpc.models.torchvision_shim import ensure_torchvision

Result = TypeVar("Result")

TEXT_MODEL = "text_model"
"""Sub-folder with the transformers config of a text tower that comes from transformers."""


def fetch(config: ModelConfig, config_file: str) -> bool:
    """Fetch one model and enter it in the lock file; False if it is there and complete already.

    UsageError for a name or tag that does not exist; LaionHpcError if the hub cannot be reached.
    """
    if config.folder:
        store.folder_of(config)
        return False
    if not store.fault_of(config, config_file):
        return False
    staging = models_folder() / f".fetching-{os.getpid()}"
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    try:
        if config.library == "open_clip":
            _fetch_open_clip(config, staging)
        else:
            _from_hub(config.name, lambda: _snapshot(config.name, staging))
        folder = models_folder() / store.place(config)
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        staging.replace(folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    store.write_lock(store.read_lock() | {store.place(config): store.entries_of(folder)})
    return True


def import_weights(weights: Path, *, name: str, like: str, output: Path) -> None:
    """Make a folder of an open_clip weights file.

    A weights file does not state its activation (QuickGELU or GELU), mean and std. `like` is
    a tag of open_clip whose weights were trained the same way.
    """
    if not weights.is_file():
        raise InputError(f"{weights}: no such weights file")
    if weights.suffix not in (".safetensors", ".bin", ".pt", ".pth"):
        raise UsageError(f"{weights}: not a .safetensors, .bin, .pt or .pth file")
    tag, model_cfg = _registered(name, like)
    output.mkdir(parents=True, exist_ok=True)
    _write_folder(output, model_cfg, tag, weights)


def _fetch_open_clip(config: ModelConfig, folder: Path) -> None:
    tag, model_cfg = _registered(config.name, config.pretrained)
    from open_clip.pretrained import download_pretrained

    cache = str(folder / ".cache")
    weights = _from_hub(config.name, lambda: download_pretrained(tag, cache_dir=cache))
    _write_folder(folder, model_cfg, tag, Path(weights).resolve())
    shutil.rmtree(cache, ignore_errors=True)


def _registered(name: str, tag: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """open_clip's entry of a tag and its model_cfg; UsageError if their activations differ."""
    ensure_torchvision()
    import open_clip
    from open_clip.pretrained import get_pretrained_cfg

    model_cfg = open_clip.get_model_config(name)
    if model_cfg is None:
        raise UsageError(f"open_clip knows no architecture {name!r}; open_clip.list_models()")
    entry = get_pretrained_cfg(name, tag)
    if not entry:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(name)) or "none"
        raise UsageError(f"open_clip has no weights {tag!r} of {name}; it has {tags}")
    if bool(entry.get("quick_gelu")) != bool(model_cfg.get("quick_gelu")):
        plain = name.removesuffix("-quickgelu")
        right = f"{plain}-quickgelu" if entry.get("quick_gelu") else plain
        raise UsageError(
            f"the weights {tag!r} were trained with {'' if entry.get('quick_gelu') else 'no '}"
            f"QuickGELU: use the architecture {right} instead of {name}"
        )
    return dict(entry), model_cfg


def _write_folder(
    folder: Path, model_cfg: dict[str, Any], tag: dict[str, Any], weights: Path
) -> None:
    from open_clip.transform import PreprocessCfg, merge_preprocess_dict

    text = model_cfg["text_cfg"]
    if text.get("hf_model_name"):
        from transformers import AutoConfig

        name = text["hf_model_name"]
        hf = _from_hub(name, lambda: AutoConfig.from_pretrained(name))
        hf.save_pretrained(folder / TEXT_MODEL)
        text["hf_model_name"] = TEXT_MODEL
    if text.get("hf_tokenizer_name"):
        from transformers import AutoTokenizer

        tokenizer_name = text["hf_tokenizer_name"]
        tokenizer = _from_hub(tokenizer_name, lambda: AutoTokenizer.from_pretrained(tokenizer_name))
        tokenizer.save_pretrained(folder)
    # open_clip finds weights in a folder by these names; it does not look for *.pt.
    safe = weights.suffix == ".safetensors"
    name = "open_clip_model.safetensors" if safe else "open_clip_pytorch_model.bin"
    shutil.copyfile(weights, folder / name)
    preprocess = merge_preprocess_dict(PreprocessCfg(), tag)
    preprocess.pop("size", None)  # the architecture has it
    description = {"model_cfg": model_cfg, "preprocess_cfg": preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(description, indent=2) + "\n")


def _snapshot(name: str, folder: Path) -> None:
    from huggingface_hub import snapshot_download

    # Formats of other frameworks, and exports that sentence-transformers does not load here.
    other = [
        "*.h5",
        "*.msgpack",
        "*.ot",
        "*.onnx",
        "onnx/*",
        "openvino/*",
        "*.md",
        ".gitattributes",
    ]
    snapshot_download(name, local_dir=str(folder), ignore_patterns=other)
    shutil.rmtree(folder / ".cache", ignore_errors=True)
    # Pickles that have a safetensors twin are not needed.
    for pickle in folder.rglob("pytorch_model.bin"):
        if pickle.with_name("model.safetensors").is_file():
            pickle.unlink()


def _from_hub(name: str, get: Callable[[], Result]) -> Result:
    try:
        return get()
    except Exception as error:  # the hub's clients raise everything from OSError to RuntimeError
        raise LaionHpcError(
            f"{name}: cannot be fetched: {str(error).strip() or error!r}; check that this machine "
            "has internet (and HF_HUB_OFFLINE is not set) and that the name is right"
        ) from error
