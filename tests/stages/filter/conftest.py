"""Tiny towers, a downloaded block, and the block as filtered with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from laion_hpc.config import Config, parse
from laion_hpc.config.sections import ModelConfig
from laion_hpc.files.schemas import LANGUAGE_CLASSES
from laion_hpc.runtime import work
from laion_hpc.stages.filter.block import filter_block
from tests.models import tiny
from tests.stages.filter import blocks


@pytest.fixture(scope="session")
def towers(tmp_path_factory: pytest.TempPathFactory) -> tuple[ModelConfig, ModelConfig]:
    folder = tmp_path_factory.mktemp("towers")
    return (
        tiny.open_clip_folder(folder / "english", seed=2),
        tiny.open_clip_folder(folder / "multilingual", seed=5),
    )


@pytest.fixture(scope="session")
def downloaded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    shards = [blocks.rows(15, seed=100 * shard) for shard in range(3)]
    shards[1][3] = blocks.Row("half a picture", "en", (shards[1][3].data or b"")[:400])
    return blocks.download_block(tmp_path_factory.mktemp("download") / "0000", shards)


@pytest.fixture(scope="session")
def config(
    tmp_path_factory: pytest.TempPathFactory,
    towers: tuple[ModelConfig, ModelConfig],
    downloaded: Path,
) -> Config:
    """Thresholds at the medians of what these random towers give, so that they decide."""
    english, multilingual = (tower.model_dump() for tower in towers)
    keys: dict[str, Any] = {
        "english": english,
        "multilingual": multilingual,
        "zero_shot": "off",
        "batch_size": 4,
    }
    lowest = {"thresholds": {"en": -1, "multi": -1, "nolang": -1}}
    output = tmp_path_factory.mktemp("filter") / "all"
    with work.team(1) as team:
        filter_block(downloaded, output, parse({"filter": keys | lowest}), team)
    paths = sorted((output / "scores").glob("*.parquet"))
    table = pa.concat_tables([pq.read_table(path) for path in paths])
    medians = {
        name: float(
            np.nanmedian(
                table.filter(pc.equal(table["language_class"], name))["similarity"].to_numpy()
            )
        )
        for name in LANGUAGE_CLASSES
    }
    return parse({"dataset": {"samples_per_shard": 7}, "filter": keys | {"thresholds": medians}})


@pytest.fixture(scope="session")
def filtered(tmp_path_factory: pytest.TempPathFactory, downloaded: Path, config: Config) -> Path:
    output = tmp_path_factory.mktemp("filter") / "0000"
    with work.team(1) as team:
        filter_block(downloaded, output, config, team)
    return output
