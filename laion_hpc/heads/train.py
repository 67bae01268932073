"""Trains a head on labelled embeddings: a small network of linear layers, like LAION's heads."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from laion_hpc.errors import InputError, UsageError
from laion_hpc.heads import measure
from laion_hpc.heads.examples import Examples
from laion_hpc.heads.fit import Schedule, Shape, Tensors, chunks, fit
from laion_hpc.heads.head import Description, Head, assemble

CLASSES, VALUES = "classes", "values"
"""Kinds of labels: 0 and 1, or real numbers."""

LAYERS: dict[str, tuple[int, ...]] = {CLASSES: (64, 512, 256), VALUES: (1024, 128, 64, 16)}
"""Widths between input and output: of LAION's NSFW head for ViT-L/14, of its aesthetic head v2."""

_FEWEST = 2
"""Samples of a class that each part of the split needs."""


@dataclass(frozen=True)
class Settings:
    """Settings of the training; None: a value that suits the labels."""

    layers: tuple[int, ...] | None = None
    """Widths of the layers between input and output; none at all: a linear head."""
    activation: Literal["relu", "none"] | None = None
    """relu; none for values, as in LAION's aesthetic head, whose layers are one linear map."""
    dropout: float = 0.1
    schedule: Schedule = field(default_factory=Schedule)
    balance: bool = True
    """Both classes weigh the same, even if one is rare."""
    standardise: bool = True
    """Subtract the mean and divide by the standard deviation of each number of the embedding."""
    held_out: float = 0.1
    """Size of the held-out part: a share below 1, or a number of samples."""
    seed: int = 0
    threshold: float = 0.5
    device: Literal["auto", "cpu", "cuda"] = "auto"


@dataclass(frozen=True)
class Trained:
    """A head and its measures."""

    description: Description
    tensors: Tensors
    report: dict[str, Any]
    """`held_out` and `train`: see `measure`; what it was trained on, and how."""


def train_head(
    examples: Examples, settings: Settings, *, column: str, space: str, licence: str, source: str
) -> Trained:
    """Train a head for `column` on embeddings of `space`; the same inputs give the same head.

    Labels that are all 0 or 1 make a head of probabilities, other labels a head of values.
    InputError if no head can learn from the labels; UsageError if the settings are invalid.
    """
    _check(settings)
    kind = kind_of(examples.labels)
    held_out = examples.held_out
    if held_out is None:
        held_out = split(examples.labels, kind, settings.held_out, settings.seed)
    _check_parts(examples.labels, held_out, kind)
    layers = LAYERS[kind] if settings.layers is None else settings.layers
    activation = settings.activation or ("relu" if kind == CLASSES else "none")
    shape = Shape(layers, activation, settings.dropout)
    fitted = fit(
        examples.embeddings[~held_out],
        examples.labels[~held_out],
        shape,
        settings.schedule,
        classes=kind == CLASSES,
        balance=settings.balance,
        standardise=settings.standardise,
        seed=settings.seed,
        device=settings.device,
    )
    description = Description(
        format=1,
        name=f"{column} for {space}",
        column=column,
        space=space,
        width=examples.embeddings.shape[1],
        activation=activation,
        output="sigmoid" if kind == CLASSES else "none",
        threshold=settings.threshold if kind == CLASSES else None,
        licence=licence,
        source=source,
    )
    head = assemble(description, fitted, origin="the trained head")
    used = {name: value for name, value in asdict(settings).items() if name != "device"}
    if examples.held_out is not None:
        used["held_out"] = "as the labels say"
    report = {
        "format": 1,
        "head": description.name,
        "labels": {
            "kind": kind,
            "rows": examples.inputs,
            "used": len(examples.labels),
            "dropped": examples.dropped,
        },
        "settings": used | {"layers": list(layers), "activation": activation},
        "held_out": evaluate(head, examples, held_out),
        "train": _summary(evaluate(head, examples, ~held_out)),
    }
    return Trained(description, fitted, measure.rounded(report))


def evaluate(head: Head, examples: Examples, rows: NDArray[np.bool_] | None = None) -> Any:
    """Measure a head on examples, or some: `measure.classification` or `.regression`.

    InputError if the labels do not suit the head or are all the same.
    """
    x, labels = examples.embeddings, examples.labels
    if rows is not None:
        x, labels = x[rows], labels[rows]
    if len(np.unique(labels)) < 2:
        raise InputError(f"the labels are all {labels[0]:g}: they measure nothing")
    scores = np.concatenate([head.scores(part) for part in chunks(x)])
    threshold = head.description.threshold
    if threshold is None:
        return measure.regression(scores, labels)
    if kind_of(labels) != CLASSES:
        raise InputError(
            f"the head {head.description.name} has a threshold, so labels must be 0 and 1"
        )
    return measure.classification(scores, labels, threshold)


def kind_of(labels: NDArray[np.float64]) -> str:
    """CLASSES if all labels are 0 or 1, else VALUES."""
    return CLASSES if np.isin(labels, (0.0, 1.0)).all() else VALUES


def split(labels: NDArray[np.float64], kind: str, held_out: float, seed: int) -> NDArray[np.bool_]:
    """True for the rows held out: a share (below 1) or a number, drawn evenly from each class."""
    count = round(held_out * len(labels)) if held_out < 1 else int(held_out)
    if count >= len(labels):
        raise UsageError(f"--held-out {count}: there are only {len(labels)} usable labels")
    rng = np.random.default_rng(seed)
    chosen = np.zeros(len(labels), np.bool_)
    if kind == VALUES:
        chosen[rng.permutation(len(labels))[:count]] = True
        return chosen
    yes, no = (np.flatnonzero(labels == value) for value in (1, 0))
    of_yes = round(count * len(yes) / len(labels))
    for rows, number in ((yes, of_yes), (no, count - of_yes)):
        chosen[rng.permutation(rows)[:number]] = True
    return chosen


def _check(settings: Settings) -> None:
    faults = (
        (settings.held_out <= 0, "--held-out: above 0"),
        (settings.held_out > 1 and settings.held_out % 1 != 0, "--held-out: a share or a number"),
        (any(width < 1 for width in settings.layers or ()), "--layers: widths of at least 1"),
        (not 0 <= settings.dropout < 1, "--dropout: from 0 to below 1"),
        (settings.schedule.epochs < 1, "--epochs: at least 1"),
        (settings.schedule.batch < 2, "--batch: at least 2"),
        (not 0 < settings.schedule.rate < 1, "--rate: between 0 and 1"),
        (settings.schedule.weight_decay < 0, "--weight-decay: at least 0"),
        (not 0 < settings.threshold < 1, "--threshold: between 0 and 1"),
        (settings.seed < 0, "--seed: at least 0"),
    )
    for wrong, what in faults:
        if wrong:
            raise UsageError(what)


def _check_parts(labels: NDArray[np.float64], held_out: NDArray[np.bool_], kind: str) -> None:
    if len(np.unique(labels)) < 2:
        raise InputError(
            f"all {len(labels)} usable labels are {labels[0]:g}: a head needs samples of both "
            "classes, or different values"
        )
    for name, part in (("to train on", labels[~held_out]), ("held out", labels[held_out])):
        values = (0.0, 1.0) if kind == CLASSES else ()
        for value in values:
            found = int((part == value).sum())
            if found < _FEWEST:
                raise InputError(
                    f"{found} of the {len(part)} samples {name} have the label {value:g}, at "
                    f"least {_FEWEST} are needed: label more, or change --held-out"
                )
        if len(np.unique(part)) < 2:
            raise InputError(f"{len(part)} samples {name} are too few: label more")


def _summary(measures: dict[str, Any]) -> dict[str, Any]:
    """The few numbers of the training samples that show overfitting."""
    kept = ("samples", "positive", "accuracy", "auc", "root_mean_square_error", "r2")
    return {name: measures[name] for name in kept if name in measures}
