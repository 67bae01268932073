"""Rendered pictures, captions and tokenizers from which the demo's models are trained."""

from __future__ import annotations

import io
import json
import random
import zlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from torch import Tensor

from laion_hpc.demo.captions import LANGUAGES, caption, name_only
from laion_hpc.demo.scenes import BACKGROUNDS, COLOURS, LAYOUTS, SHAPES, Scene, random_scene, render

IMAGE_SIZE = 64
CONTEXT_LENGTH = 64
PAD, START, END = "<pad>", "<start>", "<end>"
PAD_ID, START_ID, END_ID = 0, 1, 2

NAMES = "names"  # stands for name_only among the languages
SPEECHES: tuple[str, ...] = (*LANGUAGES, NAMES)

_OVERLAY_ODDS = 0.08


@dataclass(frozen=True)
class Sample:
    """What is needed to render one picture again."""

    scene: Scene
    watermark: bool
    hazard: bool
    seed: int
    size: int
    jpeg: bool


def held_out(scene: Scene) -> bool:
    """Whether a scene, a tenth of all, is kept from training in whatever render.

    There are only 1,440 pictures of one object: without this nearly all of the scenes that are
    measured would have been trained on, if in other renders.
    """
    return zlib.crc32(repr(scene).encode()) % 10 == 0


def draw_samples(
    count: int,
    seed: int,
    *,
    sizes: Sequence[int] = (320,),
    jpeg: bool = True,
    overlay_odds: float = _OVERLAY_ODDS,
    held: bool | None = None,
) -> list[Sample]:
    """Draw `count` samples; another `seed` gives other scenes and other renders.

    `held` restricts them to scenes that are held out (True) or that are not (False).
    """
    rng = random.Random(seed)

    def scene() -> Scene:
        drawn = random_scene(rng)
        while held is not None and held_out(drawn) != held:
            drawn = random_scene(rng)
        return drawn

    return [
        Sample(
            scene=scene(),
            watermark=rng.random() < overlay_odds,
            hazard=rng.random() < overlay_odds,
            seed=rng.getrandbits(32),
            size=rng.choice(sizes),
            jpeg=jpeg,
        )
        for _ in range(count)
    ]


def picture(sample: Sample) -> Image.Image:
    """Render a sample, through JPEG at quality 90 when it asks for that."""
    image = render(
        sample.scene,
        size=sample.size,
        watermark=sample.watermark,
        hazard=sample.hazard,
        seed=sample.seed,
    )
    if not sample.jpeg:
        return image
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    buffer.seek(0)
    return Image.open(buffer).convert("RGB")


def _pixels(sample: Sample) -> NDArray[np.uint8]:
    small = picture(sample).resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BICUBIC)
    return np.asarray(small)


def render_all(samples: Sequence[Sample], workers: int = 2) -> Tensor:
    """Render samples at the models' input size, uint8 (n, 3, 64, 64)."""
    if workers == 1:
        arrays = [_pixels(sample) for sample in samples]
    else:
        # spawn: the parent's torch threads do not survive a fork
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            arrays = list(pool.map(_pixels, samples, chunksize=128))
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).contiguous()


def describe(sample: Sample, speech: str, rng: random.Random) -> str:
    """A caption of the sample in one of `SPEECHES`."""
    if speech == NAMES:
        return name_only(sample.scene)
    return caption(sample.scene, speech, rng, watermark=sample.watermark, hazard=sample.hazard)


@dataclass(frozen=True)
class Attributes:
    """What scenes show, as training targets: one row a sample."""

    background: Tensor  # (n,) int64
    layout: Tensor  # (n,) int64
    first: Tensor  # (n,) int64, the first object's shape: it carries the order of two
    shapes: Tensor  # (n, 16) float32, 1 where shown
    colours: Tensor  # (n, 9)
    bound: Tensor  # (n, 144), shape and colour together
    overlays: Tensor  # (n, 2): watermark, hazard
    identity: Tensor  # (n,) int64, equal for equal scenes

    def take(self, rows: Tensor) -> Attributes:
        """The attributes of some rows."""
        return Attributes(**{name: value[rows] for name, value in vars(self).items()})


def attributes(samples: Sequence[Sample]) -> Attributes:
    """Code what the samples show."""
    shapes = {name: i for i, name in enumerate(SHAPES)}
    colours = {name: i for i, name in enumerate(COLOURS)}
    n = len(samples)
    shown = torch.zeros(n, len(SHAPES))
    tinted = torch.zeros(n, len(COLOURS))
    bound = torch.zeros(n, len(SHAPES) * len(COLOURS))
    identities: dict[Scene, int] = {}
    for row, sample in enumerate(samples):
        identities.setdefault(sample.scene, len(identities))
        for thing in sample.scene.things:
            shape, colour = shapes[thing.shape], colours[thing.colour]
            shown[row, shape] = tinted[row, colour] = 1.0
            bound[row, shape * len(COLOURS) + colour] = 1.0
    scenes = [sample.scene for sample in samples]
    return Attributes(
        background=torch.tensor([BACKGROUNDS.index(scene.background) for scene in scenes]),
        layout=torch.tensor([LAYOUTS.index(scene.layout) for scene in scenes]),
        first=torch.tensor([shapes[scene.things[0].shape] for scene in scenes]),
        shapes=shown,
        colours=tinted,
        bound=bound,
        overlays=torch.tensor([[float(s.watermark), float(s.hazard)] for s in samples]),
        identity=torch.tensor([identities[scene] for scene in scenes]),
    )


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> Tokenizer:
    """Train a byte-level BPE: captions in Russian or Chinese stay short without a large table."""
    tokenizer = Tokenizer(models.BPE())
    # NFKC makes "，" a "," as the cleaning of open_clip's tokenizers does
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        min_frequency=8,
        show_progress=False,
        special_tokens=[PAD, START, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}", special_tokens=[(START, START_ID), (END, END_ID)]
    )
    return tokenizer


def save_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Write a tokenizer as transformers and open_clip load it from a folder."""
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": CONTEXT_LENGTH,
        "pad_token": PAD,
        "bos_token": START,
        "eos_token": END,
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")


def encode(tokenizer: Tokenizer, texts: Sequence[str]) -> Tensor:
    """Token ids of texts, padded with zeros to the context length, int64 (n, 64)."""
    ids = torch.zeros(len(texts), CONTEXT_LENGTH, dtype=torch.int64)
    for row, encoding in enumerate(tokenizer.encode_batch(list(texts))):
        tokens = encoding.ids[:CONTEXT_LENGTH]
        tokens[-1] = END_ID
        ids[row, : len(tokens)] = torch.tensor(tokens)
    return ids
