"""The simulation: what must hold whatever the numbers are."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.simulation import Outcome, World, simulate
from laion_hpc.config import parse
from laion_hpc.run import jobs
from laion_hpc.run.plan.model import Allocation, Size, plan
from laion_hpc.run.plan.rates import load

RATES = load()
SIZE = Size(crawls=1, segments=10, wats=1_000, candidates=5e7)
SMALL = Allocation(cpu_nodes=3, cores=16, gpu_nodes=2, gpus=4, gbit=10)
SMOOTH = World(0.0, 0.0, notice_seconds=0.0, submit_seconds=0.0, spread=0.0)
"""Nothing goes wrong and nothing takes its time."""


def go(world: World, blocks: int = 20, seed: int = 0, size: Size = SIZE) -> Outcome:
    return simulate(parse({"dataset": {"blocks": blocks}}), RATES, size, SMALL, world, seed)


def test_images_are_cut_before_the_release_is_described() -> None:
    layout = {"dataset": {"blocks": 20}, "release": {"laion400m_layout": True}}
    outcome = simulate(parse(layout), RATES, SIZE, SMALL, SMOOTH)
    assert outcome.jobs == go(SMOOTH).jobs + 20
    assert outcome.useful_core_hours > go(SMOOTH).useful_core_hours


def test_without_failures_nothing_is_lost() -> None:
    outcome = go(World(0.0, 0.0))
    assert outcome.lost_core_hours == pytest.approx(0, abs=1e-9)
    assert outcome.lost_gpu_hours == pytest.approx(0, abs=1e-9)
    assert outcome.failures == outcome.killed_by_nodes == outcome.over_time == 0


@given(st.integers(0, 5), st.floats(0, 0.3), st.floats(0, 50), st.integers(1, 40))
@settings(max_examples=25)
def test_the_same_seed_gives_the_same_run_and_all_work_is_done(
    seed: int, failures: float, deaths: float, blocks: int
) -> None:
    world = World(failures, deaths)
    outcome = go(world, blocks, seed)
    assert outcome == go(world, blocks, seed)
    # Whatever goes wrong, the useful work is the same work, within the spread drawn for it.
    ideal = go(World(0.0, 0.0), blocks, seed)
    assert outcome.useful_core_hours == pytest.approx(ideal.useful_core_hours)
    assert outcome.useful_gpu_hours == pytest.approx(ideal.useful_gpu_hours)
    assert outcome.jobs == ideal.jobs
    assert outcome.lost_core_hours >= 0


@given(st.integers(1, 60))
@settings(max_examples=15)
def test_a_smooth_run_lies_between_the_longest_stage_and_the_plans_sum(blocks: int) -> None:
    config = parse({"dataset": {"blocks": blocks}})
    planned = plan(config, RATES, SIZE, SMALL)
    outcome = go(SMOOTH, blocks)
    hours = [line.wall_hours for line in planned.lines]
    busy = sum(line.gpu_hours for line in planned.lines) / 8
    assert outcome.wall_hours >= busy * 0.999
    assert outcome.wall_hours >= hours[0] * 0.999
    # Rules overlap, but two of them may also share nodes badly: half as much again at most.
    assert outcome.wall_hours <= sum(hours) * 1.5


def test_a_failure_costs_a_shard_with_resuming_and_a_job_without() -> None:
    world = World(job_failures=0.3, node_deaths_per_day=0.0, spread=0.0)
    with_shards = [go(world, blocks=2, seed=seed) for seed in range(20)]
    alone = [go(replace(world, resume=False), blocks=2, seed=seed) for seed in range(20)]
    assert sum(o.failures for o in with_shards) > 0
    assert sum(o.lost_core_hours for o in with_shards) < 0.5 * sum(o.lost_core_hours for o in alone)


def test_nodes_that_die_kill_jobs_and_the_run_ends_all_the_same() -> None:
    outcome = go(World(job_failures=0.0, node_deaths_per_day=100.0))
    assert outcome.killed_by_nodes > 0
    assert outcome.lost_core_hours > 0


def test_a_job_over_its_limit_goes_on_with_more_time() -> None:
    # One block of 50 million candidates: 5.4 ms each on 8 cores are 9.4 h; 10 times that is over.
    huge = replace(SIZE, wats=10_000, candidates=5e8)
    outcome = go(SMOOTH, blocks=1, size=huge)
    assert outcome.over_time > 0
    assert outcome.useful_core_hours > 0


def test_several_crawls_are_several_runs() -> None:
    with pytest.raises(ValueError, match="one crawl"):
        go(SMOOTH, size=replace(SIZE, crawls=2))


def test_a_world_where_every_job_fails_is_refused() -> None:
    with pytest.raises(ValueError, match="job_failures"):
        World(job_failures=1.0)


def test_every_rule_comes_after_what_it_waits_for() -> None:
    names = [rule.name for rule in jobs.RULES]
    for place, rule in enumerate(jobs.RULES):
        assert set(rule.needs) <= set(names[:place]), rule.name
