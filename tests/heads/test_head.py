"""Heads: the arithmetic, and that a head which does not fit is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from laion_hpc.errors import UsageError
from laion_hpc.heads.head import assemble, finish, load_head
from tests.stages.tag.blocks import head_folder, unit_vectors


def test_scores_equal_the_formula(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    name = head_folder(tmp_path / "h")
    vectors = unit_vectors(20, 8)
    weights = {k: v.astype(np.float64) for k, v in load_file(f"{name}/weights.safetensors").items()}
    hidden = np.maximum(
        vectors.astype(np.float64) @ weights["layers.0.weight"].T + weights["layers.0.bias"], 0
    )
    logits = (hidden @ weights["layers.1.weight"].T + weights["layers.1.bias"])[:, 0]
    found = load_head(name).scores(vectors)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-logits)), atol=1e-6)
    assert found.std() > 0.01


def test_normalisation_and_no_activation(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    tensors = {
        "mean": rng.normal(size=4).astype(np.float32),
        "std": rng.uniform(0.5, 2, size=4).astype(np.float32),
        "layers.0.weight": rng.normal(size=(3, 4)).astype(np.float32),
        "layers.0.bias": rng.normal(size=3).astype(np.float32),
        "layers.1.weight": rng.normal(size=(1, 3)).astype(np.float32),
        "layers.1.bias": rng.normal(size=1).astype(np.float32),
    }
    name = head_folder(tmp_path / "h", tensors, width=4, activation="none", output="none")
    vectors = unit_vectors(9, 4)
    x = (vectors.astype(np.float64) - tensors["mean"]) / tensors["std"]
    for layer in range(2):
        x = x @ tensors[f"layers.{layer}.weight"].T + tensors[f"layers.{layer}.bias"]
    np.testing.assert_allclose(load_head(name).scores(vectors), x[:, 0], atol=1e-5)


@given(st.lists(st.tuples(*[st.floats(-1e4, 1e4, width=32)] * 2), min_size=1, max_size=20))
def test_outputs_are_probabilities(rows: list[tuple[float, float]]) -> None:
    x = np.array(rows, np.float32)
    with np.errstate(all="raise", under="ignore"):
        sigmoid, softmax = finish(x[:, :1], "sigmoid"), finish(x, "softmax0")
    for value in (sigmoid, softmax):
        assert value.dtype == np.float32
        assert ((value >= 0) & (value <= 1)).all()
    assert ((sigmoid > 0.5) <= (x[:, 0] > 0)).all()
    assert ((softmax > 0.5) <= (x[:, 0] > x[:, 1])).all()


def test_lookups_print_the_value(tmp_path: Path) -> None:
    words = ["0.125000", "-0.250000", "-0.000000", "0.333252"]  # 1/3 in fp16
    tensors: dict[str, Any] = {
        "layers.0.weight": np.array([[0, 1]], np.float32),
        "layers.0.bias": np.zeros(1, np.float32),
        "lookup.1": np.frombuffer("\n".join(words).encode(), np.uint8),
    }
    head = load_head(head_folder(tmp_path / "h", tensors, width=2, output="none"))
    values = [0.125, -0.25, 0.5, 1 / 3, 0.0, -0.0]
    vectors = np.array([[9, value] for value in values], np.float16)
    assert head.scores(vectors).tolist() == [1, 2, 0, 4, 0, 3]
    assert head.scores(vectors.astype(np.float32)).tolist() == [1, 2, 0, 4, 0, 3]


def tensors_of(**shapes: tuple[int, ...]) -> dict[str, Any]:
    return {
        name.replace("__", "."): np.full(shape, 0.5, np.float32) for name, shape in shapes.items()
    }


@pytest.mark.parametrize(
    ("changes", "tensors", "message"),
    [
        ({}, tensors_of(layers__0__weight=(1, 9), layers__0__bias=(1,)), r"\(1, 9\)"),
        ({}, tensors_of(layers__0__weight=(1, 8)), "missing its weight or bias"),
        ({}, tensors_of(layers__0__weight=(2, 8), layers__0__bias=(2,)), "end in 2 outputs"),
        (
            {"output": "softmax0"},
            tensors_of(layers__0__weight=(1, 8), layers__0__bias=(1,)),
            "end in 1 outputs",
        ),
        ({}, tensors_of(mean=(8,)), "0 layers"),
        (
            {},
            tensors_of(layers__0__weight=(1, 8), layers__0__bias=(1,), mean=(3,)),
            "mean and std",
        ),
        (
            {},
            tensors_of(layers__0__weight=(1, 8), layers__0__bias=(1,), lookup__8=(0,)),
            "a lookup is for a dimension",
        ),
        ({"activation": "gelu"}, None, r"head\.json.*activation"),
        ({"format": 2}, None, "format"),
        ({"column": "Not A Column"}, None, "column"),
        ({"extra": 1}, None, "extra"),
    ],
)
def test_heads_that_do_not_fit(
    changes: dict[str, Any], tensors: dict[str, Any] | None, message: str, tmp_path: Path
) -> None:
    name = head_folder(tmp_path / "h", tensors, **changes)
    with pytest.raises(UsageError, match=message):
        load_head(name)


def test_missing_and_damaged_files(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="laion-hpc heads import"):
        load_head(str(tmp_path / "none"))
    name = head_folder(tmp_path / "h")
    weights = Path(name) / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:20])
    with pytest.raises(UsageError, match="not a safetensors file"):
        load_head(name)
    weights.unlink()
    with pytest.raises(UsageError, match="make this head again"):
        load_head(name)


def test_nan_weights_are_refused(tmp_path: Path) -> None:
    head = load_head(head_folder(tmp_path / "h"))
    tensors = {
        "layers.0.weight": np.full((1, 8), np.nan, np.float32),
        "layers.0.bias": np.zeros(1, np.float32),
    }
    with pytest.raises(UsageError, match="not finite"):
        assemble(head.description, tensors, origin="here")
