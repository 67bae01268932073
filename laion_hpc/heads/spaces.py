"""The model whose embeddings a head reads: a head fits the embeddings of one space only.

A space is called `ARCHITECTURE/TAG` as in open_clip, without -quickgelu (the same weights), such
as `ViT-L-14/openai`; a model from a folder without a tag has its `name`.
"""

from __future__ import annotations

from pathlib import Path

from laion_hpc.config import Config, digest
from laion_hpc.config.sections import ModelConfig
from laion_hpc.errors import UsageError
from laion_hpc.files import ledger
from laion_hpc.heads.head import Description, load_head


def space_of(model: ModelConfig) -> str:
    """The space of a model's image embeddings."""
    name = model.name.removesuffix("-quickgelu")
    return f"{name}/{model.pretrained}" if model.pretrained else name


def space_of_embeddings(folder: Path, config: Config) -> str:
    """The space of the embeddings of a block, or of a folder of blocks: `tag.space`, else that of
    `embed.model`.

    UsageError if `embed` made them with another config: its model may be another.
    """
    if config.tag.space:
        return config.tag.space
    for manifest in (folder / ledger.MANIFEST, *sorted(folder.glob(f"*/{ledger.MANIFEST}"))):
        if not manifest.is_file():
            continue
        made_by = ledger.read(manifest).config
        if made_by not in ("", digest(config, "embed")):
            raise UsageError(
                f"{manifest.parent}: embedded with another config, so `embed.model` "
                "may not be its model: give the config that `embed` had, or "
                "name the model of the embeddings in tag.space"
            )
    return space_of(config.embed.model)


def check_space(head: Description, *, space: str, width: int | None, whose: str) -> None:
    """UsageError, naming both, if a head reads other embeddings than these.

    `space` and `width` (None: not known yet) are those of the embeddings, which `whose` names.
    Heads that read images fit all.
    """
    if head.image is not None or (head.space == space and width in (None, head.width)):
        return
    known = "" if width is None else f" ({width} numbers)"
    way_out = ", or set tag.space if the two names mean the same model"
    raise UsageError(
        f"tag.heads: {head.name} reads embeddings of {head.space} ({head.width} numbers), but "
        f"{whose} are of {space}{known}: name heads of that model in tag.heads"
        + (way_out if width in (None, head.width) else "")
    )


def check_config(config: Config) -> None:
    """UsageError if a head of a config is damaged or of another space; all must be there."""
    space = config.tag.space or space_of(config.embed.model)
    for name in config.tag.heads:
        head = load_head(name).description
        check_space(head, space=space, width=None, whose="those of embed.model")
