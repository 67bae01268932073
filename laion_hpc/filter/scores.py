"""One downloaded shard -> the scores and fates of all its samples, in scores/SHARD.parquet."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from laion_hpc import ledger
from laion_hpc.atomic import atomic
from laion_hpc.config.sections import FilterConfig
from laion_hpc.errors import InputError, LaionHpcError, UsageError
from laion_hpc.filter import fates, images
from laion_hpc.filter.content import UNTAGGED, ContentFilter, load_prompts
from laion_hpc.ledger import Ledger
from laion_hpc.models import Tower, load
from laion_hpc.models.batches import embed_images, embed_texts
from laion_hpc.models.store import fingerprint
from laion_hpc.schemas import LANGUAGE_CLASSES, SAMPLE, SCORED_SAMPLE

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


def models_digest(config: FilterConfig, config_file: str | None = None) -> str:
    """Digest of all that a score depends on besides the shard; no threshold is in it.

    Models count by the content of their files, not by where these lie.
    """
    prompts = load_prompts(config.zero_shot)
    parts = {
        "english": [config.english.library, fingerprint(config.english, config_file)],
        "multilingual": [
            config.multilingual.library,
            fingerprint(config.multilingual, config_file),
        ],
        "batch_size": config.batch_size,
        "precision": config.precision,
        "zero_shot": prompts.digest if prompts else "",
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def stored(shard: str, job: ScoreJob) -> Ledger | None:
    """The ledger of a shard's scores if they are from these models, whatever the thresholds."""
    path = ledger_path(shard, job)
    try:
        found = ledger.read(path)
    except InputError:
        return None
    return ledger.finished(path, config=found.config, source=_source(shard, job))


def score_shard(shard: str, *, job: ScoreJob) -> Ledger:
    """Score one shard, or cut it anew from its stored scores; returns its ledger.

    InputError if the tar is damaged or does not agree with its parquet.
    """
    path = ledger_path(shard, job)
    config = _thresholds_digest(job.config)
    source = _source(shard, job)
    before = stored(shard, job)
    if before and before.config == config:
        return before
    table_path = path.with_name(f"{shard}.parquet")
    if before:
        table = pq.read_table(table_path, schema=SCORED_SAMPLE)
    elif not job.may_score:
        raise InputError(
            f"{table_path}: no scores of these models are stored; run without --rescore"
        )
    elif images.removed(job.source, [shard]):
        raise images.missing(job.source, shard, "other models or prompts must see all images")
    else:
        table = _score(job.source / f"{shard}.tar", job.config)
    classes = table["language_class"].to_pylist()
    outcome = fates.fates(
        table["similarity"].to_numpy(), classes, table["fate"].to_pylist(), job.config.thresholds
    )
    position = SCORED_SAMPLE.get_field_index("fate")
    table = table.set_column(position, SCORED_SAMPLE.field("fate"), pa.array(outcome, pa.string()))
    with atomic(table_path) as aside:
        pq.write_table(table, aside, compression="zstd")
    reasons = Counter(outcome)
    kept = reasons.pop(fates.KEPT, 0)
    done = Ledger(
        stage="filter",
        unit="samples",
        inputs=table.num_rows,
        kept=kept,
        dropped=dict(reasons),
        config=config,
        source=source,
        counts=fates.counts(outcome, classes, table["nsfw"].to_pylist()),
        files=(ledger.describe(table_path, rows=table.num_rows),),
    )
    done.write(path)
    return done


def ledger_path(shard: str, job: ScoreJob) -> Path:
    """Where the ledger of a shard's scores lies."""
    return job.output / FOLDER / f"{shard}.ledger.json"


def _source(shard: str, job: ScoreJob) -> str:
    files = (job.source / f"{shard}.tar", job.source / f"{shard}.parquet")
    return ledger.fingerprint(*files, job.models)


def _thresholds_digest(config: FilterConfig) -> str:
    return hashlib.sha256(config.thresholds.model_dump_json().encode()).hexdigest()[:16]


@dataclass(frozen=True)
class _Towers:
    english: Tower
    multilingual: Tower
    content: ContentFilter | None


@lru_cache(maxsize=1)
def _towers(config: FilterConfig) -> _Towers:
    """The models of this process: loaded with its first shard, kept for the others."""
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
    try:
        table = pq.read_table(path, schema=SAMPLE)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; make this shard again") from None
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowKeyError) as error:
        raise InputError(f"{path}: not a table of samples ({error})") from None
    return table.filter(pc.equal(table["status"], "success"))


def _score(tar: Path, config: FilterConfig) -> pa.Table:
    """All samples of a shard with similarity, nsfw, and a fate of STICKY or empty."""
    table = successes(tar.with_suffix(".parquet"))
    captions = [text or "" for text in table["caption"].to_pylist()]
    classes = table["language_class"].to_pylist()
    unknown = set(classes) - set(LANGUAGE_CLASSES)
    if unknown:
        raise InputError(f"{tar.with_suffix('.parquet')}: unknown language_class {unknown}")
    towers = _towers(config)
    try:
        rows, images = embed_images(
            tar, table["key"].to_pylist(), towers.english, config.batch_size
        )
        texts = _embed_texts(captions, classes, rows, towers, config.batch_size)
    except InputError:
        raise
    except LaionHpcError as error:
        raise type(error)(f"{tar}: {error}") from None
    similarity = np.full(table.num_rows, np.nan, np.float32)
    similarity[rows] = np.einsum("nd,nd->n", images, texts)
    nsfw = np.full(table.num_rows, UNTAGGED, dtype=object)
    fixed = np.full(table.num_rows, fates.UNDECODABLE, dtype=object)
    fixed[rows] = ""
    if towers.content and len(rows):
        nsfw[rows], drop = towers.content.judge(images, [captions[row] for row in rows])
        fixed[rows[drop]] = fates.UNSAFE_MINOR
    hidden = pa.array(fixed == fates.UNSAFE_MINOR)
    columns = {name: table[name] for name in SAMPLE.names}
    for name in HIDDEN:
        columns[name] = pc.if_else(hidden, "", columns[name])
    columns |= {
        "similarity": pa.array(similarity, pa.float32()),
        "nsfw": pa.array(nsfw, pa.string()),
        "fate": pa.array(fixed, pa.string()),
    }
    return pa.table([columns[name] for name in SCORED_SAMPLE.names], schema=SCORED_SAMPLE)


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
    return table.filter(pc.equal(table["fate"], fates.KEPT))
