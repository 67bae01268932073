"""A head is for the embeddings of one model."""

from __future__ import annotations

from pathlib import Path

import pytest

from laion_hpc.config import Config, parse
from laion_hpc.config.sections.base import ModelConfig
from laion_hpc.errors import UsageError
from laion_hpc.heads.spaces import check_config, space_of
from tests.stages.tag.blocks import head_folder


def test_names() -> None:
    assert space_of(Config().embed.model) == "ViT-L-14/openai"
    assert space_of(ModelConfig(name="ViT-H-14", pretrained="laion2b_s32b_b79k")) == (
        "ViT-H-14/laion2b_s32b_b79k"
    )
    folder = ModelConfig(name="ViT-L-14-quickgelu", pretrained="openai", folder="here")
    assert space_of(folder) == "ViT-L-14/openai"
    assert space_of(ModelConfig(name="mine", folder="here")) == "mine"


def test_a_config_is_checked_before_anything_runs(tmp_path: Path) -> None:
    name = head_folder(tmp_path / "h", space="ViT-L-14/openai")
    check_config(parse({"tag": {"heads": [name]}}))
    other = {"name": "ViT-L-14", "pretrained": "laion2b_s32b_b82k"}
    with pytest.raises(UsageError, match=r"of ViT-L-14/openai \(8 .* ViT-L-14/laion2b_s32b_b82k"):
        check_config(parse({"tag": {"heads": [name]}, "embed": {"model": other}}))
    check_config(
        parse({"tag": {"heads": [name], "space": "ViT-L-14/openai"}, "embed": {"model": other}})
    )
