"""The whole of a download: which shards are missing, who makes them, and the manifest."""

from __future__ import annotations

import math
import resource
from collections.abc import Iterable
from dataclasses import fields, replace
from functools import partial
from pathlib import Path

from laion_hpc import config as settings
from laion_hpc.config.sections import Config, DownloadConfig
from laion_hpc.errors import InputError
from laion_hpc.files import ledger, takedown_list
from laion_hpc.files.blocklist import read_digests
from laion_hpc.files.ledger import Ledger
from laion_hpc.runtime import console, work
from laion_hpc.stages.download import lane_counts
from laion_hpc.stages.download.formats import check_formats
from laion_hpc.stages.download.image import Rules
from laion_hpc.stages.download.inputs import Source
from laion_hpc.stages.download.lane import Download, Lane, run_lane, shard_source
from laion_hpc.stages.download.retry_failed import worth_it
from laion_hpc.stages.download.reuse import adopt
from laion_hpc.web.settings import Proxies, Settings, guard_for

MOST_SHARDS_PER_LANE = 16
DESCRIPTORS_BESIDES = 500
"""Files, pipes and idle connections that a lane needs besides those in use."""


def download(
    source: Source,
    output: Path,
    config: Config,
    *,
    processes: int = 1,
    retry_failed: bool = False,
) -> Ledger | None:
    """Make the shards of `source` that `output` does not hold yet, and its manifest.

    With `retry_failed` the samples of finished shards that may succeed now (`outcomes.may_heal`)
    are asked for again.

    Returns the manifest's ledger, or None in an MPI rank that only worked. Raises UsageError
    for what the config does not allow, InputError for an unreadable input.
    """
    job = plan_job(source, output, config)
    with work.team(processes) as team:
        if not team.leads:
            return None
        output.mkdir(parents=True, exist_ok=True)
        ready = _finished(job)
        missing = [shard for shard in range(len(source.sizes)) if shard not in ready]
        adopted = team.map(partial(adopt, job), missing, label=f"adopt {output.name}", quiet=True)
        ready |= {shard: book for shard, book in zip(missing, adopted, strict=True) if book}
        missing = [shard for shard in missing if shard not in ready]
        again = _worth_it(output, ready) if retry_failed else {}
        total = sum(source.sizes[shard] for shard in missing) + sum(again.values())
        missing = sorted({*missing, *again})
        manifest = output / ledger.MANIFEST
        if missing or not manifest.exists():
            manifest.unlink(missing_ok=True)
        lanes = cut_lanes(missing, size=team.size, processes=processes)
        lanes = [replace(lane, again=frozenset(again).intersection(lane.shards)) for lane in lanes]
        if missing:
            label = f"download {output.name}"
            with lane_counts.shown(job.progress, label, total):
                for made in team.map(partial(run_lane, job), lanes, label=label, quiet=True):
                    ready.update({_number(one): one for one in made})
        _remove_beyond(output, len(source.sizes))
        ledgers = [ready[shard] for shard in range(len(source.sizes))]
        return _write_manifest(job, ledgers)


def plan_job(source: Source, output: Path, config: Config) -> Download:
    """What the lanes need to know, checked. UsageError names the config's key at fault."""
    options = config.download
    guard = guard_for(options.user_agent, options.allow_networks, options.proxy)
    Proxies(options.proxy, guard)
    check_formats(options.formats)
    settings = Settings(
        user_agent=options.user_agent,
        guard=guard,
        proxy=options.proxy,
        deadline_seconds=options.deadline_seconds,
        retries=options.retries,
        max_redirects=options.max_redirects,
        max_bytes=options.max_bytes,
        # So many times max_bytes, and 1 MB for each of the others, is what bodies can take.
        large_bodies=max(1, min(32, 200_000_000 // options.max_bytes)),
        connections_per_host=options.connections_per_host,
        host_interval_seconds=options.host_interval_seconds,
        respect_opt_out=options.respect_opt_out,
        respect_robots_txt=options.respect_robots_txt,
    )
    blocked = read_digests(
        options.hash_blocklist, "download.hash_blocklist", {32: "MD5", 64: "SHA-256"}
    )
    perceptual = _read_perceptual(options.perceptual_blocklist)
    cut = repr((source.keyed, source.url_column, source.text_column, source.sizes))
    return Download(
        source=source,
        output=output,
        settings=settings,
        rules=_rules(options),
        min_bytes=options.min_bytes,
        blocked=blocked,
        taken_down=takedown_list.of(config).images,
        connections=_possible_connections(options.connections),
        decode_seconds=options.decode_seconds,
        config=_digest(source, config, (*sorted(blocked), *perceptual)),
        fingerprint=ledger.fingerprint(source.path, cut),
        progress=output / lane_counts.NAME,
    )


def _digest(source: Source, config: Config, blocked: tuple[str, ...]) -> str:
    """Of all that decides what is made of an image: the config, the blocklists' content (their
    names in the config do not) and, if boxes are blurred, the file that holds the boxes.
    """
    digest = settings.digest(config, "download")
    if source.boxes_column:
        blocked = (*blocked, source.boxes_column, ledger.fingerprint(source.path))
    return ledger.fingerprint(digest, *blocked) if blocked else digest


def cut_lanes(shards: list[int], *, size: int, processes: int) -> list[Lane]:
    """Share shards out to `size` workers; neighbours go to different lanes, to end together.

    One worker gets all in one lane. Several get a lane each, or more lanes where these would be
    longer than 16 shards: short enough to keep all busy to the end, long enough for shards to
    overlap. Where there are fewer shards than `processes`, the lanes get more decoders instead.
    """
    if not shards:
        return []
    lanes = 1
    if size > 1:
        lanes = max(min(size, len(shards)), math.ceil(len(shards) / MOST_SHARDS_PER_LANE))
    decoders = max(1, math.ceil(processes / lanes))
    return [Lane(number, tuple(shards[number::lanes]), decoders) for number in range(lanes)]


def _finished(job: Download) -> dict[int, Ledger]:
    found = {}
    for shard in range(len(job.source.sizes)):
        path = job.output / f"{shard:05d}.ledger.json"
        source = shard_source(job.fingerprint, shard)
        entry = ledger.finished(path, config=job.config, source=source)
        if entry is not None:
            found[shard] = entry
    return found


def _worth_it(output: Path, ready: dict[int, Ledger]) -> dict[int, int]:
    """Finished shards with samples that may heal, and how many those are."""
    found = {shard: worth_it(output, entry) for shard, entry in ready.items()}
    return {shard: number for shard, number in found.items() if number}


def _number(entry: Ledger) -> int:
    return int(entry.files[0].name.partition(".")[0])


def _remove_beyond(output: Path, shards: int) -> None:
    """Shards of an earlier, longer input would be taken for part of this one."""
    for path in output.glob("*.ledger.json"):
        name = path.name.partition(".")[0]
        if not (len(name) >= 5 and name.isdigit()) or int(name) < shards:
            continue
        try:
            ours = ledger.read(path).stage == "download"
        except InputError:
            continue
        if ours:
            path.unlink()
            for end in (".tar", ".parquet", "_stats.json"):
                (output / f"{name}{end}").unlink(missing_ok=True)


def _write_manifest(job: Download, ledgers: Iterable[Ledger]) -> Ledger:
    parts = list(ledgers)
    whole = ledger.total(
        parts,
        stage="download",
        unit="samples",
        config=job.config,
        source=job.fingerprint,
        files=tuple(file for part in parts for file in part.files),
    )
    path = job.output / ledger.MANIFEST
    if ledger.finished(path, config=job.config, source=job.fingerprint) != whole:
        whole.write(path)
    return whole


def _rules(options: DownloadConfig) -> Rules:
    return Rules(**{field.name: getattr(options, field.name) for field in fields(Rules)})


def _read_perceptual(name: str) -> tuple[str, ...]:
    if not name:
        return ()
    from laion_hpc.stages.download import perceptual

    return perceptual.read(name)


def _possible_connections(wanted: int) -> int:
    """As many connections as open files allow; the soft limit is raised as far as it goes."""
    needed = wanted + DESCRIPTORS_BESIDES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft < needed:
        possible = max(1, soft - DESCRIPTORS_BESIDES)
        console.say(
            f"download: only {soft} files may be open at once (ulimit -n): "
            f"{possible} connections instead of {wanted}"
        )
        return possible
    return wanted
