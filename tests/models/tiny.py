"""Tiny models with random weights, in the files that real ones have; no network needed."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from laion_hpc.config.sections import ModelConfig

WIDTH = 24
MERGES = ["r e", "b l", "bl u", "o n</w>", "i n"]
TEXT = {
    "context_length": 16,
    "vocab_size": 512 + len(MERGES) + 2,
    "width": 16,
    "heads": 2,
    "layers": 1,
}
RESNET = {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "head_width": 16}
TRANSFORMER = {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 8}


def open_clip_folder(
    folder: Path, *, seed: int, vision: dict[str, Any] = TRANSFORMER, width: int = WIDTH, **cfg: Any
) -> ModelConfig:
    """Write an open_clip folder with its own BPE merges; returns the config that names it."""
    import torch
    from safetensors.torch import save_file

    from laion_hpc.models.torchvision_shim import ensure_torchvision

    ensure_torchvision()
    from open_clip.model import CLIP

    torch.manual_seed(seed)
    model_cfg = {"embed_dim": width, "vision_cfg": vision, "text_cfg": TEXT, **cfg}
    model = CLIP(**model_cfg)
    folder.mkdir(parents=True)
    weights = {name: value.contiguous() for name, value in model.state_dict().items()}
    save_file(weights, folder / "open_clip_model.safetensors", {"format": "pt"})
    with gzip.open(folder / "bpe.txt.gz", "wb") as stream:
        stream.write("\n".join(["#version: 1", *MERGES]).encode())
    text = TEXT | {"tokenizer_kwargs": {"bpe_path": "bpe.txt.gz"}}
    description = {
        "model_cfg": model_cfg | {"text_cfg": text},
        "preprocess_cfg": {"mean": [0.5, 0.4, 0.3], "std": [0.25, 0.3, 0.35]},
    }
    (folder / "open_clip_config.json").write_text(json.dumps(description))
    return ModelConfig(name="tiny", folder=str(folder))


def hugging_face_folder(folder: Path, *, seed: int, width: int = WIDTH) -> ModelConfig:
    """Write an open_clip folder whose text tower is transformers' XLM-RoBERTa, as multilingual
    open_clip models have: with the tower's config in the sub-folder that `models fetch` writes.
    """
    import torch
    from safetensors.torch import save_file

    from laion_hpc.models.torchvision_shim import ensure_torchvision

    ensure_torchvision()
    from open_clip.model import CustomTextCLIP
    from transformers import XLMRobertaConfig

    torch.manual_seed(seed)
    folder.mkdir(parents=True)
    XLMRobertaConfig(
        vocab_size=len(_words()), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=40, pad_token_id=0,
    ).save_pretrained(folder / "text_model")  # fmt: skip
    _tokenizer(folder)
    text = {
        "hf_model_name": "text_model",
        "hf_tokenizer_name": "named-on-the-hub",
        "hf_pooler_type": "mean_pooler",
        "hf_proj_type": "mlp",
        "context_length": 16,
    }
    here = text | {"hf_model_name": str(folder / "text_model"), "hf_model_pretrained": False}
    model = CustomTextCLIP(embed_dim=width, vision_cfg=TRANSFORMER, text_cfg=here)
    weights = {name: value.contiguous() for name, value in model.state_dict().items()}
    save_file(weights, folder / "open_clip_model.safetensors", {"format": "pt"})
    description = {
        "model_cfg": {"embed_dim": width, "vision_cfg": TRANSFORMER, "text_cfg": text},
        "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3},
    }
    (folder / "open_clip_config.json").write_text(json.dumps(description))
    return ModelConfig(name="tiny-multilingual", folder=str(folder))


def _words() -> list[str]:
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    return ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{c}" for c in letters)]


def _tokenizer(folder: Path) -> None:
    """Write a WordPiece tokenizer of single letters."""
    from transformers import BertTokenizerFast

    (folder / "vocab.txt").write_text("\n".join(_words()))
    vocabulary = str(folder / "vocab.txt")
    BertTokenizerFast(vocab=vocabulary, model_max_length=32).save_pretrained(folder)


def sentence_folder(folder: Path, *, seed: int, width: int = WIDTH) -> ModelConfig:
    """Write a sentence-transformers folder: DistilBERT, mean pooling, projection to `width`."""
    import torch

    from laion_hpc.models.torchvision_shim import ensure_torchvision

    ensure_torchvision()
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Dense, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling
    from transformers import DistilBertConfig, DistilBertModel

    torch.manual_seed(seed)
    base = folder.with_name(f"{folder.name}-base")
    base.mkdir(parents=True)
    _tokenizer(base)
    config = DistilBertConfig(
        vocab_size=len(_words()), dim=16, hidden_dim=32, n_heads=2, n_layers=1,
        max_position_embeddings=32,
    )  # fmt: skip
    DistilBertModel(config).save_pretrained(base)
    transformer = Transformer(str(base))
    model = SentenceTransformer(
        modules=[
            transformer,
            Pooling(16, "mean"),
            Dense(16, width, bias=False, activation_function=torch.nn.Identity()),
        ],
        device="cpu",
    )
    model.save(str(folder))
    return ModelConfig(library="sentence_transformers", name="tiny", folder=str(folder))


def picture(seed: int, size: tuple[int, int] = (48, 40)) -> Image.Image:
    """A picture of coloured stripes and noise; another seed, another picture."""
    rng = np.random.default_rng(seed)
    pixels = np.full((size[1], size[0], 3), rng.integers(0, 256, 3), np.float64)
    for _ in range(4):
        at = int(rng.integers(0, size[0]))
        pixels[:, at : at + int(rng.integers(2, 16))] = rng.integers(0, 256, 3)
    pixels += rng.normal(0, 6, pixels.shape)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
