"""Writes the demo's models as folders, loads them as their users do, and writes their README."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from laion_hpc.demo.captions import LANGUAGES
from laion_hpc.models.torchvision_shim import ensure_torchvision
from scripts.train_demo import data
from scripts.train_demo.report import HEADS, Measured, heads_section, readme, table
from scripts.train_demo.towers import EMBED_DIM, MEAN, STD, Towers, model_config


def _save(weights: dict[str, Tensor], path: Path) -> None:
    save_file(weights, str(path), {"format": "pt"})
    path.chmod(0o644)  # safetensors lets the owner alone read what it writes


def save_model(model: nn.Module, tokenizer: Any, vocabulary: int, folder: Path) -> None:
    """Write a model as a folder that open_clip loads as ``local-dir:FOLDER``; fp16."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "model_cfg": model_config(vocabulary),
        "preprocess_cfg": {
            "mean": MEAN, "std": STD, "interpolation": "bicubic", "resize_mode": "shortest",
        },
    }  # fmt: skip
    (folder / "open_clip_config.json").write_text(json.dumps(config, indent=2) + "\n")
    weights = {
        name: (value.half() if value.is_floating_point() else value).contiguous()
        for name, value in model.state_dict().items()
    }
    _save(weights, folder / "open_clip_model.safetensors")
    data.save_tokenizer(tokenizer, folder)


class Encoder:
    """A saved model, loaded as its users load it."""

    def __init__(self, folder: Path) -> None:
        ensure_torchvision()
        import open_clip

        name = f"local-dir:{folder.resolve()}"
        model, _, self.preprocess = open_clip.create_model_and_transforms(name)
        self.model = model.eval()
        self.tokenizer = open_clip.get_tokenizer(name)

    @torch.no_grad()
    def images(self, samples: Sequence[data.Sample]) -> Tensor:
        """Unit embeddings of pictures, rendered and preprocessed, (n, d)."""
        parts = []
        for start in range(0, len(samples), 256):
            pictures = [self.preprocess(data.picture(s)) for s in samples[start : start + 256]]
            parts.append(self.model.encode_image(torch.stack(pictures), normalize=True))
        return torch.cat(parts)

    @torch.no_grad()
    def texts(self, texts: Sequence[str]) -> Tensor:
        """Unit embeddings of captions, (n, d)."""
        parts = [
            self.model.encode_text(self.tokenizer(list(texts[i : i + 512])), normalize=True)
            for i in range(0, len(texts), 512)
        ]
        return torch.cat(parts)


def write_readme(output: Path, towers: Towers, measured: Measured) -> None:
    """Write the README that goes with the models and with the heads' reports beside them."""

    def size(folder: Path) -> str:
        return f"{sum(path.stat().st_size for path in folder.iterdir()) / 1e6:.2f} MB"

    def parameters(module: nn.Module) -> int:
        return sum(parameter.numel() for parameter in module.parameters())

    vision = parameters(towers.english.visual)
    folders = {
        "english": "CLIP for English captions",
        "multilingual": "CLIP for captions in all languages",
        "heads/punsafe": "finds the warning sign that stands for unsafe content",
        "heads/pwatermark": "finds the watermark",
    }
    facts = {
        "sizes": "\n".join(
            f"| `{name}` | {what} | {size(output / name)} |" for name, what in folders.items()
        ),
        "vision": f"{vision:,}",
        "english": f"{parameters(towers.english) - vision:,}",
        "multilingual": f"{parameters(towers.multilingual) - vision:,}",
        "width": str(EMBED_DIM),
        "languages": " ".join(LANGUAGES),
        "count": f"{measured.count:,}",
        "table": table(measured.reports, measured.found),
        "misses": "\n".join(
            f"| {what} | {better:.1%} | {dropped:.1%} |"
            for what, (better, dropped) in measured.misses.items()
        ),
    }
    (output / "README.md").write_text(readme(facts) + heads_section(head_reports(output)))


def head_reports(models: Path) -> dict[str, dict[str, Any]]:
    """What `heads train` has said of the demo's heads, by name."""
    paths = sorted((models / "heads").glob("*/report.json"))
    return {path.parent.name: json.loads(path.read_bytes()) for path in paths}


def refresh_readme(models: Path) -> None:
    """Put the heads' reports into a README that is there; what it says of the models stays."""
    path = models / "README.md"
    kept = path.read_text().partition(HEADS)[0]
    path.write_text(kept + heads_section(head_reports(models)))
