"""Measures the demo's models on unseen pictures: filtering and search; writes what came of it."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from laion_hpc.demo.captions import distinct
from laion_hpc.demo.scenes import BACKGROUNDS, COLOURS, SHAPES, Scene, Thing
from scripts.train_demo.data import SPEECHES, Sample, describe

THRESHOLDS = {speech: 0.28 if speech == "en" else 0.26 for speech in SPEECHES}
"""Cosine from which a pair is kept: LAION's values."""

TextEncoder = Callable[[Sequence[str]], Tensor]
"""Captions -> unit embeddings (n, d)."""


@dataclass(frozen=True)
class SpeechReport:
    """How well one language is understood; shares from 0 to 1."""

    threshold: float  # cosine from which a pair is kept
    kept: float  # right captions at or above the threshold
    dropped: float  # wrong captions below it
    auc: float
    kept_overlaid: float  # right captions of pictures with a watermark or a hazard sign


@dataclass(frozen=True)
class Measured:
    """All that is measured of the saved models."""

    count: int  # pictures of held-out scenes
    reports: dict[str, SpeechReport]  # by label
    found: dict[str, float]  # share of searches that succeed, by label
    misses: dict[str, tuple[float, float]]  # see near_misses


def auc(positive: Tensor, negative: Tensor) -> float:
    """Share of (positive, negative) pairs that the scores order rightly."""
    scores = torch.cat([positive, negative])
    ranks = scores.argsort().argsort().double() + 1
    n, m = len(positive), len(negative)
    return float((ranks[:n].sum() - n * (n + 1) / 2) / (n * m))


def wrong_partners(scenes: Sequence[Scene], rng: random.Random) -> list[int]:
    """For every scene the index of another one whose caption would be wrong for its picture."""
    partners = []
    for scene in scenes:
        while not distinct(scenes[other := rng.randrange(len(scenes))], scene):
            pass
        partners.append(other)
    return partners


def measure(
    samples: Sequence[Sample],
    images: Tensor,
    encode_text: TextEncoder,
    speech: str,
    *,
    threshold: float | None = None,
    seed: int = 0,
) -> SpeechReport:
    """Measure one language on rendered samples and their unit image embeddings (n, d).

    `threshold` defaults to that of the language.
    """
    rng = random.Random(f"{seed} {speech}")
    texts = encode_text([describe(sample, speech, rng) for sample in samples])
    right = (images * texts).sum(-1)
    scenes = [sample.scene for sample in samples]
    wrong = torch.cat([(images * texts[wrong_partners(scenes, rng)]).sum(-1) for _ in range(3)])
    threshold = THRESHOLDS[speech] if threshold is None else threshold
    overlaid = torch.tensor([sample.watermark or sample.hazard for sample in samples])
    return SpeechReport(
        threshold=threshold,
        kept=float((right >= threshold).double().mean()),
        dropped=float((wrong < threshold).double().mean()),
        auc=auc(right, wrong),
        kept_overlaid=float((right[overlaid] >= threshold).double().mean()),
    )


def search(
    samples: Sequence[Sample], images: Tensor, encode_text: TextEncoder, speech: str, seed: int = 0
) -> float:
    """Share of captions that find a picture of their very scene among the first five of all."""
    rng = random.Random(f"{seed} {speech}")
    texts = encode_text([describe(sample, speech, rng) for sample in samples])
    scenes = [sample.scene for sample in samples]
    best = (texts @ images.T).topk(5).indices.tolist()
    found = (any(scenes[i] == scene for i in row) for scene, row in zip(scenes, best, strict=True))
    return sum(found) / len(scenes)


def _another(options: Sequence[str], taken: set[str], rng: random.Random) -> str:
    return rng.choice([option for option in options if option not in taken])


def _alter(scene: Scene, what: str, rng: random.Random) -> Scene:
    """The scene with one thing about it changed."""
    first, *rest = scene.things
    if what == "background":
        return replace(scene, background=_another(BACKGROUNDS, {scene.background}, rng))
    if what == "shape":
        shape = _another(SHAPES, {thing.shape for thing in scene.things}, rng)
        return replace(scene, things=(Thing(shape, first.colour), *rest))
    if what == "colour":
        colour = _another(tuple(COLOURS), {thing.colour for thing in scene.things}, rng)
        return replace(scene, things=(Thing(first.shape, colour), *rest))
    (second,) = rest
    if what == "order":
        return replace(scene, things=(second, first))
    swapped = (Thing(first.shape, second.colour), Thing(second.shape, first.colour))
    return replace(scene, things=swapped)


def near_misses(
    samples: Sequence[Sample], images: Tensor, encode_text: TextEncoder, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """What the model makes of English captions that are wrong in one thing alone.

    For each kind of mistake: the share that scores below the right caption (0.5 by chance), and
    the share that a threshold of 0.26 drops.
    """
    results = {}
    for what in ("background", "shape", "colour", "order", "colours swapped"):
        rng = random.Random(f"{seed} {what}")
        pairs = what in ("order", "colours swapped")
        rows = [i for i, s in enumerate(samples) if not pairs or len(s.scene.things) == 2]
        chosen = [samples[i] for i in rows]
        altered = [replace(s, scene=_alter(s.scene, what, rng)) for s in chosen]
        right, wrong = (
            (images[rows] * encode_text([describe(s, "en", rng) for s in part])).sum(-1)
            for part in (chosen, altered)
        )
        better = float((wrong < right).double().mean())
        results[what] = (better, float((wrong < 0.26).double().mean()))
    return results


def table(reports: dict[str, SpeechReport], found: dict[str, float]) -> str:
    """A Markdown table, one row a label; `found` is the success of searches by label."""
    lines = [
        "| captions | threshold | right kept | wrong dropped | AUC | right kept, overlaid "
        "| top 5 of 1,500 |",
        "|---|---|---|---|---|---|---|",
    ]
    for label, report in reports.items():
        row = asdict(report)
        cells = [f"{row[key]:.2%}" for key in ("kept", "dropped")]
        cells += [f"{row['auc']:.4f}", f"{row['kept_overlaid']:.2%}", f"{found[label]:.1%}"]
        lines.append(f"| {label} | {report.threshold:.2f} | {' | '.join(cells)} |")
    return "\n".join(lines)


_README = """\
# Models of the demo

What the demo's filter, embedding, tags and search run on: small but real
[open_clip](https://github.com/mlfoundations/open_clip) models that understand the demo's
synthetic pictures, and nothing else. Licence: Apache-2.0, as the rest of the repository.

| folder | what | size |
|---|---|---|
{sizes}

`english` and `multilingual` have the same image tower, as LAION's two CLIP models had: a
ModifiedResNet of {vision} parameters for pictures of 64 pixels. Their text towers have
{english} and {multilingual} parameters. Embeddings have {width} dimensions; weights are fp16. The
multilingual model understands {languages} and the invented product names.

## Loading

`open_clip.create_model_and_transforms("local-dir:FOLDER")` and
`open_clip.get_tokenizer("local-dir:FOLDER")`, from wherever the folder lies, without a network.

A head is `head.json` and `weights.safetensors`: `(x - mean) / std`, then linear layers with ReLU
between them and a sigmoid after the last. Its input is an image embedding of unit length, stored
as fp16.

## Training

```
python -m scripts.train_demo.train --output laion_hpc/demo/models
```

Pictures and captions are drawn by `laion_hpc.demo.scenes` and `laion_hpc.demo.captions` with a
fixed seed. Stage 1 is CLIP's contrastive loss with a probe that reads shapes and colours from both
kinds of embedding; stage 2 adds a sigmoid loss that puts right and wrong pairs on their sides of
LAION's thresholds. This file and the tables below are written by the same command.

## On pictures not seen in training

{table}

The filter's columns are measured on {count} pictures of scenes that were held out of training in
every render (a tenth of all scenes), three wrong captions each; the search on 1,500 pictures as the
demo draws them, so that most of the scenes with a single object were trained on in other renders.
Pictures are rendered at 320 pixels and went through JPEG at quality 90. A wrong caption is that of
another scene for which `laion_hpc.demo.captions.distinct` holds: the background differs, and no
shape or colour is shared. "Overlaid" are pictures with a watermark or a warning sign. A search is
right when a picture of the very same scene is among the first five.

This is a closed world of 16 shapes, 9 colours and 10 backgrounds, learnt by heart, so the figures
say nothing of what such a model does with photographs.

## What the models do not see

Captions that are wrong in one thing alone: how often they score below the right caption (50% would
be chance), and how often a threshold of 0.26 drops them. Many pass, and all that confuse the order
or the colours of two objects: **the filter finds captions of other pictures, not small errors.**

| wrong in | scored below the right caption | dropped at 0.26 |
|---|---|---|
{misses}

"""

HEADS = "## Heads\n"
"""Begins the part of the README on the heads, its last."""

_HEADS = """\
Trained by `laion-hpc heads train` on embeddings of the image tower and balanced labels:

```
python -m scripts.train_demo.heads --models laion_hpc/demo/models
```

| head | finds | held out | accuracy (95%) | precision | recall | AUC |
|---|---|---|---|---|---|---|
{rows}

Held out are pictures of scenes that no model was trained on, half of them with the overlay. LAION's
own NSFW heads had 0.96 on such a set of 3,000. The whole report is `report.json` beside each head.
"""

_FINDS = {"punsafe": "the warning sign", "pwatermark": "the watermark"}


def heads_section(reports: Mapping[str, Mapping[str, Any]]) -> str:
    """The last part of the README, from the reports of `heads train`."""
    rows = []
    for name, report in reports.items():
        held = report["held_out"]
        low, high = held["accuracy_95"]
        cells = [name, _FINDS[name], f"{held['samples']:,}"]
        cells.append(f"{held['accuracy']:.2%} ({low:.2%} … {high:.2%})")
        cells += [f"{held[key]:.4f}" for key in ("precision", "recall", "auc")]
        rows.append(f"| {' | '.join(cells)} |")
    return f"{HEADS}\n" + _HEADS.format(rows="\n".join(rows))


def readme(facts: dict[str, str]) -> str:
    """The text of the models' README but for the heads, with the given facts filled in."""
    return _README.format(**facts)
