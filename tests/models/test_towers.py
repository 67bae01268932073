"""The adapters give what the libraries give, and refuse what would be silently wrong."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from laion_hpc.config.sections import ModelConfig
from laion_hpc.errors import InputError, LaionHpcError, UsageError
from laion_hpc.models import load
from tests.models import tiny

TEXTS = ["a red stripe on blue", "", "dog " * 40, "ein roter Streifen", "赤い線"]


def plain_open_clip(config: ModelConfig) -> tuple[Any, Any, Any]:
    """The same model as open_clip's own documentation loads it."""
    import open_clip

    source = f"local-dir:{config.folder}"
    model, _, preprocess = open_clip.create_model_and_transforms(source)
    bpe = str(Path(config.folder) / "bpe.txt.gz")
    return model.eval(), preprocess, open_clip.get_tokenizer(source, bpe_path=bpe)


@pytest.mark.parametrize("name", ["resnet", "transformer"])
def test_open_clip_equals_a_plain_loop(name: str, request: pytest.FixtureRequest) -> None:
    import torch

    config = request.getfixturevalue(name)
    model, preprocess, tokenize = plain_open_clip(config)
    images = [tiny.picture(seed, size) for seed, size in enumerate([(48, 40), (32, 32), (20, 77)])]
    images.append(tiny.picture(9).convert("L"))
    with torch.no_grad():
        pixels = torch.stack([preprocess(image) for image in images])
        expected = model.encode_image(pixels, normalize=True).numpy()
        expected_texts = model.encode_text(tokenize(TEXTS), normalize=True).numpy()
    tower = load(config)
    assert tower.width == tiny.WIDTH
    found = tower.embed_images(images)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(tower.embed_texts(TEXTS), expected_texts, atol=1e-6)


def test_a_text_tower_of_transformers_moves_with_its_folder(tmp_path: Path) -> None:
    config = tiny.hugging_face_folder(tmp_path / "a", seed=3)
    expected = load(config).embed_texts(TEXTS)
    assert expected.shape == (len(TEXTS), tiny.WIDTH)
    assert np.abs(expected - expected[0]).max() > 1e-3
    (tmp_path / "a").rename(tmp_path / "b")
    moved = config.model_copy(update={"folder": str(tmp_path / "b")})
    np.testing.assert_array_equal(load(moved).embed_texts(TEXTS), expected)
    rough = load(moved, precision="bf16").embed_texts(TEXTS)
    np.testing.assert_allclose((rough * expected).sum(axis=1), 1, atol=1e-2)


def test_bf16_is_close(transformer: ModelConfig) -> None:
    images = [tiny.picture(seed) for seed in range(4)]
    exact, rough = load(transformer), load(transformer, precision="bf16")
    for a, b in (
        (exact.embed_images(images), rough.embed_images(images)),
        (exact.embed_texts(TEXTS), rough.embed_texts(TEXTS)),
    ):
        assert not np.array_equal(a, b)
        np.testing.assert_allclose((a * b).sum(axis=1), 1, atol=1e-3)
        np.testing.assert_allclose(np.linalg.norm(b, axis=1), 1, atol=1e-5)


def test_sentence_transformers_equals_encode(sentences: ModelConfig) -> None:
    from sentence_transformers import SentenceTransformer

    plain = SentenceTransformer(sentences.folder, device="cpu")
    tower = load(sentences)
    assert tower.width == tiny.WIDTH
    expected = plain.encode(TEXTS, normalize_embeddings=True, show_progress_bar=False)
    np.testing.assert_allclose(tower.embed_texts(TEXTS), expected, atol=1e-6)
    assert tower.embed_texts([]).shape == (0, tiny.WIDTH)
    with pytest.raises(UsageError, match="embeds texts only"):
        tower.embed_images([Image.new("RGB", (8, 8))])


def test_no_images_and_no_texts(transformer: ModelConfig) -> None:
    tower = load(transformer)
    assert tower.embed_images([]).shape == (0, tiny.WIDTH)
    assert tower.embed_texts([]).shape == (0, tiny.WIDTH)


def copied(config: ModelConfig, folder: Path, **changes: Any) -> ModelConfig:
    """A copy of a model's folder with other values in its open_clip_config.json."""
    shutil.copytree(config.folder, folder)
    path = folder / "open_clip_config.json"
    description = json.loads(path.read_text())
    for key, value in changes.items():
        section, _, name = key.partition("__")
        description[section][name] = value
    path.write_text(json.dumps(description))
    return config.model_copy(update={"folder": str(folder)})


def test_missing_normalisation_is_refused(transformer: ModelConfig, tmp_path: Path) -> None:
    config = copied(transformer, tmp_path / "m", preprocess_cfg__mean=None)
    with pytest.raises(InputError, match="must give mean and std"):
        load(config)


def test_another_architecture_is_refused(transformer: ModelConfig, tmp_path: Path) -> None:
    deeper = tiny.TRANSFORMER | {"layers": 2}
    config = copied(transformer, tmp_path / "deeper", model_cfg__vision_cfg=deeper)
    with pytest.raises(InputError, match=r"the open_clip model is incomplete.*Missing key"):
        load(config)
    # open_clip would stretch the position embeddings and say nothing
    larger = tiny.TRANSFORMER | {"image_size": 64}
    config = copied(transformer, tmp_path / "larger", model_cfg__vision_cfg=larger)
    with pytest.raises(InputError, match="another architecture"):
        load(config)


def test_missing_or_broken_parts_are_refused(transformer: ModelConfig, tmp_path: Path) -> None:
    config = copied(transformer, tmp_path / "a")
    weights = tmp_path / "a" / "open_clip_model.safetensors"
    data = weights.read_bytes()
    weights.unlink()
    with pytest.raises(InputError, match="the open_clip model is incomplete"):
        load(config)
    weights.write_bytes(data[:5000])
    with pytest.raises(InputError, match="the open_clip model is incomplete"):
        load(config)
    (tmp_path / "a" / "open_clip_config.json").write_text("{}")
    with pytest.raises(InputError, match="not an open_clip config"):
        load(config)
    (tmp_path / "a" / "open_clip_config.json").unlink()
    with pytest.raises(InputError, match="no such file"):
        load(config)


def test_weights_that_are_no_numbers_are_refused(transformer: ModelConfig, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    config = copied(transformer, tmp_path / "nan")
    path = tmp_path / "nan" / "open_clip_model.safetensors"
    weights = load_file(path)
    weights["visual.proj"][0, 0] = torch.nan
    save_file(weights, path)
    with pytest.raises(InputError, match=r"visual\.proj holds values that are not finite"):
        load(config)


def test_a_pickle_that_runs_code_is_refused(transformer: ModelConfig, tmp_path: Path) -> None:
    import torch

    class Evil:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "ran",))

    config = copied(transformer, tmp_path / "evil")
    (tmp_path / "evil" / "open_clip_model.safetensors").unlink()
    torch.save({"state_dict": Evil()}, tmp_path / "evil" / "open_clip_pytorch_model.bin")
    with pytest.raises(InputError):
        load(config)
    assert not (tmp_path / "ran").exists()


def test_a_zero_or_infinite_embedding_is_an_error() -> None:
    import torch

    from laion_hpc.models.vectors import unit

    np.testing.assert_allclose(unit(torch.tensor([[3.0, 4.0]]), "m"), [[0.6, 0.8]])
    for bad in (torch.nan, torch.inf, 0.0):
        with pytest.raises(LaionHpcError, match="m: an embedding"):
            unit(torch.tensor([[1.0, 1.0], [bad, bad]]), "m")


@pytest.mark.parametrize("kind", ["transformer", "hugging face", "sentences"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_packed_weights_give_what_plain_ones_give(
    kind: str, precision: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    from laion_hpc.models import open_clip_tower, packed, runtime, sentence_tower

    if precision == "bf16" and not runtime.packs_bf16():
        pytest.skip("oneDNN packs no bf16 on this processor (on x86-64 it needs AVX-512)")
    if kind == "hugging face":
        config = tiny.hugging_face_folder(tmp_path / "hf", seed=3)
    else:
        config = request.getfixturevalue(kind)
    tower: Any = load(config, precision=precision)
    assert any(isinstance(part, packed.PackedLinear) for part in tower._model.modules())
    with pytest.MonkeyPatch.context() as patch:
        for module in (open_clip_tower, sentence_tower):
            patch.setattr(module, "pack", lambda model: None)
        plain = load(config, precision=precision)
    same = 1e-6 if precision == "fp32" else 2e-2
    np.testing.assert_allclose(tower.embed_texts(TEXTS), plain.embed_texts(TEXTS), atol=same)
    if kind != "sentences":
        images = [tiny.picture(seed) for seed in range(3)]
        found, expected = (model.embed_images(images) for model in (tower, plain))
        np.testing.assert_allclose(found, expected, atol=same)


@pytest.mark.parametrize("packs", [False, True])
def test_bf16_is_packed_only_where_the_processor_can(
    packs: bool, transformer: ModelConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a processor of either kind, whichever this one is of."""
    import torch

    from laion_hpc.models import packed, runtime

    class Linear(torch.nn.Module):
        """Packs nothing, and so needs nothing of this processor."""

        def __init__(self, weight: Any, bias: Any) -> None:
            super().__init__()
            self.weight, self.bias = weight, bias

        def forward(self, x: Any) -> Any:
            return torch.nn.functional.linear(x, self.weight, self.bias)

    monkeypatch.setattr(runtime, "packs_bf16", lambda: packs)
    monkeypatch.setattr(packed, "PackedLinear", Linear)
    exact: Any = load(transformer)
    rough: Any = load(transformer, precision="bf16")
    assert any(isinstance(part, Linear) for part in exact._model.modules())
    for kind in (Linear, packed.PackedAttention):
        assert any(isinstance(part, kind) for part in rough._model.modules()) == packs
    images = [tiny.picture(seed) for seed in range(3)]
    for a, b in (
        (exact.embed_images(images), rough.embed_images(images)),
        (exact.embed_texts(TEXTS), rough.embed_texts(TEXTS)),
    ):
        np.testing.assert_allclose((a * b).sum(axis=1), 1, atol=1e-3)


def test_a_compiled_network_sees_one_batch_size(transformer: ModelConfig) -> None:
    tower: Any = load(transformer)
    images = [tiny.picture(seed) for seed in range(6)]
    expected = tower.embed_images(images)
    sizes: list[int] = []
    encode = tower._encode_image

    def watched(batch: Any) -> Any:
        sizes.append(len(batch))
        return encode(batch)

    tower._compiled, tower._encode_image = True, watched
    found = [tower.embed_images(images[:4]), tower.embed_images(images[4:])]
    np.testing.assert_allclose(np.concatenate(found), expected, atol=1e-6)
    assert sizes == [4, 4]


def test_the_way_over_a_gpu_gives_the_same(
    transformer: ModelConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With stand-ins for streams, events and pinned memory: what is queued, then fetched."""
    import contextlib

    import torch

    tower: Any = load(transformer)
    images = [tiny.picture(seed) for seed in range(3)]
    expected, expected_texts = tower.embed_images(images), tower.embed_texts(TEXTS)
    said: list[str] = []

    class Stream:
        def wait_stream(self, other: Any) -> None:
            said.append("kernels wait for the copy")

    class Event:
        def __init__(self, *, blocking: bool) -> None:
            assert blocking, "an event that spins takes a core"

        def record(self, stream: Any) -> None:
            said.append("recorded")

        def synchronize(self) -> None:
            said.append("fetched")

    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: self)
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda self, stream: None)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Stream())
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "Event", Event)
    tower._copies = Stream()
    pixels = np.stack([tower.preprocess(image) for image in images])
    waits = [tower.begin_pixels(pixels), tower.begin_texts(TEXTS)]
    assert said == ["kernels wait for the copy", "recorded"] * 2
    np.testing.assert_array_equal(waits[1](), expected_texts)
    np.testing.assert_array_equal(waits[0](), expected)
    assert said[4:] == ["fetched"] * 2
