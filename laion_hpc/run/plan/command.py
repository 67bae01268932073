"""What a dataset will cost: jobs, core-hours, GPU-hours, bytes, wall time, by rule.

  laion-hpc plan config/config.yaml
  laion-hpc plan config/config.yaml --allocation cpu_nodes=20,gpu_nodes=8,gbit=40
  laion-hpc plan config/config.yaml --crawls 10 --candidates 50e9
  laion-hpc plan config/config.yaml --json

The amounts come from the lock files of the config's crawls, or with --crawls N from N crawls
of Common Crawl's size. --candidates says how many links reach `download` after deduplication.
The rates come from laion_hpc/run/plan/rates.yaml. It tells for each rate whether it was measured.
To use your own, give --rates FILE.

An allocation is cpu_nodes (10), cores (48 a CPU node), gpu_nodes (8), gpus (4 A100s a GPU node)
and gbit (10 Gbit/s to the internet, over all nodes).
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING

from laion_hpc.errors import UsageError
from laion_hpc.runtime import console

if TYPE_CHECKING:
    from laion_hpc.config import Config
    from laion_hpc.run.plan.model import Allocation, Plan, Size
    from laion_hpc.run.plan.rates import Rates


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line."""
    parser.add_argument("config", help="YAML file of the dataset")
    parser.add_argument(
        "--allocation",
        default="",
        metavar="NAME=N,…",
        help="nodes, cores, GPUs and network of the run",
    )
    parser.add_argument("--candidates", metavar="N", help="links after deduplication, such as 5e9")
    parser.add_argument(
        "--crawls", type=int, metavar="N", help="N whole crawls instead of the config's"
    )
    parser.add_argument("--rates", type=Path, metavar="FILE", help="your own rates")
    parser.add_argument("--json", action="store_true", help="print every number as JSON")


def run(options: argparse.Namespace) -> int:
    """Print the plan."""
    from laion_hpc.config import load
    from laion_hpc.run.plan import model, rates

    allocation = parse_allocation(options.allocation)
    config = load(options.config)
    known = rates.load(options.rates or rates.DEFAULT)
    size = _size(options, config, known)
    made = model.plan(config, known, size, allocation, image_heads(config))
    console.out(json.dumps(as_json(made), indent=1) if options.json else show(made))
    return 0


def _size(options: argparse.Namespace, config: Config, rates: Rates) -> Size:
    from laion_hpc.files.crawl_lock import read_lock
    from laion_hpc.run.plan import model

    if options.crawls is not None:
        if options.crawls < 1:
            raise UsageError("--crawls must be at least 1")
        crawls = options.crawls
        segments, wats = crawls * model.SEGMENTS_PER_CRAWL, crawls * model.WATS_PER_CRAWL
    else:
        locks = [read_lock(Path(config.crawl_folder) / f"{name}.json") for name in config.crawls]
        crawls = len(locks)
        segments = sum(len(lock.segments) for lock in locks)
        wats = sum(len(paths) for lock in locks for paths in lock.segments.values())
    candidates = None if options.candidates is None else parse_count(options.candidates)
    return model.size_of(rates, crawls=crawls, segments=segments, wats=wats, candidates=candidates)


def parse_count(text: str) -> float:
    """A number of things, such as 50e9 or 50_000; UsageError otherwise."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 1:
        raise UsageError(
            f"--candidates: not a number of links: {text!r}; write a number such as 50e9"
        )
    return value


def parse_allocation(text: str) -> Allocation:
    """`cpu_nodes=20,gbit=40` -> an allocation; UsageError names the invalid part."""
    from laion_hpc.run.plan.model import Allocation

    known = {entry.name: float if entry.name == "gbit" else int for entry in fields(Allocation)}
    given: dict[str, int | float] = {}
    for part in filter(None, text.replace(" ", "").split(",")):
        name, _, value = part.partition("=")
        if name not in known:
            raise UsageError(
                f"--allocation: unknown name {name!r}; valid names are {', '.join(known)}"
            )
        try:
            given[name] = known[name](value)
        except ValueError:
            raise UsageError(f"--allocation: {name}: not a number: {value!r}") from None
    return Allocation(**given)  # type: ignore[arg-type]


def image_heads(config: Config) -> int:
    """The number of the config's heads that read images.

    head.json tells. A head that is not there yet counts if it has the name of LAION's watermark
    head.
    """
    count = 0
    for head in config.tag.heads:
        if head.startswith("package:"):
            path = Path(__file__).parents[2] / head.removeprefix("package:") / "head.json"
        else:
            path = Path(head) / "head.json"
        if path.is_file():
            try:
                count += json.loads(path.read_bytes()).get("image") is not None
            except (ValueError, AttributeError) as error:
                raise UsageError(f"{path}: not the description of a head: {error}") from None
        else:
            count += Path(head).name == "pwatermark"
    return count


def as_json(plan: Plan) -> dict[str, object]:
    """Every number of a plan. The names tell the units."""
    return {**asdict(plan), "jobs": plan.jobs, "wall_hours": plan.wall_hours}


def show(plan: Plan) -> str:
    """The plan as text."""
    size = plan.size
    heads = ("rule", "jobs", "units", "", "core-h", "GPU-h", "network", "disk", "job", "wall")
    rows = [
        (
            line.rule,
            f"{line.jobs:,}",
            console.count(line.units),
            line.unit,
            hours_used(line.core_hours),
            hours_used(line.gpu_hours),
            console.size(line.network_bytes),
            console.size(line.disk_bytes + line.replaced_bytes),
            console.duration(line.job_hours),
            console.duration(line.wall_hours),
        )
        for line in plan.lines
    ]
    rows.append(
        (
            "total",
            f"{plan.jobs:,}",
            "",
            "",
            hours_used(sum(line.core_hours for line in plan.lines)),
            hours_used(sum(line.gpu_hours for line in plan.lines)),
            console.size(sum(line.network_bytes for line in plan.lines)),
            console.size(plan.kept_bytes),
            "",
            console.duration(plan.wall_hours),
        )
    )
    a = plan.allocation
    return "\n".join(
        [
            f"{size.crawls} crawl(s), {size.segments:,} segments, {size.wats:,.0f} WATs -> "
            f"{console.count(size.candidates)} candidates -> "
            f"{console.count(plan.amounts['images'])} images -> "
            f"{console.count(plan.amounts['pairs'])} pairs",
            f"on {a.cpu_nodes} CPU nodes of {a.cores} cores, {a.gpu_nodes} GPU nodes of "
            f"{a.gpus} A100s, {a.gbit:g} Gbit/s; index of a crawl: {plan.index_key}",
            "",
            *console.aligned([heads, *rows], left=(0, 3)),
            "",
            *_disk(plan),
            "wall: the sum if each rule waits for the one before; blocks overlap, a run takes less",
            *(f"note: {note}" for note in plan.notes),
            "sources of the rates, and which were not measured: laion_hpc/run/plan/rates.yaml",
        ]
    )


def _disk(plan: Plan) -> list[str]:
    """Space at the peak and at the end, for both values of `keep.candidate_images`."""
    sizes = (plan.kept_bytes, plan.peak_bytes, plan.usual_peak_bytes, plan.end_bytes)
    whole, most, usual, end = map(console.size, sizes)
    here = ("   <- this config", "") if plan.keeps else ("", "   <- this config")
    return [
        f"disk: keep.candidate_images true: {whole} at the peak and at the end{here[0]}",
        f"      false: at most {most} at the peak, {usual} if `filter` keeps up, "
        f"{end} at the end{here[1]}",
    ]


def hours_used(hours: float) -> str:
    """Hours of cores or GPUs; empty for none."""
    return "" if not hours else f"{hours:,.0f}" if hours >= 10 else f"{hours:,.2g}"
