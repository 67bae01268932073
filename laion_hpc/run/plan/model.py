"""The arithmetic of a plan: amounts, then what each rule costs. No I/O."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from laion_hpc.config import Config
from laion_hpc.config.sections import ReleaseConfig
from laion_hpc.errors import UsageError
from laion_hpc.run import jobs
from laion_hpc.run.jobs import Rule
from laion_hpc.run.plan.rates import Rate, Rates, StageRates
from laion_hpc.stages.index.keys import ID_BYTES, cells_of, choose_key, train_count

WATS_PER_CRAWL = 90_000
SEGMENTS_PER_CRAWL = 100
"""Of Common Crawl's monthly crawls."""
WIDTH = 768
"""Length of a ViT-L/14 embedding."""
KMEANS_ITERATIONS = 10
"""faiss' default for the cells of an IVF index."""


BLOCKS_AT_ONCE = 200
"""Most blocks whose candidate images are on disk at once if they are deleted: `jobs` of
profiles/slurm. `filter` has priority (rules/filter.smk), so it takes the job slot that the block's
download leaves. Blocks that failed are not counted."""
SINGLE_CORE = frozenset(
    {"shuffle", "index_metadata", "index_merge", "release_images", "report_page"}
)
"""Rules that use one core, even if they ask for more."""


@dataclass(frozen=True)
class Size:
    """The size of the input."""

    crawls: int
    segments: int
    """Over all crawls."""
    wats: float
    candidates: float
    """Links after `shuffle`, in all crawls."""


@dataclass(frozen=True)
class Allocation:
    """The nodes and the network that jobs can use at the same time."""

    cpu_nodes: int = 10
    cores: int = 48
    """Of a CPU node."""
    gpu_nodes: int = 8
    gpus: int = 4
    """A100s of a GPU node."""
    gbit: float = 10.0
    """Gbit/s to the internet, over all nodes."""

    def __post_init__(self) -> None:
        if min(self.cpu_nodes, self.cores, self.gpu_nodes, self.gpus) < 1 or self.gbit <= 0:
            raise UsageError("--allocation: every number must be above zero")


@dataclass(frozen=True)
class Line:
    """The cost of one rule over the whole dataset."""

    rule: str
    stage: str
    jobs: int
    units: float
    unit: str
    core_hours: float
    gpu_hours: float
    network_bytes: float
    disk_bytes: float
    replaced_bytes: float
    job_hours: float
    """Wall time of one job; all jobs of a rule are taken as equal."""
    wall_hours: float
    """Wall time of all jobs in the allocation, if nothing else runs."""
    memory_mb: float | None = None
    """Peak of one job in small runs, not at this size; None: not measured."""


@dataclass(frozen=True)
class Plan:
    """The plan of a whole dataset."""

    size: Size
    amounts: Mapping[str, float]
    allocation: Allocation
    index_key: str
    """faiss factory key of one crawl's index."""
    lines: tuple[Line, ...]
    kept_bytes: float
    """On disk at the end if nothing is deleted: also the peak."""
    peak_bytes: float
    """Most bytes on disk if replaced files are deleted at once; see `BLOCKS_AT_ONCE`."""
    usual_peak_bytes: float
    """The same if `filter` keeps up with `download`."""
    end_bytes: float
    """On disk at the end if replaced files are deleted."""
    keeps: bool
    """Whether this config keeps it (`keep.candidate_images`)."""
    notes: tuple[str, ...] = field(default=())

    @property
    def jobs(self) -> int:
        """The number of all jobs."""
        return sum(line.jobs for line in self.lines)

    @property
    def wall_hours(self) -> float:
        """The sum if each rule waits for the one before. Blocks overlap, so a run takes less."""
        return sum(line.wall_hours for line in self.lines)


def size_of(
    rates: Rates,
    *,
    crawls: int,
    segments: int,
    wats: int,
    candidates: float | None = None,
) -> Size:
    """The size of the input; UsageError if there are more candidates than links."""
    links = wats * rates.shares["links_per_wat"].value
    if candidates is None:
        candidates = links * rates.shares["unique_links"].value
    elif candidates > links:
        raise UsageError(
            f"--candidates: {candidates:,.0f} candidates need more than the {wats:,} WATs of "
            f"{crawls} crawls, which hold {links:,.0f} links; plan more crawls with --crawls"
        )
    return Size(crawls, segments, float(wats), candidates)


def amounts_of(
    config: Config, rates: Rates, size: Size, image_heads: int
) -> tuple[dict[str, float], str]:
    """All amounts that a rate can be `per`, in all crawls; and the faiss key of a crawl's index."""
    images = size.candidates * rates.shares["downloaded"].value
    pairs = images * rates.shares["similar"].value
    of_one = max(1, round(pairs / size.crawls))
    key = config.index.key
    if key == "auto":
        key = choose_key(of_one, WIDTH, config.index.max_bytes)
    cells = cells_of(key) or 1
    trained = train_count(cells, config.index.train_vectors, of_one)
    train_flop = 2.0 * KMEANS_ITERATIONS * trained * cells * WIDTH
    # Each image query and each text query is compared with every image.
    exact_flop = 2.0 * 2 * config.index.evaluate_queries * of_one * WIDTH
    return {
        "crawls": size.crawls,
        "wats": size.wats,
        "links": size.wats * rates.shares["links_per_wat"].value,
        "candidates": size.candidates,
        "images": images,
        "pairs": pairs,
        "head_pairs": pairs * (len(config.tag.heads) - image_heads),
        "image_head_pairs": pairs * image_heads,
        "released_images": pairs * sum(released_shares(config, rates).values()),
        "train_vectors": float(trained * size.crawls),
        "train_gflop": train_flop * size.crawls / 1e9,
        "exact_gflop": exact_flop * size.crawls / 1e9,
        "index_bytes": pairs * vector_bytes(key, WIDTH),
    }, key


def released_shares(config: Config, rates: Rates) -> dict[str, float]:
    """The share of the pairs that is released with images, by the config key that asks for it.

    A shipped subset with its predicate unchanged has the share that LAION published. The share of
    any other subset is unknown before the run: it counts as all pairs.
    """
    shipped = ReleaseConfig().subsets
    found = {"laion400m_layout": 1.0} if config.release.laion400m_layout else {}
    for subset in config.release.subsets:
        if subset.images:
            same = any((one.name, one.where) == (subset.name, subset.where) for one in shipped)
            known = rates.shares.get(f"subset_{subset.name}") if same else None
            found[subset.name] = known.value if known else 1.0
    return found


def vector_bytes(key: str, width: int) -> int:
    """Bytes that a vector takes in an index with this faiss key: its code and its id."""
    last = key.rsplit(",", 1)[-1]
    if last.startswith("PQ") and last.endswith("x8"):
        return int(last[2:-2]) + ID_BYTES
    widths = {"SQfp16": 2 * width, "SQ8": width, "Flat": 4 * width}
    if last not in widths:
        raise UsageError(
            f"index.key: cannot tell the size of a vector in {key!r}; known are PQNx8, "
            + ", ".join(widths)
        )
    return widths[last] + ID_BYTES


def jobs_of(rule: Rule, size: Size, blocks: int) -> int:
    """The number of jobs of a rule."""
    if rule.unit == "segment":
        return size.segments
    if rule.unit == "dataset":
        return 1
    return size.crawls * (blocks if rule.unit == "block" else 1)


def plan(
    config: Config,
    rates: Rates,
    size: Size,
    allocation: Allocation,
    image_heads: int = 0,
) -> Plan:
    """The cost of the dataset in this allocation."""
    amounts, key = amounts_of(config, rates, size, image_heads)
    rules = jobs.of_config(config, size.crawls)
    lines = tuple(_line(rule, config, rates, size, amounts, allocation) for rule in rules)
    disk = sum(line.disk_bytes for line in lines)
    replaced = sum(line.replaced_bytes for line in lines)
    notes = []
    download = config.download
    if download.resize_mode == "no" or download.image_size != 256 or download.skip_reencode:
        notes.append(
            "bytes of images were measured at 256 pixels, re-encoded; this config stores others"
        )
    if config.embed.model.name not in ("ViT-L-14-quickgelu", "ViT-L-14"):
        notes.append(f"the rates of embed are ViT-L/14's, not {config.embed.model.name}'s")
    notes += [
        f"the images of the subset {name} are counted as if all pairs were in it: an upper bound"
        for name, share in released_shares(config, rates).items()
        if share == 1 and name != "laion400m_layout"
    ]
    for rule, line in zip(rules, lines, strict=True):
        if line.job_hours * 60 > rule.minutes:
            more_blocks = ", or dataset.blocks" if rule.unit == "block" else ""
            notes.append(
                f"a job of {rule.name} takes {line.job_hours:,.1f} h, more than its first time "
                f"limit of {rule.minutes / 60:g} h (rules/): raise it{more_blocks}"
            )
    blocks = config.dataset.blocks * size.crawls
    most = min(blocks, BLOCKS_AT_ONCE)
    # Blocks in `download`, and as many again in `filter` or waiting for it.
    usual = min(most, 2 * slots(jobs.BY_NAME["download"], allocation))
    return Plan(
        size,
        amounts,
        allocation,
        key,
        lines,
        kept_bytes=disk + replaced,
        peak_bytes=disk + replaced * most / blocks,
        usual_peak_bytes=disk + replaced * usual / blocks,
        end_bytes=disk,
        keeps=config.keep.candidate_images,
        notes=tuple(notes),
    )


def slots(rule: Rule, allocation: Allocation) -> int:
    """Jobs of a rule that run at once. Several share a node, or one takes several nodes."""
    if rule.gpus:
        nodes, of_node, wanted = allocation.gpu_nodes, allocation.gpus, rule.gpus
    else:
        nodes, of_node, wanted = allocation.cpu_nodes, allocation.cores, rule.threads
    return max(1, nodes * (of_node // wanted) if wanted <= of_node else nodes * of_node // wanted)


def cost_of(rule: Rule, rates: Rates) -> StageRates:
    """The rates of a rule; UsageError if there are none."""
    name = rule.like or rule.name
    if name not in rates.rules:
        raise UsageError(f"rates: nothing for the rule {name!r}")
    return rates.rules[name]


def job_seconds(rule: Rule, cost: StageRates, amounts: Mapping[str, float], count: int) -> float:
    """Wall seconds of one of `count` equal jobs, without waiting for the network.

    The cores and GPUs of a job work at the same time, so the slower of the two decides.
    """
    cores = 1.0 if (rule.like or rule.name) in SINGLE_CORE else float(rule.threads)
    if rule.unit == "segment":
        cores = min(cores, max(1.0, amounts["wats"] / count))  # a rank takes a WAT at a time
    cpu = total(cost.cpu_seconds, amounts) / count / cores
    return max(cpu, total(cost.gpu_seconds, amounts) / count / rule.gpus if rule.gpus else 0.0)


def _line(
    rule: Rule,
    config: Config,
    rates: Rates,
    size: Size,
    amounts: Mapping[str, float],
    allocation: Allocation,
) -> Line:
    count = jobs_of(rule, size, config.dataset.blocks)
    cost = cost_of(rule, rates)
    known = {**amounts, "jobs": float(count)}
    cpu, gpu = total(cost.cpu_seconds, known), total(cost.gpu_seconds, known)
    network = total(cost.network_bytes, known)
    seconds = job_seconds(rule, cost, known, count)
    waves = math.ceil(count / slots(rule, allocation))
    wall = max(waves * seconds, network * 8 / (allocation.gbit * 1e9))
    return Line(
        rule.name,
        rule.stage,
        count,
        amounts[rule.amount],
        rule.amount,
        cpu / 3600,
        gpu / 3600,
        network,
        total(cost.disk_bytes, known),
        total(cost.replaced_bytes, known),
        seconds / 3600,
        wall / 3600,
        cost.memory_mb.value if cost.memory_mb else None,
    )


def total(rates: Iterable[Rate], amounts: Mapping[str, float]) -> float:
    """The sum of rates × amounts; UsageError if the amount of a rate is unknown."""
    result = 0.0
    for rate in rates:
        if rate.per not in amounts:
            raise UsageError(f"rates: per: {rate.per!r} is not one of {', '.join(sorted(amounts))}")
        result += rate.value * amounts[rate.per]
    return result
