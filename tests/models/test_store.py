"""Fetching, checking, and what a job says when a model is missing or altered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from laion_hpc.cli import main
from laion_hpc.config import Config
from laion_hpc.config.sections import ModelConfig
from laion_hpc.errors import InputError, LaionHpcError, UsageError
from laion_hpc.models import load, resolve_folder, store
from laion_hpc.models.fetch import fetch, import_weights
from tests.models import tiny

TINY = ModelConfig(name="tiny-test-quickgelu", pretrained="tagged")
SENTENCES = ModelConfig(library="sentence_transformers", name="someone/tiny")


@pytest.fixture
def hub(
    monkeypatch: pytest.MonkeyPatch, transformer: ModelConfig, sentences: ModelConfig
) -> list[str]:
    """A hub without a network: two models, and a list of what was downloaded."""
    import open_clip.factory
    import open_clip.pretrained

    downloads: list[str] = []
    cfg = json.loads((Path(transformer.folder) / "open_clip_config.json").read_text())["model_cfg"]
    cfg["text_cfg"]["tokenizer_kwargs"] = {"bpe_path": f"{transformer.folder}/bpe.txt.gz"}
    for name, quick in (("tiny-test-quickgelu", True), ("tiny-test", False)):
        monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, name, cfg | {"quick_gelu": quick})
        tag = {"url": "tiny", "mean": (0.5,) * 3, "std": (0.25,) * 3, "quick_gelu": True}
        monkeypatch.setitem(open_clip.pretrained._PRETRAINED, name, {"tagged": tag})

    def download(tag: dict[str, Any], cache_dir: str) -> str:
        downloads.append(tag["url"])
        return str(Path(transformer.folder) / "open_clip_model.safetensors")

    def snapshot(name: str, local_dir: str, ignore_patterns: list[str]) -> None:
        import shutil

        downloads.append(name)
        if name != "someone/tiny":
            raise OSError("no such repository")
        shutil.copytree(sentences.folder, local_dir, dirs_exist_ok=True)

    monkeypatch.setattr("open_clip.pretrained.download_pretrained", download)
    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    return downloads


def test_fetch_once_then_load_without_hub(models: Path, hub: list[str]) -> None:
    with pytest.raises(InputError, match="laion-hpc models fetch --config"):
        load(TINY)
    assert fetch(TINY, "my.yaml")
    assert not fetch(TINY, "my.yaml")
    assert fetch(SENTENCES, "my.yaml")
    assert hub == ["tiny", "someone/tiny"]
    folder = models / "open_clip" / "tiny-test-quickgelu" / "tagged"
    description = json.loads((folder / "open_clip_config.json").read_text())
    assert description["preprocess_cfg"]["mean"] == [0.5, 0.5, 0.5]
    assert description["model_cfg"]["quick_gelu"] is True
    assert load(TINY).embed_images([tiny.picture(1)]).shape == (1, tiny.WIDTH)
    assert load(SENTENCES).width == tiny.WIDTH
    lock = json.loads((models / "lock.json").read_text())["models"]
    entry = lock["open_clip/tiny-test-quickgelu/tagged"]
    assert {"open_clip_config.json", "open_clip_model.safetensors"} == {e["name"] for e in entry}
    assert all(e["bytes"] > 0 and len(e["sha256"]) == 64 for e in entry)


def test_altered_and_missing_files_are_found(models: Path, hub: list[str]) -> None:
    fetch(TINY, "my.yaml")
    key = {"embed.model": TINY}
    store.verify(key, "my.yaml")
    weights = models / "open_clip/tiny-test-quickgelu/tagged/open_clip_model.safetensors"
    before = store.fingerprint(TINY)
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(InputError, match=r"embed\.model: .*altered.*fetch --config my\.yaml"):
        store.verify(key, "my.yaml")
    weights.write_bytes(data[:-1])
    with pytest.raises(InputError, match="cut short"):
        store.verify(key, "my.yaml")
    assert fetch(TINY, "my.yaml")  # brings it again
    store.verify(key, "my.yaml")
    assert store.fingerprint(TINY) == before
    (models / "lock.json").write_text("[]")
    with pytest.raises(InputError, match="the lock file is invalid"):
        store.verify(key, "my.yaml")


def test_wrong_names_are_refused(models: Path, hub: list[str]) -> None:
    for name, tag, message in (
        ("no-such-net", "tagged", "no architecture 'no-such-net'"),
        ("tiny-test-quickgelu", "other", "it has tagged"),
        ("tiny-test", "tagged", "use the architecture tiny-test-quickgelu"),
    ):
        with pytest.raises(UsageError, match=message):
            fetch(ModelConfig(name=name, pretrained=tag), "my.yaml")
    with pytest.raises(LaionHpcError, match=r"someone/else: cannot be fetched.*internet"):
        fetch(SENTENCES.model_copy(update={"name": "someone/else"}), "my.yaml")
    assert [path for path in models.rglob("*") if path.is_file()] == []


def test_weights_file_becomes_a_folder(
    tmp_path: Path, hub: list[str], transformer: ModelConfig
) -> None:
    weights = Path(transformer.folder) / "open_clip_model.safetensors"
    import_weights(weights, name="tiny-test-quickgelu", like="tagged", output=tmp_path / "mine")
    tower = load(ModelConfig(name="mine", folder=str(tmp_path / "mine")))
    texts = ["a", "b c"]
    np.testing.assert_array_equal(tower.embed_texts(texts), load(transformer).embed_texts(texts))
    with pytest.raises(UsageError, match="QuickGELU"):
        import_weights(weights, name="tiny-test", like="tagged", output=tmp_path / "other")
    with pytest.raises(InputError, match="no such weights file"):
        import_weights(tmp_path / "no.pt", name="tiny-test", like="tagged", output=tmp_path / "o")


def test_commands(
    models: Path, hub: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "my.yaml"
    english = {"name": TINY.name, "pretrained": TINY.pretrained}
    multilingual = {"library": SENTENCES.library, "name": SENTENCES.name}
    path.write_text(
        yaml.safe_dump(
            {
                "filter": {"english": english, "multilingual": multilingual},
                "embed": {"model": english},
                "tag": {"heads": []},
            }
        )
    )
    assert main(["models", "check", "--config", str(path)]) == 1
    said = capsys.readouterr().err
    for key in ("filter.english", "filter.multilingual", "embed.model"):
        assert f"{key}: " in said
    assert f"laion-hpc models fetch --config {path}" in said
    assert main(["models", "fetch", "--config", str(path)]) == 0
    assert main(["models", "check", "--config", str(path)]) == 0
    assert "embed.model: tiny-test-quickgelu in" in capsys.readouterr().out


def test_default_config_names_models_and_says_how_to_fetch(models: Path) -> None:
    with pytest.raises(InputError) as caught:
        store.verify(store.named(Config()), None)
    assert "ViT-B-32-quickgelu has not been fetched" in str(caught.value)


def test_folders() -> None:
    import laion_hpc

    inside = resolve_folder("package:demo/models/english")
    assert inside == Path(laion_hpc.__file__).parent / "demo" / "models" / "english"
    assert resolve_folder("models/a") == Path("models/a")
    assert resolve_folder("~/a").is_absolute()
    with pytest.raises(InputError, match="no such folder; the config names it"):
        load(ModelConfig(name="gone", folder="/no/such/folder"))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "ViT-B-32", "pretrained": "openai"}, "ViT-B-32-quickgelu"),
        ({"name": "ViT-B-32"}, "needs pretrained"),
        ({"name": "ViT-B-32", "pretrained": "weights/b32.pt"}, "models import"),
        ({"library": "sentence_transformers", "name": "a", "pretrained": "b"}, "no such tags"),
    ],
)
def test_configs_that_would_be_silently_wrong(fields: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ModelConfig(**fields)  # type: ignore[arg-type]
