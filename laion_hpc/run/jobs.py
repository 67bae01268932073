"""The table of jobs: what the tools over a run know of the workflow, rule by rule.

Status, audit, report, plan and simulation read it. The Snakefile decides all paths and says them
itself; tests/run/test_jobs.py compares this table with what Snakemake parsed from it, so that a
rule, a path or an arrow that is missing on either side fails the tests.

Paths are relative to the folder of a crawl; those of the rules of `dataset` units to the folder of
results. `{unit}` is a segment or a block.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from laion_hpc.config import Config

Wanted = Callable[[Config, int], bool]
"""Whether a config with this number of crawls has a rule's jobs."""


def always(_config: Config, _crawls: int) -> bool:
    """Every config has these jobs."""
    return True


def _with_texts(config: Config, _crawls: int) -> bool:
    return config.index.text


def _with_images(config: Config, _crawls: int) -> bool:
    return config.release.has_images


def _of_several_crawls(_config: Config, crawls: int) -> bool:
    return crawls > 1


@dataclass(frozen=True)
class Rule:
    """A rule of the workflow that runs jobs."""

    name: str
    stage: str
    unit: str
    """What one job makes: a `segment`, a `block`, a `crawl` or the `dataset` (all crawls)."""
    needs: tuple[str, ...]
    """Rules whose outputs are its inputs: those of its unit, or all of a finer unit."""
    outputs: tuple[str, ...]
    """All files that it declares; the last one is there when the job is done."""
    log: str
    amount: str
    """What the work of all its jobs grows with, as `plan` counts it."""
    threads: int
    """Cores of one job: as in rules/ and profiles/slurm."""
    minutes: int
    """Time limit of the first attempt: as in rules/."""
    gpus: int = 0
    """GPUs of one job: as in profiles/slurm. 0: it runs on CPU nodes."""
    ledger: str = ""
    """Its ledger; empty: it writes none."""
    reads: tuple[str, ...] = ()
    """Stages whose kept samples, unit by unit, are the inputs of its ledgers."""
    sums: str = ""
    """The rule over whose ledgers its own is the sum."""
    row: str = ""
    """The row of `status` that its jobs are shown in."""
    counts: bool = False
    """Its units are the units of the stage, and its ledgers the stage's."""
    like: str = ""
    """The rule that it costs as much as; empty: itself."""
    wanted: Wanted = always

    @property
    def done(self) -> str:
        """The file whose presence says that a job is done."""
        return self.outputs[-1]

    @property
    def benchmark(self) -> str:
        """Snakemake's measurements of a job."""
        return self.log.replace("logs/", "benchmarks/", 1).removesuffix(".log") + ".tsv"

    def waits_for_all(self, other: Rule) -> bool:
        """Whether a job waits for all jobs of `other`, not only for that of its own unit."""
        return other.unit != self.unit


def _texts(rule: Rule) -> Rule:
    """The rule of the index of the texts: that of the images, in a folder inside its folder."""

    def moved(path: str) -> str:
        return path.replace("index/", "index/text/", 1).replace("/image.", "/text.")

    return replace(
        rule,
        name=_text_name(rule.name),
        needs=tuple(_text_name(need) for need in rule.needs),
        outputs=tuple(map(moved, rule.outputs)),
        log=rule.log.replace("logs/index/", "logs/index/text-"),
        ledger=moved(rule.ledger),
        sums=_text_name(rule.sums),
        row=rule.row.replace("index", "index of texts", 1),
        counts=False,
        like=rule.name,
        wanted=_with_texts,
    )


def _text_name(rule: str) -> str:
    if rule == SETTINGS.name:
        return rule  # both indices are trained for the same settings
    return rule.replace("index_", "index_text_", 1)


SETTINGS = Rule(
    "index_settings", "index", "crawl", (), ("index/settings.txt",), "logs/index/settings.log",
    "crawls", 1, 10, row="index, whole",
)  # fmt: skip
"""What the training of the index depends on; a local rule."""

_INDEX = (
    Rule(
        "index_train", "index", "crawl", ("index_settings", "embed"),
        ("index/trained.index", "index/trained.ledger.json"), "logs/index/train.log",
        "train_vectors", 8, 1440, gpus=1, ledger="index/trained.ledger.json", row="index, whole",
    ),
    Rule(
        "index_add", "index", "block", ("index_train", "embed"),
        ("index/blocks/{unit}.index", "index/blocks/{unit}.ledger.json"),
        "logs/index/add-{unit}.log", "pairs", 8, 240,
        ledger="index/blocks/{unit}.ledger.json", reads=("embed",), row="index", counts=True,
    ),
    Rule(
        "index_merge", "index", "crawl", ("index_train", "index_add"),
        (
            "index/image.index", "index/image.ivfdata", "index/image.places.npy",
            "index/index.json", "index/manifest.json",
        ),
        "logs/index/merge.log", "pairs", 4, 480, ledger="index/manifest.json", sums="index_add",
        row="index, whole",
    ),
    Rule(
        "index_evaluate", "index", "crawl", ("index_merge", "embed"), ("index/evaluation.json",),
        "logs/index/evaluate.log", "pairs", 8, 1440, row="index, whole",
    ),
)  # fmt: skip

RULES = (
    Rule(
        "extract", "extract", "segment", (),
        ("extract/{unit}.parquet", "extract/{unit}.ledger.json"), "logs/extract/{unit}.log",
        "wats", 16, 240, ledger="extract/{unit}.ledger.json", row="extract", counts=True,
    ),
    # It reads no stage block by block: every block holds a part of every segment.
    Rule(
        "shuffle", "shuffle", "block", ("extract",),
        ("shuffle/{unit}.parquet", "shuffle/{unit}.seen", "shuffle/{unit}.ledger.json"),
        "logs/shuffle/{unit}.log", "links", 2, 60, ledger="shuffle/{unit}.ledger.json",
        row="shuffle", counts=True,
    ),
    Rule(
        "download", "download", "block", ("shuffle",), ("download/{unit}/manifest.json",),
        "logs/download/{unit}.log", "candidates", 8, 1440,
        ledger="download/{unit}/manifest.json", reads=("shuffle",), row="download", counts=True,
    ),
    Rule(
        "filter", "filter", "block", ("download",), ("filter/{unit}/manifest.json",),
        "logs/filter/{unit}.log", "images", 8, 480, gpus=4,
        ledger="filter/{unit}/manifest.json", reads=("download",), row="filter", counts=True,
    ),
    Rule(
        "embed", "embed", "block", ("filter",), ("embed/{unit}/manifest.json",),
        "logs/embed/{unit}.log", "pairs", 32, 480, gpus=4,
        ledger="embed/{unit}/manifest.json", reads=("filter",), row="embed", counts=True,
    ),
    Rule(
        "tag", "tag", "block", ("embed", "filter"),
        ("tag/{unit}.parquet", "tag/{unit}.ledger.json"), "logs/tag/{unit}.log",
        "pairs", 4, 240, gpus=1, ledger="tag/{unit}.ledger.json", reads=("embed",), row="tag",
        counts=True,
    ),
    SETTINGS,
    *_INDEX,
    *map(_texts, _INDEX),
    Rule(
        "index_metadata", "index", "block", ("embed", "tag"), ("index/metadata/{unit}.arrow",),
        "logs/index/metadata-{unit}.log", "pairs", 2, 60,
        ledger="index/metadata/{unit}.ledger.json", reads=("embed", "tag"), row="index, whole",
    ),
    Rule(
        "release_block", "release", "block", ("embed", "tag"),
        ("release/blocks/{unit}.ledger.json",), "logs/release/{unit}.log", "pairs", 2, 120,
        ledger="release/blocks/{unit}.ledger.json", reads=("embed", "tag"), row="release",
        counts=True,
    ),
    Rule(
        "release_images", "release", "block", ("release_block", "filter", "embed"),
        ("release/image-blocks/{unit}.ledger.json",), "logs/release/images-{unit}.log",
        "released_images", 1, 240, ledger="release/image-blocks/{unit}.ledger.json",
        row="release of images", wanted=_with_images,
    ),
    Rule(
        "release_gather", "release", "crawl", ("release_block", "release_images"),
        (
            "release/statistics.json", "release/README.md", "release/croissant.json",
            "release/SHA256SUMS", "release/manifest.json",
        ),
        "logs/release/gather.log", "pairs", 4, 240, ledger="release/manifest.json",
        sums="release_block", row="release, whole",
    ),
    # It declares its figures as well, which the report names.
    Rule(
        "report_page", "report", "crawl", ("release_gather", "index_evaluate"), ("report.html",),
        "logs/report.log", "crawls", 1, 60, row="report",
    ),
    Rule(
        "release_together", "release", "dataset", ("release_gather",), ("release/manifest.json",),
        "logs/release.log", "pairs", 4, 240, wanted=_of_several_crawls,
    ),
)  # fmt: skip

BY_NAME = {rule.name: rule for rule in RULES}

STAGES = {rule.stage: rule for rule in RULES if rule.counts}
"""Of each stage that makes a part of the dataset the rule that counts its units, in order."""


def of_config(config: Config, crawls: int | None = None) -> tuple[Rule, ...]:
    """The rules that a config has jobs of; `crawls`: how many crawls, if not the config's."""
    number = len(config.crawls) if crawls is None else crawls
    return tuple(rule for rule in RULES if rule.wanted(config, number))


def lineage(name: str) -> tuple[str, ...]:
    """The stages whose config decides the outputs of a rule, in the order of the flow.

    They are its own stage and those of all rules that it needs, directly or not. For example
    `embed`: extract, shuffle, download, filter, embed.
    """
    found, left = set[str](), [name]
    while left:
        rule = BY_NAME[left.pop()]
        found.add(rule.stage)
        left += rule.needs
    return tuple(stage for stage in STAGES if stage in found)


def of_log(path: str) -> tuple[Rule, str] | None:
    """The rule and the unit (empty: of a whole crawl) of a log's path in the folder of a crawl."""
    for rule, pattern in _LOGS:
        if found := pattern.fullmatch(path):
            return rule, found.groupdict().get("unit", "")
    return None


_UNITS = {"segment": r"(?P<unit>[^/]+)", "block": r"(?P<unit>\d{4})"}
_LOGS = [
    (rule, re.compile(re.escape(rule.log).replace(r"\{unit\}", _UNITS.get(rule.unit, ""))))
    for rule in RULES
    if rule.unit != "dataset"
]
