"""One downloaded shard -> similarity, class and signatures of all its samples."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from laion_hpc.config.sections import FilterConfig
from laion_hpc.errors import InputError, LaionHpcError, UsageError
from laion_hpc.files import ledger
from laion_hpc.files.ledger import Ledger
from laion_hpc.files.schemas import LANGUAGE_CLASSES, SAMPLE, SCORED_SAMPLE
from laion_hpc.files.tables import read_parquet
from laion_hpc.models import Tower, load
from laion_hpc.models.batches import embed_images, embed_texts
from laion_hpc.models.once import once
from laion_hpc.models.shard_images import Images
from laion_hpc.models.store import fingerprint
from laion_hpc.stages.filter import images, outcomes, signatures
from laion_hpc.stages.filter.content import UNTAGGED, ContentFilter, load_prompts
from laion_hpc.stages.filter.signatures import Signatures

FOLDER = "scores"

HIDDEN = ("url", "caption", "final_url", "page_url", "title", "exif")
"""Columns left empty where a sample is dropped as unsafe_minor: nothing must lead back to it."""


@dataclass(frozen=True)
class ScoreJob:
    """What all shards of a block have in common."""

    source: Path
    """Folder of the downloaded block."""
    output: Path
    config: FilterConfig
    models: str
    """`models_digest` of the config."""
    may_score: bool = True
    """False: only stored scores may be used (`--rescore`)."""

    @property
    def kinds(self) -> tuple[str, ...]:
        """The signatures that are stored with the scores."""
        return signatures.kinds(self.config.duplicates)

    @property
    def scores(self) -> Path:
        """Folder of the scores."""
        return self.output / FOLDER


def models_digest(config: FilterConfig, config_file: str | None = None) -> str:
    """Digest of all that a score depends on besides the shard, without thresholds.

    It takes the content of the models' files, not their paths.
    """
    prompts = load_prompts(config.zero_shot)
    parts: dict[str, Any] = {
        "english": [config.english.library, fingerprint(config.english, config_file)],
        "multilingual": [
            config.multilingual.library,
            fingerprint(config.multilingual, config_file),
        ],
        "batch_size": config.batch_size,
        "precision": config.precision,
        "zero_shot": prompts.digest if prompts else "",
    }
    if config.decode != "full":
        parts["decode"] = config.decode
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def stored(shard: str, job: ScoreJob) -> Ledger | None:
    """The ledger of a shard's scores if they are from these models, with any thresholds.

    There may be more signatures than the config needs, but not fewer.
    """
    path = ledger_path(shard, job)
    try:
        found = ledger.read(path)
    except InputError:
        return None
    if not table_path(shard, job).exists():
        return None
    for kinds in signatures.supersets(job.kinds):
        source = source_of(shard, job, kinds)
        if found.source == source:
            return ledger.finished(path, config=found.config, source=source)
    return None


def ledger_path(shard: str, job: ScoreJob) -> Path:
    """The path of the ledger of a shard's scores."""
    return job.scores / f"{shard}.ledger.json"


def table_path(shard: str, job: ScoreJob) -> Path:
    """The path of a shard's scores."""
    return job.scores / f"{shard}.parquet"


def source_of(shard: str, job: ScoreJob, kinds: tuple[str, ...]) -> str:
    """Fingerprint of all inputs of a shard's scores and signatures."""
    # The tar alone: it holds all that is scored, with its metadata.
    return ledger.fingerprint(job.source / f"{shard}.tar", job.models, *kinds)


def make_scores(shard: str, job: ScoreJob) -> tuple[pa.Table, Signatures]:
    """New scores of a shard; outcomes are of STICKY or empty.

    InputError if scoring is not allowed, or the tar is damaged or differs from its parquet.
    """
    if not job.may_score:
        raise InputError(
            f"{table_path(shard, job)}: no stored scores of these models with the signatures that "
            "filter.duplicates needs; run without --rescore"
        )
    if images.removed(job.source, [shard]):
        raise images.missing(
            job.source, shard, "other models, prompts or kinds of duplicates need all images"
        )
    return _score(job.source / f"{shard}.tar", job.config, job.kinds)


@dataclass(frozen=True)
class _Towers:
    english: Tower
    multilingual: Tower
    content: ContentFilter | None


@once
def _towers(config: FilterConfig) -> _Towers:
    """The models of this process: loaded for its first shard, kept for the others."""
    english = load(config.english, device=config.device, precision=config.precision)
    multilingual = load(config.multilingual, device=config.device, precision=config.precision)
    if english.width != multilingual.width:
        raise UsageError(
            f"filter.multilingual: its embeddings have {multilingual.width} numbers, those of "
            f"filter.english {english.width}: it was not trained on that image space"
        )
    prompts = load_prompts(config.zero_shot)
    content = ContentFilter(prompts, english.embed_texts) if prompts else None
    return _Towers(english, multilingual, content)


def successes(path: Path) -> pa.Table:
    """The rows of a shard's parquet that have an image in its tar, in order."""
    table = read_parquet(path, "make this shard again", schema=SAMPLE)
    return table.filter(pc.equal(table["status"], "success"))


def _score(tar: Path, config: FilterConfig, kinds: tuple[str, ...]) -> tuple[pa.Table, Signatures]:
    """All samples of a shard with similarity, nsfw, and an outcome of STICKY or empty."""
    table = successes(tar.with_suffix(".parquet"))
    captions = [text or "" for text in table["caption"].to_pylist()]
    classes = table["language_class"].to_pylist()
    unknown = set(classes) - set(LANGUAGE_CLASSES)
    if unknown:
        raise InputError(f"{tar.with_suffix('.parquet')}: unknown language_class {unknown}")
    towers = _towers(config)
    try:
        found: Images[Signatures] = embed_images(
            tar,
            table["key"].to_pylist(),
            towers.english,
            config.batch_size,
            scaled=config.decode == "scaled",
            view=signatures.viewer(kinds),
        )
        rows = found.rows
        texts = _embed_texts(captions, classes, rows, towers, config.batch_size)
    except InputError:
        raise
    except LaionHpcError as error:
        raise type(error)(f"{tar}: {error}") from None
    similarity = np.full(table.num_rows, np.nan, np.float32)
    similarity[rows] = np.einsum("nd,nd->n", found.vectors, texts)
    nsfw = np.full(table.num_rows, UNTAGGED, dtype=object)
    fixed = np.full(table.num_rows, outcomes.UNDECODABLE, dtype=object)
    fixed[rows] = ""
    if towers.content and len(rows):
        nsfw[rows], drop = towers.content.judge(found.vectors, [captions[row] for row in rows])
        fixed[rows[drop]] = outcomes.UNSAFE_MINOR
    seen = signatures.spread(kinds, table.num_rows, rows, found.views, found.vectors)
    unsafe = fixed == outcomes.UNSAFE_MINOR
    for values in seen.values():
        values[unsafe] = 0
    hidden = pa.array(unsafe)
    columns = {name: table[name] for name in SAMPLE.names}
    for name in HIDDEN:
        columns[name] = pc.if_else(hidden, "", columns[name])
    columns |= {
        "similarity": pa.array(similarity, pa.float32()),
        "nsfw": pa.array(nsfw, pa.string()),
        "fate": pa.array(fixed, pa.string()),
    }
    scored = pa.table([columns[name] for name in SCORED_SAMPLE.names], schema=SCORED_SAMPLE)
    return scored, seen


def _embed_texts(
    captions: list[str], classes: list[str], wanted: NDArray[np.int64], towers: _Towers, size: int
) -> NDArray[np.float32]:
    """The texts of the rows `wanted` (n,) by the tower of their language class -> (n, width)."""
    english = np.array([classes[row] == "en" for row in wanted], bool)
    vectors = np.empty((len(wanted), towers.english.width), np.float32)
    for tower, mine in ((towers.english, english), (towers.multilingual, ~english)):
        vectors[mine] = embed_texts([captions[row] for row in wanted[mine]], tower, size)
    return vectors


def kept_rows(table: pa.Table) -> Any:
    """The rows of a scores table that are kept, in order."""
    return table.filter(pc.equal(table["fate"], outcomes.KEPT))
