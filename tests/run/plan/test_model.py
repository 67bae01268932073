"""The plan's arithmetic against numbers worked out by hand, and its agreement with the rules."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from laion_hpc.config import Config, parse
from laion_hpc.errors import UsageError
from laion_hpc.run import jobs
from laion_hpc.run.plan import model
from laion_hpc.run.plan.model import Allocation, Size, plan, size_of
from laion_hpc.run.plan.rates import Rates, load

ROOT = Path(__file__).parents[3]


def rate(value: float, per: str) -> dict[str, object]:
    return {"value": value, "per": per, "kind": "assumed", "source": "made up for a test"}


def share(value: float) -> dict[str, object]:
    return {"value": value, "kind": "assumed", "source": "made up for a test"}


def hand_rates() -> Rates:
    """Numbers that one can multiply in one's head."""
    rules: dict[str, object] = {rule.name: {} for rule in jobs.RULES if not rule.like}
    rules["extract"] = {"cpu_seconds": [rate(32, "wats"), rate(16, "jobs")]}
    rules["download"] = {
        "cpu_seconds": [rate(0.01, "candidates")],
        "network_bytes": [rate(1_000, "images")],
        "disk_bytes": [rate(10, "candidates")],
        "replaced_bytes": [rate(100, "images")],
    }
    rules["filter"] = {"gpu_seconds": [rate(0.001, "images")], "disk_bytes": [rate(100, "pairs")]}
    return Rates.model_validate(
        {
            "shares": {
                "links_per_wat": share(1_000),
                "unique_links": share(0.5),
                "downloaded": share(0.8),
                "similar": share(0.25),
            },
            "rules": rules,
        }
    )


# 2 segments of 100 WATs: 200,000 links, 100,000 candidates, 80,000 images, 20,000 pairs.
SIZE = Size(crawls=1, segments=2, wats=200, candidates=100_000)
CONFIG = parse({"dataset": {"blocks": 10}})
ALLOCATION = Allocation(cpu_nodes=1, cores=16, gpu_nodes=1, gpus=4, gbit=0.008)


def lines(config: Config = CONFIG, allocation: Allocation = ALLOCATION) -> dict[str, model.Line]:
    return {line.rule: line for line in plan(config, hand_rates(), SIZE, allocation).lines}


def test_the_size_follows_from_the_wats() -> None:
    assert size_of(hand_rates(), crawls=1, segments=2, wats=200) == SIZE


def test_more_candidates_than_links_are_refused() -> None:
    with pytest.raises(UsageError, match="--crawls"):
        size_of(hand_rates(), crawls=1, segments=2, wats=200, candidates=200_001)


def test_extract_by_hand() -> None:
    line = lines()["extract"]
    assert line.jobs == 2
    assert line.units == 200
    # 200 × 32 s + 2 × 16 s = 6,432 core-seconds; 16 cores a job, one job at a time.
    assert line.core_hours == pytest.approx(6_432 / 3600)
    assert line.job_hours == pytest.approx(201 / 3600)
    assert line.wall_hours == pytest.approx(402 / 3600)


def test_download_is_held_up_by_the_network() -> None:
    line = lines()["download"]
    assert line.jobs == 10
    assert line.core_hours == pytest.approx(1_000 / 3600)
    assert line.network_bytes == 80_000_000
    # 8 cores a job: 12.5 s; two at once: 62.5 s; but 80 MB at 1 MB/s are 80 s.
    assert line.job_hours == pytest.approx(12.5 / 3600)
    assert line.wall_hours == pytest.approx(80 / 3600)
    free = Allocation(cpu_nodes=1, cores=16, gpu_nodes=1, gpus=4, gbit=100)
    assert lines(allocation=free)["download"].wall_hours == pytest.approx(62.5 / 3600)


def test_filter_by_hand() -> None:
    line = lines()["filter"]
    assert line.gpu_hours == pytest.approx(80 / 3600)
    # 8 s of GPU a job on 4 GPUs; one at a time.
    assert line.job_hours == pytest.approx(2 / 3600)
    assert line.wall_hours == pytest.approx(20 / 3600)


def test_bytes_by_hand() -> None:
    blocks = parse({"dataset": {"blocks": 1_000}})
    made = plan(blocks, hand_rates(), SIZE, ALLOCATION)
    # Kept: 10 × 100,000 + 100 × 20,000; replaced: 100 × 80,000; 200 jobs, or two rounds of two.
    assert made.end_bytes == 3_000_000
    assert made.kept_bytes == 11_000_000
    assert made.peak_bytes == 3_000_000 + 8_000_000 * 200 / 1_000
    assert made.usual_peak_bytes == 3_000_000 + 8_000_000 * 4 / 1_000


def test_jobs_by_hand() -> None:
    made = plan(CONFIG, hand_rates(), SIZE, ALLOCATION)
    # Two segments, eight rules by block, six by crawl.
    assert made.jobs == 2 + 8 * 10 + 6


def test_images_and_a_release_over_crawls_only_where_they_are_asked_for() -> None:
    rates = hand_rates()
    shares = {**rates.shares, "subset_high-resolution": rates.shares["similar"]}
    rates = rates.model_copy(update={"shares": shares})

    def planned(crawls: int, **release: object) -> dict[str, model.Line]:
        config = parse({"dataset": {"blocks": 10}, "release": release})
        size = Size(crawls, 2 * crawls, 200 * crawls, 100_000 * crawls)
        return {line.rule: line for line in plan(config, rates, size, ALLOCATION).lines}

    assert not {"release_images", "release_together"} & planned(1).keys()
    assert planned(3)["release_together"].jobs == 1
    assert planned(3)["release_together"].units == 60_000
    images = planned(3, laion400m_layout=True)["release_images"]
    assert (images.jobs, images.units) == (30, 60_000)
    high = {"name": "high-resolution", "where": "WIDTH >= 1024 AND HEIGHT >= 1024", "images": True}
    # A quarter of 20,000 pairs, as the rates know of the shipped subset and of no other.
    assert planned(1, subsets=[high])["release_images"].units == 5_000
    mine = {**high, "where": "WIDTH >= 512"}
    assert planned(1, subsets=[mine])["release_images"].units == 20_000
    assert planned(1, subsets=[high], laion400m_layout=True)["release_images"].units == 25_000


def test_a_subset_of_unknown_share_is_noted() -> None:
    mine = {"name": "mine", "where": "true", "images": True}
    notes = plan(parse({"release": {"subsets": [mine]}}), hand_rates(), SIZE, ALLOCATION).notes
    assert any("subset mine" in note for note in notes)


@pytest.mark.parametrize(
    ("key", "size"),
    [
        ("OPQ128_896,IVF131072_HNSW32,PQ128x8", 136),
        ("IVF32,SQfp16", 1544),
        ("IVF32,Flat", 3080),
    ],
)
def test_bytes_of_a_vector(key: str, size: int) -> None:
    assert model.vector_bytes(key, 768) == size


def test_an_unknown_index_key_is_named() -> None:
    with pytest.raises(UsageError, match="HNSW32"):
        model.vector_bytes("HNSW32", 768)


def test_a_job_over_its_limit_is_noted() -> None:
    one = parse({"dataset": {"blocks": 1}})
    huge = Size(crawls=1, segments=2, wats=2e6, candidates=1e9)
    notes = plan(one, hand_rates(), huge, ALLOCATION).notes
    assert any("download takes" in note and "dataset.blocks" in note for note in notes)
    assert not plan(CONFIG, hand_rates(), SIZE, ALLOCATION).notes


@given(st.integers(1, 5), st.floats(0.01, 0.8))
def test_hours_do_not_depend_on_how_it_is_cut(crawls: int, part: float) -> None:
    """What is counted per unit stays flat: twice the crawls cost twice as much."""
    rates = hand_rates()
    one = plan(CONFIG, rates, Size(1, 2, 200, 200_000 * part), ALLOCATION)
    many = plan(
        CONFIG, rates, Size(crawls, 2 * crawls, 200 * crawls, 200_000 * part * crawls), ALLOCATION
    )
    of_each = [line for line in many.lines if line.rule != "release_together"]
    for single, several in zip(one.lines, of_each, strict=True):
        assert several.core_hours == pytest.approx(single.core_hours * crawls)
        assert several.gpu_hours == pytest.approx(single.gpu_hours * crawls)
    assert many.kept_bytes == pytest.approx(one.kept_bytes * crawls)


@given(st.integers(1, 40), st.integers(1, 128), st.integers(1, 40), st.integers(1, 8))
def test_more_nodes_never_take_longer(cpu: int, cores: int, gpu: int, gpus: int) -> None:
    small = Allocation(cpu, cores, gpu, gpus)
    large = Allocation(cpu + 1, cores, gpu + 1, gpus)
    size = size_of(load(), crawls=1, segments=100, wats=90_000)
    pairs = zip(
        plan(Config(), load(), size, small).lines,
        plan(Config(), load(), size, large).lines,
        strict=True,
    )
    assert all(b.wall_hours <= a.wall_hours for a, b in pairs)


def test_cores_and_gpus_are_those_of_rules_and_profile() -> None:
    profile = yaml.safe_load((ROOT / "profiles/slurm/config.v8+.yaml").read_text())
    text = "\n".join(path.read_text() for path in sorted((ROOT / "rules").glob("*.smk")))
    for rule in jobs.RULES:
        written = text.split(f"rule {rule.like or rule.name}:\n")[1]
        threads = re.search(r"threads: (\d+)", re.split(r"^rule ", written, flags=re.MULTILINE)[0])
        assert threads, rule.name
        site = profile["set-resources"].get(rule.name, {})
        ranks = site.get("tasks") or site.get("tasks_per_node") or 1
        cores = profile["set-threads"].get(rule.name, int(threads[1])) * ranks
        gpus = int(site["gres"].rsplit(":", 1)[1]) if "gres" in site else 0
        assert (cores, gpus) == (rule.threads, rule.gpus), rule.name


def test_the_profile_bounds_the_candidates_on_disk() -> None:
    profile = yaml.safe_load((ROOT / "profiles/slurm/config.v8+.yaml").read_text())
    assert profile["jobs"] == model.BLOCKS_AT_ONCE
    text = "\n".join(path.read_text() for path in sorted((ROOT / "rules").glob("*.smk")))
    # No other rule goes before `filter` when a job has ended and there is room for one.
    (filtering,) = re.findall(r"^    priority: \d+$", text, re.MULTILINE)
    assert filtering in text.split("rule filter:\n")[1].split("\nrule ")[0]


def test_a_whole_crawl_of_today_meets_no_time_limit() -> None:
    size = size_of(load(), crawls=1, segments=100, wats=90_000)
    assert size.candidates > 30e9
    heads = ["package:demo/models/heads/punsafe", "package:demo/models/heads/pwatermark"]
    made = plan(parse({"tag": {"heads": heads}}), load(), size, Allocation(), image_heads=1)
    assert not [note for note in made.notes if "time limit" in note]


def test_every_rule_of_the_workflow_has_its_rates() -> None:
    assert set(load().rules) == {rule.name for rule in jobs.RULES if not rule.like}


def test_the_index_of_the_texts_costs_what_that_of_the_images_costs() -> None:
    config = parse({"dataset": {"blocks": 10}, "index": {"text": True}})
    found = lines(config)
    for rule in jobs.RULES:
        if rule.like:
            mine, other = found[rule.name], found[rule.like]
            assert replace(mine, rule=other.rule) == other
    assert not {rule.name for rule in jobs.RULES if rule.like} & lines().keys()
