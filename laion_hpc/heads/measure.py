"""Measures a head on samples that it has not seen; pure functions of scores and labels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]

BINS = 10
"""Bins of the calibration: equal parts of 0 … 1."""
ROC_POINTS = 50


def classification(scores: Array, labels: Array, threshold: float) -> dict[str, Any]:
    """Measures of probabilities (n,) against labels (n,) of 0 and 1, both classes present.

    A score of at least `threshold` answers yes. Shares are 0 … 1; without a yes precision is 0.
    """
    scores, truth = scores.astype(np.float64), labels > 0.5
    told = scores >= threshold
    right_yes, right_no = int((told & truth).sum()), int((~told & ~truth).sum())
    wrong_yes, wrong_no = int((told & ~truth).sum()), int((~told & truth).sum())
    n, recall = len(scores), right_yes / (right_yes + wrong_no)
    precision = right_yes / (right_yes + wrong_yes) if right_yes + wrong_yes else 0.0
    accuracy = (right_yes + right_no) / n
    calibration = _calibration(scores, truth)
    clipped = np.clip(scores, 1e-7, 1 - 1e-7)
    false, true, thresholds = _roc(scores, truth)
    return {
        "samples": n,
        "positive": int(truth.sum()),
        "threshold": threshold,
        "accuracy": accuracy,
        "accuracy_95": list(wilson(right_yes + right_no, n)),
        "balanced_accuracy": (recall + right_no / (right_no + wrong_yes)) / 2,
        "precision": precision,
        "recall": recall,
        "f1": 2 * right_yes / (2 * right_yes + wrong_yes + wrong_no),
        "auc": auc(scores, truth),
        "average_precision": average_precision(scores, truth),
        "brier": float(((scores - truth) ** 2).mean()),
        "log_loss": float(-np.where(truth, np.log(clipped), np.log(1 - clipped)).mean()),
        "calibration_error": sum(
            part["samples"] / n * abs(part["mean_score"] - part["share_positive"])
            for part in calibration
        ),
        "confusion": {
            "true_positive": right_yes,
            "false_positive": wrong_yes,
            "false_negative": wrong_no,
            "true_negative": right_no,
        },
        "calibration": calibration,
        "roc": [
            {"threshold": t, "false_positive_rate": f, "true_positive_rate": r}
            for f, r, t in zip(false, true, thresholds, strict=True)
        ],
    }


def regression(scores: Array, labels: Array) -> dict[str, Any]:
    """Measures of predicted values (n,) against real ones (n,) that are not all the same."""
    scores, labels = scores.astype(np.float64), labels.astype(np.float64)
    error = scores - labels
    spread = float(((labels - labels.mean()) ** 2).mean())
    return {
        "samples": len(scores),
        "mean_absolute_error": float(np.abs(error).mean()),
        "root_mean_square_error": math.sqrt(float((error**2).mean())),
        "r2": 1 - float((error**2).mean()) / spread,
        "pearson": _pearson(scores, labels),
        "spearman": _pearson(ranks(scores), ranks(labels)),
        "bias": float(error.mean()),
        "standard_deviation_of_labels": math.sqrt(spread),
    }


def auc(scores: Array, truth: NDArray[np.bool_]) -> float:
    """Share of (positive, negative) pairs that the scores order correctly; a tie is half."""
    n, m = int(truth.sum()), int((~truth).sum())
    return float((ranks(scores)[truth].sum() - n * (n + 1) / 2) / (n * m))


def average_precision(scores: Array, truth: NDArray[np.bool_]) -> float:
    """Area under the curve of precision over recall, as steps; equal scores are one step."""
    distinct, where = np.unique(-scores, return_inverse=True)
    positives = np.bincount(where, weights=truth, minlength=len(distinct))
    found, told = np.cumsum(positives), np.cumsum(np.bincount(where, minlength=len(distinct)))
    return float((found / told * positives).sum() / truth.sum())


def ranks(values: Array) -> NDArray[np.float64]:
    """Ranks from 1; equal values share the mean of theirs."""
    _, where, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[where], np.float64)


def wilson(right: int, n: int) -> tuple[float, float]:
    """Wilson's 95% interval of a share."""
    z = 1.959964
    share = right / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, middle - half), min(1.0, middle + half)


def _pearson(x: Array, y: Array) -> float:
    x, y = x - x.mean(), y - y.mean()
    norm = math.sqrt(float((x**2).sum()) * float((y**2).sum()))
    return float((x * y).sum()) / norm if norm else 0.0


def _calibration(scores: Array, truth: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """By tenths of the score: its mean, and how many samples are positive."""
    bins = np.minimum((scores * BINS).astype(np.int64), BINS - 1)
    return [
        {
            "from": number / BINS,
            "to": (number + 1) / BINS,
            "samples": int(inside.sum()),
            "mean_score": float(scores[inside].mean()),
            "share_positive": float(truth[inside].mean()),
        }
        for number in range(BINS)
        if (inside := bins == number).any()
    ]


def _roc(scores: Array, truth: NDArray[np.bool_]) -> tuple[list[float], list[float], list[float]]:
    """At most ROC_POINTS points of the curve: false and true positive rates, and thresholds."""
    distinct, where = np.unique(-scores, return_inverse=True)
    yes = np.bincount(where, weights=truth, minlength=len(distinct)).cumsum() / truth.sum()
    no = np.bincount(where, weights=~truth, minlength=len(distinct)).cumsum() / (~truth).sum()
    # Evenly along the curve's length, so that its corner has enough points.
    length = yes + no
    wanted = np.linspace(length[0], length[-1], min(ROC_POINTS, len(distinct)))
    at = np.unique(np.searchsorted(length, wanted).clip(0, len(distinct) - 1))
    return no[at].tolist(), yes[at].tolist(), (-distinct[at]).tolist()


def rounded(value: Any, digits: int = 6) -> Any:
    """The same with all floats rounded, so that reports are short and repeat to the byte."""
    if isinstance(value, float):
        return round(value, digits)
    if isinstance(value, Mapping):
        return {key: rounded(part, digits) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(part, digits) for part in value]
    return value


def show(measures: Mapping[str, Any]) -> str:
    """The measures as a few lines of text."""
    if "confusion" not in measures:
        return (
            f"samples {measures['samples']:,}\n"
            f"error   {measures['mean_absolute_error']:.4f} mean absolute, "
            f"{measures['root_mean_square_error']:.4f} root mean square "
            f"(labels: standard deviation {measures['standard_deviation_of_labels']:.4f})\n"
            f"r2      {measures['r2']:.4f}\n"
            f"pearson {measures['pearson']:.4f}, spearman {measures['spearman']:.4f}"
        )
    low, high = measures["accuracy_95"]
    matrix = measures["confusion"]
    lines = [
        f"samples   {measures['samples']:,}, {measures['positive']:,} of them positive",
        f"accuracy  {measures['accuracy']:.4f} (95%: {low:.4f} … {high:.4f}), balanced "
        f"{measures['balanced_accuracy']:.4f}, at threshold {measures['threshold']:g}",
        f"precision {measures['precision']:.4f}",
        f"recall    {measures['recall']:.4f}",
        f"AUC       {measures['auc']:.4f}, average precision {measures['average_precision']:.4f}",
        f"confusion {matrix['true_positive']:,} true positive, {matrix['false_positive']:,} false "
        f"positive, {matrix['false_negative']:,} false negative, {matrix['true_negative']:,} true "
        "negative",
        f"calibration error {measures['calibration_error']:.4f}:",
        "  score      samples  mean score  positive",
    ]
    lines += [
        f"  {part['from']:.1f} … {part['to']:.1f} {part['samples']:>9,} "
        f"{part['mean_score']:>11.3f} {part['share_positive']:>9.1%}"
        for part in measures["calibration"]
    ]
    return "\n".join(lines)
