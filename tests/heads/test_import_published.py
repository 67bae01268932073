"""LAION's published heads, imported, against the arithmetic of the originals."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from laion_hpc.cli import main
from laion_hpc.errors import InputError, UsageError
from laion_hpc.heads.head import load_head
from laion_hpc.heads.import_published import import_head
from tests.stages.tag.blocks import unit_vectors


def imported(kind: str, source: Path, folder: Path) -> str:
    import_head(kind, source, folder / "head")
    return str(folder / "head")


def autokeras(weights: Path, vectors: NDArray[np.float16]) -> NDArray[np.float64]:
    """The detector in float64, from the reference weights: look up, normalise, dense layers."""
    parts = np.load(weights)
    x = vectors.astype(np.float64)
    for dimension in parts["int_dims"]:
        words = parts[f"vocab_{dimension}"].tolist()
        for row, value in enumerate(vectors[:, dimension].astype(np.float32)):
            word = "%f" % value  # noqa: UP031 (TensorFlow's own format)
            x[row, dimension] = words.index(word) + 1 if word in words else 0
    x = (x - parts["mean"]) / np.sqrt(parts["var"].astype(np.float64))
    count = sum(name.startswith("w") for name in parts.files)
    for layer in range(count):
        x = x @ parts[f"w{layer}"].astype(np.float64) + parts[f"b{layer}"]
        if layer < count - 1:
            x = np.maximum(x, 0)
    return np.asarray(1 / (1 + np.exp(-x[:, 0])))


@pytest.mark.parametrize(
    ("name", "width"), [("clip_autokeras_binary_nsfw", 768), ("clip_autokeras_nsfw_b32", 512)]
)
def test_nsfw_detectors(testdata: Path, tmp_path: Path, name: str, width: int) -> None:
    folder = testdata / "heads" / "nsfw"
    head = load_head(imported("nsfw-autokeras", folder / f"{name}.zip", tmp_path))
    reference = np.load(folder / f"{name}.numpy.npz")
    # Drawn from the distribution of the training embeddings, so that both answers occur.
    noise = np.random.default_rng(0).normal(0, 2, size=(400, width))
    vectors = (reference["mean"] + noise * np.sqrt(reference["var"])).astype(np.float16)
    # Half of the rows get values that the vocabularies know, as most real embeddings have.
    for dimension in reference["int_dims"]:
        words = reference[f"vocab_{dimension}"].astype(np.float64)
        vectors[:, dimension] = 0.1234
        vectors[::2, dimension] = np.resize(words[-150:], 200)
    expected = autokeras(folder / f"{name}.numpy.npz", vectors)
    found = head.scores(vectors)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert head.description.column == "punsafe"
    assert 0.05 < (found > 0.5).mean() < 0.95
    raw = load_head(str(tmp_path / "head"))
    ignoring = type(raw)(raw.description, raw.weights, raw.biases, raw.mean, raw.std).scores(
        vectors
    )
    assert np.abs(ignoring - expected).max() > 0.1, "the lookups of this test do nothing"


@pytest.mark.parametrize("model", ["b_16", "b_32", "l_14"])
def test_aesthetic_v1(testdata: Path, tmp_path: Path, model: str) -> None:
    import torch

    source = testdata / "heads" / "aesthetic" / f"sa_0_4_vit_{model}_linear.pth"
    state = torch.load(source, weights_only=True)
    plain = torch.nn.Linear(state["weight"].shape[1], 1)
    plain.load_state_dict(state)
    vectors = unit_vectors(50, plain.in_features)
    with torch.no_grad():
        expected = plain(torch.from_numpy(vectors.astype(np.float32)))[:, 0].numpy()
    head = load_head(imported("aesthetic", source, tmp_path))
    np.testing.assert_allclose(head.scores(vectors), expected, atol=1e-5)
    # B/16 and B/32 have the same width: only the file's name tells them apart.
    spaces = {"b_16": "ViT-B-16/openai", "b_32": "ViT-B-32/openai", "l_14": "ViT-L-14/openai"}
    assert head.description.space == spaces[model]


def test_aesthetic_v2(testdata: Path, tmp_path: Path) -> None:
    import torch
    from torch import nn

    source = testdata / "heads" / "aesthetic" / "sac+logos+ava1-l14-linearMSE.pth"
    layers = nn.Sequential(
        nn.Linear(768, 1024), nn.Dropout(0.2), nn.Linear(1024, 128), nn.Dropout(0.2),
        nn.Linear(128, 64), nn.Dropout(0.1), nn.Linear(64, 16), nn.Linear(16, 1),
    )  # fmt: skip
    state = torch.load(source, weights_only=True, map_location="cpu")
    layers.load_state_dict({k.removeprefix("layers."): v for k, v in state.items()})
    vectors = unit_vectors(50, 768)
    with torch.no_grad():
        expected = layers.eval()(torch.from_numpy(vectors.astype(np.float32)))[:, 0].numpy()
    head = load_head(imported("aesthetic", source, tmp_path))
    np.testing.assert_allclose(head.scores(vectors), expected, atol=1e-5)
    assert head.description.threshold is None


@pytest.mark.parametrize(("model", "width"), [("b_32", 512), ("l_14", 768)])
def test_violence(testdata: Path, tmp_path: Path, model: str, width: int) -> None:
    source = testdata / "heads" / "nsfw" / f"violence_detection_vit_{model}.npy"
    vectors = unit_vectors(200, width)
    expected = (vectors.astype(np.float32) @ np.load(source).T).argmax(axis=1)
    found = load_head(imported("violence", source, tmp_path)).scores(vectors)
    products = vectors.astype(np.float64) @ np.load(source).astype(np.float64).T
    odds = np.exp(products[:, 1] - products[:, 0])
    np.testing.assert_allclose(found, odds / (1 + odds), atol=1e-5)
    assert ((found > 0.5) == (expected == 1)).all()
    assert 0 < expected.sum() < 200


def test_nsfw_h14(tmp_path: Path) -> None:
    """Random weights in the published architecture."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    sizes = [1024, 1024, 2048, 1024, 256, 128]
    parts: list[nn.Module] = []
    for before, after in pairwise(sizes):
        parts += [nn.Linear(before, after), nn.ReLU(), nn.Dropout(0.2)]
    layers = nn.Sequential(*parts, nn.Linear(128, 16), nn.Linear(16, 1)).eval()
    source = tmp_path / "h14_nsfw.pth"
    torch.save({f"layers.{name}": value for name, value in layers.state_dict().items()}, source)
    vectors = unit_vectors(30, 1024)
    with torch.no_grad():
        expected = layers(torch.from_numpy(vectors.astype(np.float32)))[:, 0].numpy()
    head = load_head(imported("nsfw-h14", source, tmp_path))
    np.testing.assert_allclose(head.scores(vectors), expected, atol=1e-5)


def test_wrong_files_are_refused(tmp_path: Path) -> None:
    junk = tmp_path / "junk"
    junk.write_bytes(b"PK\x03\x04 this is no archive")
    for kind in ("nsfw-autokeras", "nsfw-h14", "aesthetic", "violence"):
        with pytest.raises(InputError, match="junk"):
            import_head(kind, junk, tmp_path / "out")
    with pytest.raises(UsageError, match="the kinds are nsfw-autokeras"):
        import_head("nsfw", junk, tmp_path / "out")
    with pytest.raises(InputError, match="no such file"):
        import_head("aesthetic", tmp_path / "none.pth", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "v.npy", np.eye(2, 4, dtype=np.float32))
    output = str(tmp_path / "violence")
    assert main(["heads", "import", "violence", str(tmp_path / "v.npy"), "--output", output]) == 0
    assert main(["heads", "show", output]) == 0
    said = capsys.readouterr().out
    assert "column: pviolence" in said
    assert "licence: MIT" in said
