"""Which pairs are kept, and how the kept are cut in shards."""

from __future__ import annotations

import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from laion_hpc.config import parse
from laion_hpc.config.sections import ThresholdsConfig
from laion_hpc.files.shards import Sample
from laion_hpc.stages.filter import outcomes, repack

THRESHOLDS = ThresholdsConfig(en=0.28, multi=0.26, nolang=0.24)


def test_thresholds_are_per_class_and_inclusive() -> None:
    scores = np.array([0.28, 0.2799, 0.26, 0.2599, 0.24, 0.2399, np.nan], np.float32)
    classes = ["en", "en", "multi", "multi", "nolang", "nolang", "en"]
    fixed = ["", "", "", "", "", "", outcomes.UNDECODABLE]
    kept, low = outcomes.KEPT, outcomes.DISSIMILAR
    expected = [kept, low, kept, low, kept, low, outcomes.UNDECODABLE]
    assert outcomes.fates(scores, classes, fixed, THRESHOLDS) == expected


def test_a_new_threshold_never_revives_an_unsafe_sample() -> None:
    before = [outcomes.KEPT, outcomes.DISSIMILAR, outcomes.UNSAFE_MINOR]
    scores = np.array([0.5, 0.1, 0.9], np.float32)
    lowest = ThresholdsConfig(en=-1, multi=-1, nolang=-1)
    after = outcomes.fates(scores, ["en"] * 3, before, lowest)
    assert after == [outcomes.KEPT, outcomes.KEPT, outcomes.UNSAFE_MINOR]


def test_presets() -> None:
    assert parse({"filter": {"thresholds": "laion400m"}}).filter.thresholds.multi == 0.3
    assert parse({"filter": {"thresholds": "laion5b"}}).filter.thresholds == ThresholdsConfig()
    assert parse({"filter": {"zero_shot": False}}).filter.zero_shot == "off"


def test_counts() -> None:
    outcome = [outcomes.KEPT, outcomes.DISSIMILAR, outcomes.KEPT]
    assert outcomes.counts(outcome, ["en", "en", "multi"], ["UNLIKELY", "NSFW", "UNSURE"]) == {
        "inputs_by_class": {"en": 2, "multi": 1},
        "kept_by_class": {"en": 1, "multi": 1},
        "kept_by_nsfw": {"UNLIKELY": 1, "UNSURE": 1},
    }


@given(st.lists(st.integers(0, 30), max_size=8), st.integers(1, 12))
def test_plan_covers_every_kept_sample_once_in_order(kept: list[int], size: int) -> None:
    named = [(f"{i:05d}", count) for i, count in enumerate(kept)]
    planned = repack.plan(named, size)
    assert [shard.name for shard in planned] == [f"{i:05d}" for i in range(len(planned))]
    assert all(shard.samples == size for shard in planned[:-1])
    assert all(0 < shard.samples <= size for shard in planned)
    covered = [
        (span.shard, row)
        for shard in planned
        for span in shard.spans
        for row in range(span.start, span.stop)
    ]
    assert covered == [(name, row) for name, count in named for row in range(count)]


def test_only_the_metadata_of_a_sample_changes() -> None:
    members = {"jpg": b"\xff\xd8", "json": '{"caption": "é", "key": "k"}'.encode(), "txt": b"t"}
    sample = repack.with_scores(Sample("k", members), np.float32(0.3), "UNSURE")
    assert list(sample.members) == ["jpg", "json", "txt"]
    assert sample.members["jpg"] == b"\xff\xd8"
    assert json.loads(sample.members["json"]) == {
        "caption": "é", "key": "k", "similarity": 0.3, "nsfw": "UNSURE",
    }  # fmt: skip
