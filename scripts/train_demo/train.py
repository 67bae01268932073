"""Trains the demo's models: an image tower, two text towers for it, and two heads.

Usage: python -m scripts.train_demo.train --output laion_hpc/demo/models
"""

from __future__ import annotations

import argparse
import math
import os
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from laion_hpc.models.torchvision_shim import ensure_torchvision
from scripts.train_demo import data
from scripts.train_demo.files import Encoder, save_model, write_readme
from scripts.train_demo.heads import EXAMPLES, train_heads
from scripts.train_demo.report import Measured, measure, near_misses, search, table
from scripts.train_demo.towers import Towers, normalise

SEED = 20220331

IMAGES = 28_000
BATCH = 256
STAGE_1, STAGE_2 = 760, 240  # steps
RATE_1, RATE_2 = 3e-3, 1.2e-3
VOCABULARY = {"english": 600, "multilingual": 2600}


def augment(pixels: Tensor, rng: torch.Generator) -> Tensor:
    """Shift and brighten a batch, uint8 (n, 3, h, w) -> normalised float of the same shape."""
    dy, dx = (int(v) for v in torch.randint(-2, 3, (2,), generator=rng))
    shifted = functional.pad(pixels.float(), (2, 2, 2, 2), mode="replicate")
    shifted = shifted[:, :, 2 + dy : 66 + dy, 2 + dx : 66 + dx] / 255
    gain = 1 + 0.12 * (torch.rand(len(pixels), 1, 1, 1, generator=rng) - 0.5)
    lift = 0.06 * (torch.rand(len(pixels), 1, 1, 1, generator=rng) - 0.5)
    return normalise((shifted * gain + lift).clamp(0, 1))


def train(towers: Towers, pixels: Tensor, ids: dict[str, Tensor], truth: data.Attributes) -> None:
    """Train in two stages; `ids` maps a speech to its token ids, (variants, n, length)."""
    rng = torch.Generator().manual_seed(SEED)
    pick = random.Random(SEED)
    decayed = [p for p in towers.parameters() if p.ndim >= 2]
    others = [p for p in towers.parameters() if p.ndim < 2]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}],
        betas=(0.9, 0.98),
    )
    multilingual = [speech for speech in ids if speech != "english"]
    towers.train()
    towers.english.visual.to(memory_format=torch.channels_last)
    order, at, started = torch.randperm(len(pixels), generator=rng), 0, time.monotonic()
    for step in range(STAGE_1 + STAGE_2):
        if step < STAGE_1:
            stage, peak, done, warm = 1, RATE_1, step / STAGE_1, min(1.0, (step + 1) / 60)
        else:
            done = (step - STAGE_1) / STAGE_2
            stage, peak, warm = 2, RATE_2, min(1.0, (step - STAGE_1 + 1) / 20)
        floor = 0.1 if stage == 1 else 0.0
        rate = peak * warm * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * done)))
        for group in optimizer.param_groups:
            group["lr"] = rate
        if at + BATCH > len(pixels):
            order, at = torch.randperm(len(pixels), generator=rng), 0
        rows, at = order[at : at + BATCH], at + BATCH

        # English, and two others by turns: captions are told apart within one language, so that
        # the language itself does not help.
        speeches = pick.sample(multilingual, 2)
        variant = pick.randrange(ids["english"].shape[0])
        texts = [(towers.english, ids["english"][variant, rows], 0.28)]
        texts += [(towers.multilingual, ids[speech][0, rows], 0.26) for speech in speeches]
        loss = towers.losses(augment(pixels[rows], rng), texts, truth.take(rows), stage=stage)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(towers.parameters(), 1.0)
        optimizer.step()
        if step % 100 == 0 or step == STAGE_1 + STAGE_2 - 1:
            spent = time.monotonic() - started
            line = f"step {step:5d}  stage {stage}  loss {loss.item():.3f}  {spent:.0f} s"
            print(line, flush=True)


def prepare() -> tuple[Tensor, dict[str, Tensor], data.Attributes, dict[str, Any]]:
    """Render the training set, train the tokenizers, and encode all captions."""
    # Small renders are as good to learn from, once reduced, and cost a third.
    samples = data.draw_samples(IMAGES, SEED, sizes=(160, 160, 224, 320), jpeg=False, held=False)
    pixels = data.render_all(samples)
    rng = random.Random(SEED)
    english = [[data.describe(s, "en", rng) for s in samples] for _ in range(3)]
    spoken = {speech: [data.describe(s, speech, rng) for s in samples] for speech in data.SPEECHES}
    tokenizers = {
        "english": data.train_tokenizer(english[0][:6000], VOCABULARY["english"]),
        "multilingual": data.train_tokenizer(
            (text for texts in spoken.values() for text in texts[:6000]),
            VOCABULARY["multilingual"],
        ),
    }
    ids = {"english": torch.stack([data.encode(tokenizers["english"], texts) for texts in english])}
    for speech, texts in spoken.items():
        ids[speech] = data.encode(tokenizers["multilingual"], texts)[None]
    return pixels, ids, data.attributes(samples), tokenizers


def report(output: Path, count: int = 2500) -> Measured:
    """Measure the saved models on unseen pictures, language by language."""
    held = data.draw_samples(count, SEED + 1, held=True)
    mixed = data.draw_samples(1500, SEED + 2)
    english, multilingual = (Encoder(output / name) for name in ("english", "multilingual"))
    held_images, mixed_images = english.images(held), english.images(mixed)
    cases = [("en, English model", english.texts, "en", 0.28)]
    for speech in data.SPEECHES:
        label = "product names" if speech == data.NAMES else speech
        cases.append((label, multilingual.texts, speech, 0.26))
    return Measured(
        count=count,
        reports={
            label: measure(held, held_images, texts, speech, threshold=threshold)
            for label, texts, speech, threshold in cases
        },
        found={
            label: search(mixed, mixed_images, texts, speech) for label, texts, speech, _ in cases
        },
        misses=near_misses(held, held_images, english.texts),
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, save and measure everything."""
    parser = argparse.ArgumentParser(prog="python -m scripts.train_demo.train", description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="folder of the models")
    parser.add_argument("--examples", type=Path, default=EXAMPLES, help=f"for heads; {EXAMPLES}")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch")
    options = parser.parse_args(arguments)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    torch.set_num_threads(options.threads)
    torch.manual_seed(SEED)
    ensure_torchvision()

    started = time.monotonic()
    pixels, ids, truth, tokenizers = prepare()
    print(f"{len(pixels)} pictures ready after {time.monotonic() - started:.0f} s", flush=True)
    vocabularies = {name: t.get_vocab_size() for name, t in tokenizers.items()}
    towers = Towers(vocabularies)
    train(towers, pixels, ids, truth)
    for name in vocabularies:
        model = getattr(towers, name)
        save_model(model, tokenizers[name], vocabularies[name], options.output / name)
    train_heads(options.output, options.examples)
    measured = report(options.output)
    write_readme(options.output, towers, measured)
    print(table(measured.reports, measured.found))
    for what, (better, dropped) in measured.misses.items():
        print(f"wrong {what}: {better:.1%} below the right caption, {dropped:.1%} dropped")
    print(f"done after {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
