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

from laion_hpc import config as settings  # noqa: E402
from laion_hpc.heads import job  # noqa: E402
from laion_hpc.heads.examples import Columns  # noqa: E402
from laion_hpc.heads.fit import Schedule  # noqa: E402
from laion_hpc.heads.head import load_head  # noqa: E402
from laion_hpc.heads.spaces import space_of  # noqa: E402
from laion_hpc.heads.train import Settings  # noqa: E402
from scripts.train_demo import data as train_data  # noqa: E402
from scripts.train_demo import heads as train_heads  # noqa: E402
from scripts.train_demo.files import Encoder  # noqa: E402
from scripts.train_demo.report import measure, near_misses, search  # noqa: E402

pytestmark = pytest.mark.slow

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
def overlaid(multilingual: Encoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Embeddings and labels of 500 + 300 new pictures, as the committed heads' were drawn."""
    folder = tmp_path_factory.mktemp("heads")
    samples = train_heads.balanced(500, UNSEEN + 1, held=False)
    samples += train_heads.balanced(300, UNSEEN + 2, held=True)
    split = ["train"] * 500 + ["held-out"] * 300
    train_heads.write_examples(multilingual, folder, samples, split, workers=1)
    return folder


@pytest.mark.parametrize("name", train_heads.HEADS)
def test_heads_on_new_pictures(name: str, overlaid: Path, tmp_path: Path) -> None:
    """LAION's own figure for its NSFW heads, 0.96, on pictures that neither tower nor head saw."""
    folder = MODELS / "heads" / name
    said = json.loads((folder / "report.json").read_text())["held_out"]
    assert (said["samples"], said["positive"]) == (3000, 1500)
    assert said["accuracy"] >= 0.96
    assert said["auc"] >= 0.99
    columns = Columns(label=name, split="split")
    files = (overlaid / "embeddings.npy", overlaid / "labels.parquet")
    found, _ = job.evaluate(str(folder), *files, columns)
    assert (found["samples"], found["positive"]) == (300, 150)
    assert found["accuracy"] == pytest.approx(said["accuracy"], abs=0.02)
    # Trained anew, on less and for less long.
    quick = Settings(layers=train_heads.LAYERS, schedule=Schedule(epochs=1, least_steps=400))
    again, _ = job.train(*files, tmp_path / name, columns, quick, column=name, space="test")
    assert again.report["held_out"]["accuracy"] >= 0.96


@pytest.mark.parametrize("name", train_heads.HEADS)
def test_heads_are_of_the_demos_model(name: str) -> None:
    head = load_head(f"package:demo/models/heads/{name}")
    config = settings.load(MODELS.parents[2] / "config" / "demo.yaml")
    assert head.description.space == train_heads.SPACE == space_of(config.embed.model)
    assert head.description.column == Path(name).name
    assert name in (MODELS / "README.md").read_text()
