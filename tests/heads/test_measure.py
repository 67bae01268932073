"""The measures of a report, against their definitions."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from laion_hpc.heads import measure

# Few distinct values, so that there are ties.
PAIRS = st.lists(
    st.tuples(st.integers(0, 10).map(lambda n: n / 10), st.booleans()), min_size=2, max_size=40
).filter(lambda pairs: len({truth for _, truth in pairs}) == 2)


@given(PAIRS)
def test_classification(pairs: list[tuple[float, bool]]) -> None:
    scores = np.array([score for score, _ in pairs])
    truth = np.array([answer for _, answer in pairs])
    found = measure.classification(scores, truth.astype(float), 0.5)
    told = scores >= 0.5
    assert found["accuracy"] == pytest.approx((told == truth).mean())
    assert found["recall"] == pytest.approx(told[truth].mean())
    assert found["precision"] == pytest.approx(truth[told].mean() if told.any() else 0)
    assert found["balanced_accuracy"] == pytest.approx(
        (told[truth].mean() + (~told[~truth]).mean()) / 2
    )
    assert sum(found["confusion"].values()) == len(pairs)
    wins = [(p > n) + (p == n) / 2 for p, n in product(scores[truth], scores[~truth])]
    assert found["auc"] == pytest.approx(np.mean(wins))
    # Average precision: the sum over thresholds of precision times what recall gains.
    recall = area = 0.0
    for threshold in sorted(set(scores), reverse=True):
        yes = scores >= threshold
        now = yes[truth].mean()
        area += (now - recall) * truth[yes].mean()
        recall = now
    assert found["average_precision"] == pytest.approx(area)
    assert sum(part["samples"] for part in found["calibration"]) == len(pairs)
    points = [(p["false_positive_rate"], p["true_positive_rate"]) for p in found["roc"]]
    assert points == sorted(points)
    assert points[-1] == (1, 1)
    for point in found["roc"]:
        yes = scores >= point["threshold"]
        assert point["true_positive_rate"] == pytest.approx(yes[truth].mean())
        assert point["false_positive_rate"] == pytest.approx(yes[~truth].mean())
    assert all(line in measure.show(found) for line in ("AUC", "recall", "confusion"))


def test_calibration() -> None:
    rng = np.random.default_rng(0)
    scores = rng.uniform(size=20_000)
    honest = measure.classification(scores, (rng.uniform(size=20_000) < scores) * 1.0, 0.5)
    assert honest["calibration_error"] < 0.02
    boasting = measure.classification(scores, (rng.uniform(size=20_000) < 0.5) * 1.0, 0.5)
    assert boasting["calibration_error"] == pytest.approx(0.25, abs=0.02)
    assert len(honest["roc"]) <= measure.ROC_POINTS


def test_regression() -> None:
    labels = np.arange(100.0)
    good = measure.regression(labels, labels)
    assert (good["r2"], good["pearson"], good["root_mean_square_error"]) == (1, pytest.approx(1), 0)
    worse = measure.regression(labels**3, labels)
    assert worse["spearman"] == pytest.approx(1)
    assert worse["pearson"] == pytest.approx(np.corrcoef(labels, labels**3)[0, 1])
    assert measure.regression(np.full(100, 49.5), labels)["r2"] == pytest.approx(0)
    assert "root mean square" in measure.show(worse)


def test_interval() -> None:
    # Wilson's interval of 8 in 10, from Newcombe (1998).
    assert measure.wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert measure.wilson(3000, 3000)[1] == pytest.approx(1)
