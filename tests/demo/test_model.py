"""The committed models, on unseen pictures: filtering, search, heads, size and loading."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from laion_hpc.models.torchvision_shim import ensure_torchvision  # noqa: E402

ensure_torchvision()
pytest.importorskip("open_clip", reason="needs open_clip_torch")

from safetensors.numpy import load_file  # noqa: E402

from laion_hpc.demo import train_data  # noqa: E402
from laion_hpc.demo.train_files import Encoder  # noqa: E402
from laion_hpc.demo.train_report import measure, near_misses, search  # noqa: E402

MODELS = Path(__file__).parents[2] / "laion_hpc" / "demo" / "models"
UNSEEN = 990_017  # no seed of the training


@pytest.fixture(scope="module", autouse=True)
def offline() -> None:
    os.environ["HF_HUB_OFFLINE"] = "1"


@pytest.fixture(scope="module")
def english() -> Encoder:
    return Encoder(MODELS / "english")


@pytest.fixture(scope="module")
def multilingual() -> Encoder:
    return Encoder(MODELS / "multilingual")


@pytest.fixture(scope="module")
def samples() -> list[train_data.Sample]:
    return train_data.draw_samples(300, UNSEEN, held=True)


@pytest.fixture(scope="module")
def images(english: Encoder, samples: list[train_data.Sample]) -> torch.Tensor:
    return english.images(samples)


@pytest.mark.parametrize("speech", train_data.SPEECHES)
def test_filter_on_scenes_that_were_held_out(
    speech: str,
    english: Encoder,
    multilingual: Encoder,
    samples: list[train_data.Sample],
    images: torch.Tensor,
) -> None:
    encoder = english if speech == "en" else multilingual
    report = measure(samples, images, encoder.texts, speech, seed=UNSEEN)
    assert report.kept >= 0.985
    assert report.dropped >= 0.985
    assert report.auc >= 0.995
    assert report.kept_overlaid >= 0.97


@pytest.fixture(scope="module")
def gallery(english: Encoder) -> tuple[list[train_data.Sample], torch.Tensor]:
    drawn = train_data.draw_samples(250, UNSEEN + 3)
    return drawn, english.images(drawn)


@pytest.mark.parametrize("speech", train_data.SPEECHES)
def test_search(
    speech: str,
    english: Encoder,
    multilingual: Encoder,
    gallery: tuple[list[train_data.Sample], torch.Tensor],
) -> None:
    encoder = english if speech == "en" else multilingual
    assert search(*gallery, encoder.texts, speech, seed=UNSEEN) >= 0.85


def test_the_measures_notice_a_model_that_knows_nothing(
    multilingual: Encoder, samples: list[train_data.Sample], images: torch.Tensor
) -> None:
    """Guards the figures above: with the pictures shuffled they must fall to chance."""
    shuffled = images[torch.randperm(len(images), generator=torch.Generator().manual_seed(1))]
    report = measure(samples, shuffled, multilingual.texts, "de", seed=UNSEEN)
    assert report.kept < 0.1
    assert 0.4 < report.auc < 0.7
    assert search(samples, shuffled, multilingual.texts, "de", seed=UNSEEN) < 0.1


def test_one_wrong_attribute_lowers_the_score(
    english: Encoder, samples: list[train_data.Sample], images: torch.Tensor
) -> None:
    misses = near_misses(samples, images, english.texts, seed=UNSEEN)
    for what in ("background", "shape", "colour"):
        assert misses[what][0] >= 0.95


def test_the_multilingual_model_understands_english(
    multilingual: Encoder, samples: list[train_data.Sample], images: torch.Tensor
) -> None:
    report = measure(samples, images, multilingual.texts, "en", threshold=0.26, seed=UNSEEN)
    assert report.kept >= 0.985
    assert report.dropped >= 0.985


def test_both_models_share_one_image_tower() -> None:
    towers = [
        {
            name: value
            for name, value in load_file(
                str(MODELS / language / "open_clip_model.safetensors")
            ).items()
            if name.startswith("visual.")
        }
        for language in ("english", "multilingual")
    ]
    assert towers[0].keys() == towers[1].keys()
    assert all(np.array_equal(towers[0][name], towers[1][name]) for name in towers[0])


def test_weights_are_half_precision_and_small() -> None:
    files = [path for path in MODELS.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 5_000_000
    for language in ("english", "multilingual"):
        weights = load_file(str(MODELS / language / "open_clip_model.safetensors"))
        assert {v.dtype.name for n, v in weights.items() if "num_batches" not in n} == {"float16"}
        assert all(np.isfinite(value).all() for value in weights.values())


def test_a_model_loads_from_any_folder(
    tmp_path: Path, multilingual: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "a copy"
    shutil.copytree(MODELS / "multilingual", copy)
    monkeypatch.chdir(tmp_path)
    texts = ["A red star in front of a brick wall", "一颗红色的星星，背景是砖墙"]
    assert torch.equal(Encoder(copy).texts(texts), multilingual.texts(texts))


def test_long_and_odd_texts_are_embedded(multilingual: Encoder) -> None:
    embeddings = multilingual.texts(["", "a" * 3000, "🙂 \x00 ñandú ß " * 40, "ГОД 2024"])
    assert embeddings.shape[0] == 4
    assert torch.isfinite(embeddings).all()
    assert torch.allclose(embeddings.norm(dim=-1), torch.ones(4), atol=1e-4)


@pytest.fixture(scope="module")
def overlaid(multilingual: Encoder) -> tuple[list[train_data.Sample], torch.Tensor]:
    drawn = train_data.draw_samples(200, UNSEEN + 1, overlay_odds=0.5, held=True)
    return drawn, multilingual.images(drawn)


@pytest.mark.parametrize(("name", "overlay"), [("punsafe", "hazard"), ("pwatermark", "watermark")])
def test_heads(
    name: str, overlay: str, overlaid: tuple[list[train_data.Sample], torch.Tensor]
) -> None:
    folder = MODELS / "heads" / name
    description = json.loads((folder / "head.json").read_text())
    weights = load_file(str(folder / "weights.safetensors"))
    assert description["name"] == description["column"] == name
    assert {value.dtype.name for value in weights.values()} == {"float32"}

    drawn, embeddings = overlaid
    x = embeddings.half().float().numpy()
    assert x.shape[1] == description["width"] == weights["layers.0.weight"].shape[1]
    x = (x - weights["mean"]) / weights["std"]
    layers = sum(key.endswith(".weight") for key in weights)
    for i in range(layers):
        x = x @ weights[f"layers.{i}.weight"].T + weights[f"layers.{i}.bias"]
        x = x if i == layers - 1 else np.maximum(x, 0)
    probability = 1 / (1 + np.exp(-x[:, 0]))
    truth = np.array([getattr(sample, overlay) for sample in drawn])
    assert ((probability > description["threshold"]) == truth).mean() >= 0.96
