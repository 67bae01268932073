"""Tiny models, made once for all tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from laion_hpc.config.sections import ModelConfig
from tests.models import tiny


@pytest.fixture(scope="session")
def resnet(tmp_path_factory: pytest.TempPathFactory) -> ModelConfig:
    return tiny.open_clip_folder(
        tmp_path_factory.mktemp("models") / "resnet", seed=1, vision=tiny.RESNET
    )


@pytest.fixture(scope="session")
def transformer(tmp_path_factory: pytest.TempPathFactory) -> ModelConfig:
    return tiny.open_clip_folder(
        tmp_path_factory.mktemp("models") / "transformer", seed=2, quick_gelu=True
    )


@pytest.fixture(scope="session")
def sentences(tmp_path_factory: pytest.TempPathFactory) -> ModelConfig:
    return tiny.sentence_folder(tmp_path_factory.mktemp("models") / "sentences", seed=3)


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of fetched models."""
    folder = tmp_path / "models"
    monkeypatch.setenv("LAION_HPC_MODELS", str(folder))
    return folder
