"""Wall time and lost hours of one crawl by the number of blocks, with failures.

python benchmarks/simulate.py                       # the table of docs/scaling.md
python benchmarks/simulate.py --blocks 50 500 --seeds 10
"""

from __future__ import annotations

import argparse
import statistics
from dataclasses import replace

from simulation import Outcome, World, simulate

from laion_hpc.config import parse
from laion_hpc.run.plan import rates
from laion_hpc.run.plan.command import image_heads, parse_allocation, parse_count
from laion_hpc.run.plan.model import SEGMENTS_PER_CRAWL, WATS_PER_CRAWL, size_of


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--blocks", type=int, nargs="+", default=[50, 100, 200, 500, 1000, 2000])
    parser.add_argument("--seeds", type=int, default=5, help="runs per row, averaged")
    parser.add_argument("--candidates", type=parse_count, default=5e9)
    parser.add_argument("--allocation", default="gbit=100", help="as for laion-hpc plan (gbit=100)")
    parser.add_argument(
        "--failures", type=float, default=World.job_failures, help="share of attempts that fail"
    )
    options = parser.parse_args()
    known, allocation = rates.load(), parse_allocation(options.allocation)
    size = size_of(
        known,
        crawls=1,
        segments=SEGMENTS_PER_CRAWL,
        wats=WATS_PER_CRAWL,
        candidates=options.candidates,
    )
    world = World(job_failures=options.failures)
    print(
        "blocks   jobs   wall  ideal  failed  killed  late  stuck  lost core-h  lost GPU-h  start"
    )
    for blocks in options.blocks:
        config = parse({"dataset": {"blocks": blocks}})
        heads = image_heads(config)
        worlds = (world, replace(world, job_failures=0.0, node_deaths_per_day=0.0))
        with_failures, without = (
            [
                simulate(config, known, size, allocation, one, seed, heads)
                for seed in range(options.seeds)
            ]
            for one in worlds
        )
        print(_row(blocks, with_failures, without))
        alone = replace(world, resume=False)
        lost = [
            simulate(config, known, size, allocation, alone, seed, heads)
            for seed in range(options.seeds)
        ]
        print(f"{'':>13} {'  without resuming by shard:':<40}{_lost(lost)}")
    print(
        "wall, ideal (nothing fails): hours. late: attempts over their time limit. stuck: jobs with"
        "\na fourth attempt. lost, start: share of the useful hours; start is that of the GPU jobs."
    )


def _mean(outcomes: list[Outcome], name: str) -> float:
    return statistics.fmean(getattr(outcome, name) for outcome in outcomes)


def _lost(outcomes: list[Outcome]) -> str:
    core = _mean(outcomes, "lost_core_hours") / _mean(outcomes, "useful_core_hours")
    gpu = _mean(outcomes, "lost_gpu_hours") / _mean(outcomes, "useful_gpu_hours")
    return f"{core:>12.2%}{gpu:>12.2%}"


def _row(blocks: int, runs: list[Outcome], ideal: list[Outcome]) -> str:
    start = _mean(runs, "start_gpu_hours") / _mean(runs, "useful_gpu_hours")
    return (
        f"{blocks:>6} {runs[0].jobs:>6} {_mean(runs, 'wall_hours'):>6.1f} "
        f"{_mean(ideal, 'wall_hours'):>6.1f} {_mean(runs, 'failures'):>7.1f} "
        f"{_mean(runs, 'killed_by_nodes'):>7.1f} {_mean(runs, 'over_time'):>5.1f} "
        f"{_mean(runs, 'out_of_retries'):>6.1f}{_lost(runs)}{start:>7.2%}"
    )


if __name__ == "__main__":
    main()
