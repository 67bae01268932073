"""One downloaded block -> scores of all samples and shards of the kept ones."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

from laion_hpc.config import Config, digest
from laion_hpc.errors import InputError
from laion_hpc.files import ledger, removal
from laion_hpc.files.ledger import File, Ledger
from laion_hpc.files.shards import names_in
from laion_hpc.models import feeding, store
from laion_hpc.runtime.work import Team
from laion_hpc.stages.filter import images, repack, scores, taken_down, thresholds


def filter_block(
    source: Path,
    output: Path,
    config: Config,
    team: Team,
    *,
    config_file: str | None = None,
    rescore: bool = False,
) -> Ledger:
    """Filter the block in `source` into `output`; returns the manifest that it writes last.

    A shard with stored scores is not scored again, only cut at the thresholds. Duplicates are found
    among all shards of the block. With `rescore` nothing is scored. InputError if the input is
    damaged or a model is missing.
    """
    downloaded = ledger.read(source / ledger.MANIFEST)
    shards = names_in(downloaded)
    models = scores.models_digest(config.filter, config_file)
    score_job = scores.ScoreJob(source, output, config.filter, models, not rescore)
    manifest = output / ledger.MANIFEST
    manifest.unlink(missing_ok=True)  # its files are about to change
    if not rescore and any(scores.stored(shard, score_job) is None for shard in shards):
        towers = store.named(config)
        del towers["embed.model"]
        store.verify(towers, config_file)
    label = f"filter {output.name}"
    taken_down.shrink_scores(shards, score_job, downloaded)
    scored = feeding.map_shards(
        team,
        partial(thresholds.score_shard, job=score_job),
        shards,
        device=config.filter.device,
        label=f"{label}: score",
    )
    if score_job.kinds:
        scored = team.map(
            partial(thresholds.cut_shard, job=score_job),
            thresholds.find_duplicates(shards, score_job, team),
            label=f"{label}: cut",
            unit="shards",
        )
    places = taken_down.places(source, shards, downloaded, config)
    kept = [
        (shard, book.kept + len(places.get(shard, ())))
        for shard, book in zip(shards, scored, strict=True)
    ]
    total = ledger.total(scored, stage="filter", unit="samples")
    if total.inputs != downloaded.kept:
        raise InputError(
            f"{source / ledger.MANIFEST}: download kept {downloaded.kept} samples, but its shards "
            f"hold {total.inputs}; make them again"
        )
    planned = repack.plan(kept, config.dataset.samples_per_shard)
    repack_job = _with_images(
        planned,
        repack.RepackJob(source, output, digest(config, "filter"), places=places),
        shards,
    )
    pack = partial(repack.make_shard, job=repack_job)
    with feeding.without_models(team) as packers:
        repacked = packers.map(pack, planned, label=f"{label}: pack", unit="shards")
    _remove_others(output, {shard.name for shard in planned})
    _remove_others(output / scores.FOLDER, set(shards))
    done = replace(
        total,
        config=digest(config, "filter"),
        source=ledger.fingerprint(
            score_job.models,
            *score_job.kinds,
            *(source / f"{shard}.parquet" for shard in shards),
        ),
        files=tuple(_files(repacked, "")) + tuple(_files(scored, f"{scores.FOLDER}/")),
    )
    done.write(manifest)
    images.forget(output)
    return done


def remove_candidates(source: Path, output: Path) -> int:
    """Remove the downloaded tars of a block that is filtered into `output`; returns the bytes.

    First the files of filter's manifest are read and compared with it. InputError if they differ;
    then nothing is removed.
    """
    names = [f"{shard}.tar" for shard in names_in(ledger.read(source / ledger.MANIFEST))]
    if not any((source / name).exists() for name in names):
        return 0
    removal.verify(output / ledger.MANIFEST)
    return removal.remove(source, names)


def _with_images(
    planned: list[repack.OutputShard], job: repack.RepackJob, shards: list[str]
) -> repack.RepackJob:
    """The job with the tars to read instead of removed ones; InputError if some lack."""
    gone = set(images.removed(job.source, shards))
    todo = [shard for shard in planned if not repack.finished(shard, job)]
    if not any(span.shard in gone for shard in todo for span in shard.spans):
        return job
    kept = images.kept_before(job.output)
    for span in (span for shard in planned for span in shard.spans if span.shard in gone):
        if not images.suffice(kept, span.shard, repack.keys(span, job)):
            raise images.missing(
                job.source,
                span.shard,
                "the thresholds (or the duplicates) have changed and now keep images that were "
                "dropped when the tar was removed",
            )
    earlier = images.set_aside(job.output)
    return replace(
        job,
        images={
            shard: tuple(earlier / tar.name for tar, _ in kept[shard])
            for shard in gone & kept.keys()
        },
    )


def _files(books: Iterable[Ledger], prefix: str) -> Iterable[File]:
    for book in books:
        for file in book.files:
            yield replace(file, name=prefix + file.name)


def _remove_others(folder: Path, names: set[str]) -> None:
    """Remove other shards, from an earlier run with other inputs or thresholds."""
    for path in folder.glob("[0-9]*.*"):
        if path.is_file() and path.name.partition(".")[0] not in names:
            path.unlink()
