"""Text towers from sentence-transformers, such as clip-ViT-B-32-multilingual-v1."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np
import torch
from numpy.typing import NDArray

from laion_hpc.config.sections import ModelConfig
from laion_hpc.errors import InputError, UsageError
from laion_hpc.models.open_clip_tower import first_lines
from laion_hpc.models.packed import pack
from laion_hpc.models.runtime import Runtime
from laion_hpc.models.torchvision_shim import ensure_torchvision
from laion_hpc.models.vectors import unit

_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class SentenceTower:
    """A sentence-transformers model: it embeds texts into the space of a CLIP's images."""

    def __init__(self, config: ModelConfig, folder: Path, runtime: Runtime) -> None:
        ensure_torchvision()  # the import of transformers uses torchvision
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging

        logging.disable_progress_bar()  # type: ignore[no-untyped-call] # noise in a log
        self.name = f"sentence_transformers {config.name}"
        self.device = runtime.device
        self.side = 0
        try:
            model = SentenceTransformer(
                str(folder), device=runtime.device, local_files_only=True, trust_remote_code=False
            )
        except Exception as error:  # of torch, safetensors, pickle, json, transformers …
            raise InputError(
                f"{folder}: the sentence-transformers model is incomplete: {first_lines(error)}"
            ) from error
        for name, value in model.state_dict().items():
            if value.is_floating_point() and not bool(torch.isfinite(value).all()):
                raise InputError(f"{folder}: {name} holds values that are not finite")
        self._model = model.eval().requires_grad_(False).to(_TYPES[runtime.precision])
        if runtime.device == "cpu":
            pack(self._model)
        self.width = 0
        self.width = self.embed_texts(["a"]).shape[1]

    def preprocess(self, image: object) -> NoReturn:  # noqa: ARG002
        """UsageError: there is no image tower."""
        self._no_images()

    def embed_pixels(self, pixels: object) -> NoReturn:  # noqa: ARG002
        """UsageError: there is no image tower."""
        self._no_images()

    def begin_pixels(self, pixels: object) -> NoReturn:  # noqa: ARG002
        """UsageError: there is no image tower."""
        self._no_images()

    def embed_images(self, images: object) -> NoReturn:  # noqa: ARG002
        """UsageError: there is no image tower."""
        self._no_images()

    @torch.inference_mode()
    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Texts -> (n, width)."""
        if not texts:
            return np.empty((0, self.width), np.float32)
        vectors = self._model.encode(
            list(texts),
            batch_size=len(texts),
            convert_to_tensor=True,
            normalize_embeddings=False,
            show_progress_bar=False,
        )
        return unit(vectors, self.name)

    def begin_texts(self, texts: Sequence[str]) -> Callable[[], NDArray[np.float32]]:
        """The texts are embedded at once: the library waits for the GPU itself."""
        found = self.embed_texts(texts)
        return lambda: found

    def _no_images(self) -> NoReturn:
        raise UsageError(
            f"{self.name} embeds texts only; for images name an open_clip model "
            "(filter.english, embed.model)"
        )
