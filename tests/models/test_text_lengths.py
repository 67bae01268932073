"""Texts without their padding give what texts with it give."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from laion_hpc.config.sections import ModelConfig
from laion_hpc.models import load
from laion_hpc.models.batches import embed_texts
from tests.models import tiny

TEXTS = ["a", "", "two words here", "x" * 90, "red blue in on", "ein Haus"]


def padded(tower: Any, texts: list[str]) -> Any:
    """What open_clip's own encode_text makes of all tokens."""
    import torch

    with torch.inference_mode():
        tokens = tower._tokenize(texts)
        return tower._model.encode_text(tokens, normalize=True).numpy(), tokens


@pytest.mark.parametrize("kind", ["causal", "not causal", "transformers"])
def test_equal_to_padded_texts(kind: str, tmp_path: Path, transformer: ModelConfig) -> None:
    config = transformer
    if kind == "not causal":
        config = tiny.open_clip_folder(tmp_path / "free", seed=4)
        path = tmp_path / "free" / "open_clip_config.json"
        description = json.loads(path.read_text())
        description["model_cfg"]["text_cfg"]["no_causal_mask"] = True
        path.write_text(json.dumps(description))
    elif kind == "transformers":
        config = tiny.hugging_face_folder(tmp_path / "hf", seed=5)
    tower: Any = load(config)
    for texts in (["a"], ["a", "in on"], TEXTS):
        expected, tokens = padded(tower, texts)
        np.testing.assert_allclose(tower.embed_texts(texts), expected, atol=1e-6)
        short = texts != TEXTS
        trimmed = tower._texts.trim(tokens).shape[1]
        assert trimmed == (8 if short and kind != "not causal" else tokens.shape[1])


def test_batches_are_of_like_length_and_come_back_in_order(transformer: ModelConfig) -> None:
    tower = load(transformer)
    texts = [f"{'w ' * (seed * 5 % 7)}{seed}" for seed in range(11)]
    expected = tower.embed_texts(texts)
    batches: list[list[str]] = []

    class Watched:
        width = tower.width

        def begin_texts(self, texts: Any) -> Any:
            batches.append(list(texts))
            return tower.begin_texts(texts)

    found = embed_texts(texts, Watched(), 4)  # type: ignore[arg-type]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    lengths = [len(text) for batch in batches for text in batch]
    assert lengths == sorted(lengths)
    assert [len(batch) for batch in batches] == [4, 4, 3]
    assert embed_texts([], tower, 4).shape == (0, tower.width)
