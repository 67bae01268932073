"""Addresses of LAION's published heads, and the download of those that a config lacks."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from laion_hpc.config import Config
from laion_hpc.errors import InputError, LaionHpcError
from laion_hpc.heads.head import DESCRIPTION, load_head
from laion_hpc.heads.import_published import import_head
from laion_hpc.heads.spaces import space_of
from laion_hpc.models.folders import resolve_folder
from laion_hpc.web.fetch import fetch

ATTEMPTS = 3
"""A head is small, and a machine without internet should fail soon."""

IMAGES = "images"
"""The space of a head that reads images."""
_L14, _B32, _H14 = "ViT-L-14/openai", "ViT-B-32/openai", "ViT-H-14/laion2b_s32b_b79k"

_DETECTOR = "https://raw.githubusercontent.com/LAION-AI/CLIP-based-NSFW-Detector/main"
_AESTHETIC = "https://github.com/LAION-AI/aesthetic-predictor/raw/main"
_IMPROVED = "https://github.com/christophschuhmann/improved-aesthetic-predictor/raw/main"
_WATERMARK = "https://github.com/LAION-AI/LAION-5B-WatermarkDetection/raw/main/models"


@dataclass(frozen=True)
class Published:
    """A file with a head."""

    kind: str
    url: str
    sha256: str = ""
    """Empty if unknown: then the fetched file is not checked."""


HEADS: dict[tuple[str, str], Published] = {
    ("punsafe", _L14): Published(
        "nsfw-autokeras",
        f"{_DETECTOR}/clip_autokeras_binary_nsfw.zip",
        "905520bb0336accc73ee282c605d926aef90cf14248889d44b9cee50eef71f8a",
    ),
    ("punsafe", _B32): Published(
        "nsfw-autokeras",
        f"{_DETECTOR}/clip_autokeras_nsfw_b32.zip",
        "78715ab9d64485167e8c9ade3b8e6761a17a16c24d114bd47431ac1dab46462b",
    ),
    ("punsafe", _H14): Published("nsfw-h14", f"{_DETECTOR}/h14_nsfw.pth"),
    ("aesthetic", _L14): Published(
        "aesthetic",
        f"{_IMPROVED}/sac%2Blogos%2Bava1-l14-linearMSE.pth",
        "21dd590f3ccdc646f0d53120778b296013b096a035a2718c9cb0d511bff0f1e0",
    ),
    ("aesthetic", _B32): Published(
        "aesthetic",
        f"{_AESTHETIC}/sa_0_4_vit_b_32_linear.pth",
        "c7b14cead230694acc7b9447974d3cad78003c72da032e402a303b6c2429e85f",
    ),
    ("pviolence", _L14): Published(
        "violence",
        f"{_DETECTOR}/violence_detection_vit_l_14.npy",
        "cc08f81ef50b1ef71452ddc87285fe6fbbc01b6fe8f8b8c24482c386ef2ab7e1",
    ),
    ("pviolence", _B32): Published(
        "violence",
        f"{_DETECTOR}/violence_detection_vit_b_32.npy",
        "76909cca3e77abbbb21313895756773a9c6fb26c9cc743f3ef0625f025741982",
    ),
    ("pwatermark", IMAGES): Published("watermark", f"{_WATERMARK}/watermark_model_v1.pt"),
}
"""By the name of the folder in the config and the space of the embeddings (`spaces.space_of`)."""


def missing_heads(config: Config) -> list[str]:
    """The heads of a config that are missing, by their names in it."""
    return [head for head in config.tag.heads if not (resolve_folder(head) / DESCRIPTION).is_file()]


def fetch_heads(config: Config) -> list[str]:
    """Fetch the missing heads of a config that are LAION's; returns their names.

    `embed.model` (or `tag.space`) decides which head is meant. InputError for a head that is not
    published; LaionHpcError if it cannot be reached or is not what it should be.
    """
    missing = missing_heads(config)
    space = config.tag.space or space_of(config.embed.model)
    for head in missing:
        folder = resolve_folder(head)
        published = HEADS.get((folder.name, IMAGES)) or HEADS.get((folder.name, space))
        if published is None:
            raise InputError(
                f"tag.heads: {head}: no such head, and none is published as {folder.name} for "
                f"embeddings of {space}; make it with `laion-hpc heads train`, or leave it out of "
                "tag.heads"
            )
        with tempfile.TemporaryDirectory() as scratch:
            file = Path(scratch) / published.url.rpartition("/")[2]
            _download(published, file)
            import_head(published.kind, file, folder)
    for head in config.tag.heads:
        load_head(head)
    return missing


def _download(published: Published, file: Path) -> None:
    try:
        fetch(published.url, file, sha256=published.sha256, attempts=ATTEMPTS)
    except InputError as error:
        raise LaionHpcError(
            f"{error}; or fetch it elsewhere and run `laion-hpc heads import {published.kind} FILE "
            "--output FOLDER`"
        ) from None
