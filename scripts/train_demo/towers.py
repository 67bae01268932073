"""The demo's models while they are trained: two text towers, one image tower, their losses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from laion_hpc.demo.scenes import BACKGROUNDS, COLOURS, LAYOUTS, SHAPES
from scripts.train_demo import data

EMBED_DIM = 64
MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)

_VISION: dict[str, Any] = {
    "image_size": data.IMAGE_SIZE,
    "layers": [1, 1, 1, 1],
    "width": 12,
    "head_width": 64,
}


def model_config(vocabulary: int) -> dict[str, Any]:
    """open_clip's model_cfg for a text tower of `vocabulary` tokens."""
    return {
        "embed_dim": EMBED_DIM,
        "vision_cfg": _VISION,
        "text_cfg": {
            "context_length": data.CONTEXT_LENGTH,
            "vocab_size": vocabulary,
            "width": 96,
            "heads": 4,
            "layers": 2,
            "pool_type": "eos",
            "eos_id": data.END_ID,
            # any name will do: from a local folder open_clip reads the tokenizer of that folder
            "hf_tokenizer_name": "laion-hpc-demo",
        },
    }


class Probe(nn.Module):
    """Reads from an embedding what the scene shows. Both kinds of embedding share it.

    It is left out of the saved models: its loss makes both towers learn shapes and colours from
    the start, which captions alone would teach far more slowly.
    """

    def __init__(self) -> None:
        super().__init__()
        sizes = {
            "background": len(BACKGROUNDS),
            "layout": len(LAYOUTS),
            "first": len(SHAPES),
            "shapes": len(SHAPES),
            "colours": len(COLOURS),
            "bound": len(SHAPES) * len(COLOURS),
            "overlays": 2,
        }
        self.readers = nn.ModuleDict({name: nn.Linear(EMBED_DIM, n) for name, n in sizes.items()})
        self.scale = nn.Parameter(torch.tensor(16.0))

    def forward(self, embedding: Tensor, truth: data.Attributes, *, overlays: float) -> Tensor:
        """Loss of reading the attributes from unit embeddings (n, d); `overlays` is a weight."""
        scaled = embedding * self.scale
        losses = []
        for name, reader in self.readers.items():
            logits, target = reader(scaled), getattr(truth, name)
            if target.ndim == 1:
                losses.append(functional.cross_entropy(logits, target))
            elif name != "overlays":
                loss = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
                losses.append(loss.sum(-1).mean())
            elif overlays:
                losses.append(
                    overlays * functional.binary_cross_entropy_with_logits(logits, target)
                )
        return torch.stack(losses).sum()


def clip_loss(images: Tensor, texts: Tensor, scale: Tensor, identity: Tensor) -> Tensor:
    """CLIP's symmetric loss; other samples of the same scene are no negatives."""
    logits = scale * images @ texts.T
    twins = (identity[:, None] == identity[None, :]) & ~torch.eye(len(identity), dtype=torch.bool)
    logits = logits.masked_fill(twins, -1e4)
    labels = torch.arange(len(logits))
    return (
        functional.cross_entropy(logits, labels) + functional.cross_entropy(logits.T, labels)
    ) / 2


def threshold_loss(images: Tensor, texts: Tensor, threshold: float, far: Tensor) -> Tensor:
    """Sigmoid loss that puts right pairs above a cosine and clearly wrong ones below it.

    `far` (n, n) marks the wrong pairs. Scale and margin are fixed: the loss places the threshold,
    CLIP's own loss keeps shaping the space.
    """
    cosines = images @ texts.T
    right = functional.softplus(-30.0 * (cosines.diagonal() - threshold - 0.06)).mean()
    wrong = functional.softplus(30.0 * (cosines - threshold + 0.06))
    return right + (wrong * far).sum() / len(images)


def far_pairs(truth: data.Attributes) -> Tensor:
    """Marks the pairs (n, n) that share at most one of background, a shape and a colour."""
    same = (truth.background[:, None] == truth.background[None, :]).float()
    same += (truth.shapes @ truth.shapes.T > 0).float()
    same += (truth.colours @ truth.colours.T > 0).float()
    return (same <= 1).float()


def encode_short(model: nn.Module, ids: Tensor) -> Tensor:
    """The model's text embedding, (n, d), without spending time on padding.

    Attention is causal, so what stands behind the end of a text cannot change its embedding.
    """
    length = int((ids != data.PAD_ID).sum(1).max())
    ids = ids[:, :length]
    clip: Any = model
    x = clip.token_embedding(ids) + clip.positional_embedding[:length]
    x = clip.ln_final(clip.transformer(x, attn_mask=clip.attn_mask[:length, :length]))
    ends = (ids == data.END_ID).int().argmax(-1)
    return functional.normalize(
        (x[torch.arange(len(x)), ends] @ clip.text_projection).float(), dim=-1
    )


def normalise(pixels: Tensor) -> Tensor:
    """What open_clip's preprocessing does last; values from 0 to 1 in."""
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (MEAN, STD))
    return ((pixels - mean) / std).contiguous(memory_format=torch.channels_last)


class Towers(nn.Module):
    """The English and the multilingual model around one image tower, and the probe."""

    def __init__(self, vocabularies: dict[str, int]) -> None:
        super().__init__()
        from open_clip.model import CLIP

        english, multilingual = (
            CLIP(**model_config(vocabularies[name])) for name in ("english", "multilingual")
        )
        multilingual.visual = english.visual
        self.english, self.multilingual, self.probe = english, multilingual, Probe()

    def losses(
        self,
        pixels: Tensor,
        texts: Sequence[tuple[nn.Module, Tensor, float]],
        truth: data.Attributes,
        *,
        stage: int,
    ) -> Tensor:
        """The loss of a batch; `texts` holds (model, token ids (n, length), threshold)."""
        with torch.autocast("cpu", dtype=torch.bfloat16):
            images = self.english.visual(pixels)
            encoded = [encode_short(model, ids) for model, ids, _ in texts]
        images = functional.normalize(images.float(), dim=-1)
        weight = 1.0 if stage == 1 else 0.3
        loss: Tensor = weight * 0.3 * self.probe(images, truth, overlays=8.0 / weight)
        far = far_pairs(truth)
        for (model, _, threshold), text in zip(texts, encoded, strict=True):
            scale: Any = model.logit_scale
            part = clip_loss(images, text, scale.exp().clamp(max=60), truth.identity)
            part = part + weight * 0.2 * self.probe(text, truth, overlays=0.0)
            if stage == 2:
                part = part + 0.5 * threshold_loss(images, text, threshold, far)
            loss = loss + part / len(texts)
        return loss
