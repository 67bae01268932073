"""Training: what is learnt, what the report says, that it repeats, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("torch", reason="needs torch")

from laion_hpc.cli import main
from laion_hpc.errors import InputError, LaionHpcError, UsageError
from laion_hpc.files.ledger import MANIFEST
from laion_hpc.heads.examples import Examples
from laion_hpc.heads.fit import Schedule, statistics
from laion_hpc.heads.head import assemble, load_head
from laion_hpc.heads.train import CLASSES, VALUES, Settings, Trained, kind_of, split, train_head
from tests.heads.labelled import WIDTH, vectors_and_labels, write_labels
from tests.stages.tag.blocks import embedded_block

QUICK = Settings(layers=(16, 16), schedule=Schedule(epochs=1, least_steps=300, rate=0.01))


def train(
    x: NDArray[np.float16], y: NDArray[np.generic], settings: Settings = QUICK,
    held_out: NDArray[np.bool_] | None = None,
) -> Trained:  # fmt: skip
    examples = Examples(x, np.asarray(y, np.float64), held_out, len(x))
    return train_head(
        examples, settings, column="pcurved", space="test", licence="none", source="a test"
    )


def test_a_head_learns_what_is_not_linear_and_reports_it_honestly() -> None:
    x, y = vectors_and_labels(3000)
    trained = train(x[:2000], y[:2000])
    held = trained.report["held_out"]
    assert held["accuracy"] > 0.93
    assert held["auc"] > 0.98
    assert (held["samples"], held["positive"]) == (200, round(y[:2000].sum() / 10))
    # What it says of the rows held out holds for rows that nobody has seen.
    head = assemble(trained.description, trained.tensors, origin="here")
    fresh = ((head.scores(x[2000:]) >= 0.5) == y[2000:]).mean()
    assert fresh == pytest.approx(held["accuracy"], abs=0.04)
    linear = train(x[:2000], y[:2000], replace(QUICK, layers=()))
    assert linear.report["held_out"]["accuracy"] < held["accuracy"] - 0.1
    assert set(linear.tensors) == {"mean", "std", "layers.0.weight", "layers.0.bias"}


def test_labels_that_mean_nothing_are_not_learnt() -> None:
    """The report is of rows that were not trained on: chance stays chance."""
    x, _ = vectors_and_labels(1500)
    noise = np.random.default_rng(1).integers(0, 2, len(x))
    report = train(x, noise, replace(QUICK, layers=(64, 64), dropout=0, held_out=500)).report
    assert abs(report["held_out"]["auc"] - 0.5) < 0.1
    assert report["train"]["accuracy"] > 0.7


def test_a_rare_class_is_weighed_up() -> None:
    x, y = vectors_and_labels(4000, rare=0.04)
    settings = replace(
        QUICK, held_out=0.25, schedule=Schedule(epochs=1, least_steps=200, rate=0.01)
    )
    balanced = train(x, y, settings).report["held_out"]
    plain = train(x, y, replace(settings, balance=False)).report["held_out"]
    assert balanced["positive"] == plain["positive"] == 40
    assert balanced["recall"] >= plain["recall"]
    assert balanced["recall"] > 0.85


def test_values() -> None:
    x, _ = vectors_and_labels(1500)
    y = 5 + 3 * x[:, 0].astype(np.float64) - x[:, 2]
    trained = train(x, y)
    assert trained.report["labels"]["kind"] == VALUES
    assert trained.report["held_out"]["r2"] > 0.97
    said = trained.description
    assert (said.activation, said.output, said.threshold) == ("none", "none", None)
    # On the scale of the labels, not on that of the training.
    scores = assemble(said, trained.tensors, origin="here").scores(x)
    assert scores.mean() == pytest.approx(y.mean(), abs=0.05)
    assert train(x, y, replace(QUICK, layers=None, schedule=Schedule(least_steps=2, epochs=1)))


def test_the_same_again_and_another_seed() -> None:
    x, y = vectors_and_labels(600)
    settings = replace(QUICK, schedule=Schedule(epochs=1, least_steps=40))
    first, second, third = (train(x, y, replace(settings, seed=seed)) for seed in (1, 1, 2))
    assert first.report == second.report
    assert {k: v.tobytes() for k, v in first.tensors.items()} == {
        k: v.tobytes() for k, v in second.tensors.items()
    }
    assert first.tensors["layers.0.weight"].tobytes() != third.tensors["layers.0.weight"].tobytes()


def test_split_and_statistics() -> None:
    labels = np.array([1.0] * 30 + [0.0] * 970)
    for held_out, total, ones in ((0.1, 100, 3), (500, 500, 15)):
        chosen = split(labels, CLASSES, held_out, 3)
        assert (chosen.sum(), chosen[:30].sum()) == (total, ones)
        assert (split(labels, CLASSES, held_out, 3) == chosen).all()
    x, _ = vectors_and_labels(40_000)
    x[:, 3] = 0.25
    mean, std = statistics(x)
    np.testing.assert_allclose(mean, x.astype(np.float64).mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(np.delete(std, 3), np.delete(x.astype(float).std(axis=0), 3), 1e-5)
    assert std[3] == 1
    assert kind_of(labels) == CLASSES
    assert kind_of(labels * 2) == VALUES


def test_what_cannot_be_learnt() -> None:
    x, y = vectors_and_labels(100)
    few = np.zeros(100)
    few[:2] = 1
    told = np.arange(100) < 20
    for error, message, labels, settings, held_out in (
        (InputError, "all 100 usable labels are 1", np.ones(100), QUICK, None),
        (InputError, "0 of the 10 samples held out have the label 1", few, QUICK, None),
        (InputError, "0 of the 80 samples to train on have", np.where(told, y, 0), QUICK, told),
        (UsageError, "only 100 usable labels", y, replace(QUICK, held_out=100), None),
        (UsageError, "--held-out: above 0", y, replace(QUICK, held_out=0), None),
        (UsageError, "--layers", y, replace(QUICK, layers=(4, 0)), None),
        (UsageError, "--rate", y, replace(QUICK, schedule=Schedule(rate=2)), None),
        (UsageError, "--threshold", y, replace(QUICK, threshold=1.0), None),
    ):
        wanted: type[LaionHpcError] = error
        with pytest.raises(wanted, match=message):
            train(x, labels, settings, held_out)


def test_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x, y = vectors_and_labels(400)
    block = embedded_block(tmp_path / "embed", [x[:300], x[300:]])
    keys = [f"CC-TEST-0000-{n // 300:05d}-{n % 300:05d}" for n in range(400)]
    labels = write_labels(tmp_path / "labels.csv", key=keys[::-1], curved=y[::-1].tolist())
    folder = tmp_path / "heads" / "pcurved"
    command = ["heads", "train", str(block), str(labels), "--label", "curved", "--layers", "16,16"]
    command += ["--output", str(folder), "--rate", "0.01", "--licence", "CC0-1.0"]
    assert main([*command, "--space", "test"]) == 0
    said = capsys.readouterr().out
    assert "labels: 400; used 400" in said
    assert "40, " in said
    head = load_head(str(folder)).description
    assert (head.column, head.space, head.width, head.threshold) == ("pcurved", "test", WIDTH, 0.5)
    assert (head.licence, head.source) == ("CC0-1.0", "laion-hpc heads train on labels.csv")
    report = json.loads((folder / "report.json").read_text())
    assert report["held_out"]["accuracy"] > 0.8
    assert f"accuracy  {report['held_out']['accuracy']:.4f}" in said

    output = tmp_path / "report.json"
    evaluate = ["heads", "evaluate", str(folder), str(block), str(labels), "--label", "curved"]
    assert main([*evaluate, "--output", str(output)]) == 0
    assert json.loads(output.read_text())["samples"] == 400
    # The trained head tags; and it is refused for the embeddings of another model.
    config = tmp_path / "config.yaml"
    config.write_text(f"tag: {{heads: ['{folder}'], space: test}}\n")
    tag = ["tag", str(block), "--output", str(tmp_path / "t.parquet"), "--config", str(config)]
    assert main(tag) == 0
    config.write_text(f"tag: {{heads: ['{folder}']}}\n")
    assert main(tag) == 2
    assert "of test (12 numbers), but" in capsys.readouterr().err


def test_the_space_is_the_configs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x, y = vectors_and_labels(100)
    block = embedded_block(tmp_path / "embed", [x])
    labels = write_labels(tmp_path / "labels.csv", label=y.tolist())
    command = ["heads", "train", str(block), str(labels), "--epochs", "1", "--layers", ""]
    assert main([*command, "--output", str(tmp_path / "plain")]) == 0
    assert load_head(str(tmp_path / "plain")).description.space == "ViT-L-14/openai"
    book = json.loads((block / MANIFEST).read_text())
    (block / MANIFEST).write_text(json.dumps(book | {"config": "0123"}))
    assert main([*command, "--output", str(tmp_path / "other")]) == 2
    assert main([*command, "--output", str(tmp_path / "Bad Name"), "--space", "test"]) == 2
    said = capsys.readouterr().err
    assert "embedded with another config" in said
    assert "--column Bad Name: lower-case" in said
    assert not (tmp_path / "other").exists()
