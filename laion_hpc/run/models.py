"""Fetch the models and heads that a config names, on a machine with internet, and check them.

laion-hpc models fetch --config config/my.yaml    from the hub into models/, with models/lock.json;
                                                  LAION's heads from where they are published
laion-hpc models check --config config/my.yaml    are they there, and unaltered?
laion-hpc models import ViT-B-32.safetensors --name ViT-B-32-quickgelu --like openai \\
    --output models/my-b32                        a folder of a weights file

Jobs never use the hub: they take what lies in models/ (or in $LAION_HPC_MODELS).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from laion_hpc.runtime import console
from laion_hpc.runtime.arguments import add_config

if TYPE_CHECKING:
    from laion_hpc.config import Config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `laion-hpc models`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for action, meaning in (
        ("fetch", "bring what is missing or altered from the hub"),
        ("check", "verify presence, sizes and SHA-256"),
    ):
        part = actions.add_parser(action, help=meaning)
        add_config(part)
    part = actions.add_parser("import", help="make a model folder of an open_clip weights file")
    part.add_argument("weights", type=Path, help=".safetensors, .bin, .pt or .pth")
    part.add_argument("--name", required=True, help="architecture, such as ViT-L-14-quickgelu")
    part.add_argument(
        "--like",
        required=True,
        metavar="TAG",
        help="open_clip's tag of weights with the same activation, mean and std, such as openai",
    )
    part.add_argument("--output", required=True, type=Path, help="the new folder")


def run(options: argparse.Namespace) -> int:
    """Fetch, import or check the models that a config names."""
    if options.action == "import":
        from laion_hpc.models.fetch import import_weights

        import_weights(options.weights, name=options.name, like=options.like, output=options.output)
        console.out(f"{options.output}: give it as `folder` of a model in the config")
        return 0
    from laion_hpc import config as settings
    from laion_hpc.models import store

    config = settings.load(options.config)
    file = options.config or "config/default.yaml"
    models = store.named(config)
    if options.action == "fetch":
        from laion_hpc.heads.published import fetch_heads
        from laion_hpc.models.fetch import fetch

        for key, model in models.items():
            what = "fetched" if fetch(model, file) else "is there"
            console.out(f"{key}: {model.name} {what}")
        for head in fetch_heads(config):
            console.out(f"tag.heads: {head} fetched")
    else:
        store.verify(models, file)
        for key, model in models.items():
            console.out(f"{key}: {model.name} in {store.folder_of(model)}, whole")
    _check_heads(config, file)
    return 0


def _check_heads(config: Config, file: str) -> None:
    from laion_hpc.errors import InputError
    from laion_hpc.heads.spaces import check_config
    from laion_hpc.models.folders import resolve_folder

    heads = config.tag.heads
    missing = [head for head in heads if not (resolve_folder(head) / "head.json").is_file()]
    if missing:
        raise InputError(
            f"tag.heads: {', '.join(missing)}: no such heads; run, where there is internet:\n"
            f"  laion-hpc models fetch --config {file}"
        )
    check_config(config)
    for head in heads:
        console.out(f"tag.heads: {head} is there")
