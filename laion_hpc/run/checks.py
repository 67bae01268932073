"""What can be known before anything runs: faults of a config, of its files, and of this machine.

`laion-hpc config check` shows all of them. The Snakefile refuses the first kind before it plans,
and the second before it starts a job, so that a dry run needs no models and no cluster.
"""

from __future__ import annotations

import os
import re
import shutil
import ssl
import subprocess
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import pyarrow as pa
import yaml

from laion_hpc.config import Config
from laion_hpc.config.sections import ModelConfig
from laion_hpc.errors import LaionHpcError, UsageError
from laion_hpc.files import takedown_list
from laion_hpc.files.blocklist import read_digests
from laion_hpc.files.crawl_lock import read_lock
from laion_hpc.files.schemas import TAGS
from laion_hpc.heads.head import DESCRIPTION, WEIGHTS, Description, describe
from laion_hpc.heads.published import missing_heads
from laion_hpc.heads.spaces import check_space, space_of
from laion_hpc.models import store
from laion_hpc.models.folders import resolve_folder
from laion_hpc.run import jobs, results

WATS_LOOKED_FOR = 1_000
"""Of a crawl's files: a busy parallel file system takes up to a millisecond for each."""

SINFO_SECONDS = 1.0
"""Longer than that nobody waits for SLURM's list of partitions: all checks take two seconds."""


_HOST = re.compile(r"[a-z0-9._-]+|\[[0-9a-f:.]+\]")
"""Without the patterns and lists that people try, such as *.example.org or a.org,b.org."""


def of_config(config: Config) -> list[str]:
    """Faults of a config and of the files that it names; each says the key and what to do."""
    checks = (_locks, _lists, _download, _models, _heads, _subsets, _index, _sizes)
    return _faults(config, checks)


def of_machine(
    config: Config,
    config_file: str = "FILE",
    *,
    stages: Collection[str] = tuple(jobs.STAGES),
    partitions: Iterable[str] = (),
) -> list[str]:
    """What a run of these stages would lack on this machine.

    `partitions`: those of SLURM that its jobs would ask for.
    """
    checks = (
        lambda config: _weights(config, config_file, stages),
        lambda config: _wats(config) if "extract" in stages else iter(()),
        _folders,
        lambda config: _contact(config) if "download" in stages else iter(()),
        lambda _: _environment(os.environ),
        lambda _: _partitions(set(partitions)),
    )
    return _faults(config, checks)


def require(faults: list[str]) -> None:
    """UsageError that lists them all, if there are any."""
    if faults:
        raise UsageError("\n".join(faults))


def partitions_of(profile: Path) -> set[str]:
    """The partitions that a profile of Snakemake names; UsageError if it is not one."""
    found = next(iter(sorted(profile.glob("config*.yaml"), reverse=True)), None)
    if found is None:
        raise UsageError(f"--profile {profile}: no config.v8+.yaml in it")
    try:
        data = yaml.safe_load(found.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise UsageError(f"{found}: not valid YAML: {error}") from None
    rules = [data.get("default-resources"), *(data.get("set-resources") or {}).values()]
    names = (resources.get("slurm_partition") for resources in rules if isinstance(resources, dict))
    return {str(name) for name in names if name}


def _faults(config: Config, checks: Iterable[Callable[[Config], Iterator[str]]]) -> list[str]:
    found: list[str] = []
    for check in checks:
        try:
            found += check(config)
        except LaionHpcError as error:
            found.append(str(error))
        except OSError as error:
            found.append(f"{error.filename}: {error.strerror}")
    return list(dict.fromkeys(found))


def _try(check: Callable[[], object]) -> Iterator[str]:
    """The message of a check that raises."""
    try:
        check()
    except LaionHpcError as error:
        yield str(error)
    except OSError as error:
        yield f"{error.filename}: {error.strerror}"


def _locks(config: Config) -> Iterator[str]:
    for crawl in config.crawls:
        for fault in _try(partial(read_lock, Path(config.crawl_folder) / f"{crawl}.json")):
            yield f"crawls: {fault}"


def _lists(config: Config) -> Iterator[str]:
    from laion_hpc.stages.filter.content import load_prompts

    hashes = {32: "MD5", 64: "SHA-256"}
    for key, path, kinds in (
        ("shuffle.blocked_url_hashes", config.shuffle.blocked_url_hashes, {64: "SHA-256"}),
        ("download.hash_blocklist", config.download.hash_blocklist, hashes),
        ("download.perceptual_blocklist", config.download.perceptual_blocklist, {64: "PDQ hash"}),
    ):
        yield from _try(partial(read_digests, path, key, kinds))
    for key, hosts in (
        ("extract.blocked_hosts", config.extract.blocked_hosts),
        ("shuffle.blocked_hosts", config.shuffle.blocked_hosts),
    ):
        yield from _hosts(key, hosts)
    yield from _try(partial(takedown_list.of, config))
    yield from _try(partial(load_prompts, config.filter.zero_shot))


def _hosts(key: str, hosts: Iterable[str]) -> Iterator[str]:
    from laion_hpc.web.url import UrlError, canonical_host

    for host in hosts:
        try:
            canonical = canonical_host(host)
        except UrlError:
            canonical = ""
        if not canonical or not _HOST.fullmatch(canonical):
            yield (
                f"{key}: {host!r} is not a host such as example.org, which includes its subdomains"
            )


def _download(config: Config) -> Iterator[str]:
    from laion_hpc.stages.download.formats import check_formats
    from laion_hpc.web.guard import networks
    from laion_hpc.web.settings import proxy_url

    download = config.download
    if download.proxy:
        yield from _try(partial(proxy_url, download.proxy, "download.proxy"))
    yield from _try(partial(check_formats, download.formats))
    yield from _try(partial(networks, download.allow_networks, key="download.allow_networks"))
    if download.perceptual_blocklist and find_spec("pdqhash") is None:
        yield ("download.perceptual_blocklist: needs pdqhash: pip install 'laion-hpc[perceptual]'")


def _models(config: Config) -> Iterator[str]:
    for key, part in (("filter", config.filter), ("embed", config.embed)):
        if part.device == "cpu" and part.precision == "fp16":
            yield f"{key}.precision: fp16 needs a GPU; with {key}.device: cpu use auto or fp32"
    for key, model in _towers(config).items():
        if key != "filter.multilingual" and model.library == "sentence_transformers":
            yield f"{key}: {model.name} embeds texts only; name an open_clip model"


def _towers(config: Config) -> dict[str, ModelConfig]:
    return {
        "filter.english": config.filter.english,
        "filter.multilingual": config.filter.multilingual,
        "embed.model": config.embed.model,
    }


def _described(config: Config) -> list[Description]:
    missing = set(missing_heads(config))
    return [describe(head) for head in config.tag.heads if head not in missing]


def _heads(config: Config) -> Iterator[str]:
    taken = {*TAGS.names, "nsfw"}
    space = config.tag.space or space_of(config.embed.model)
    for head in _described(config):
        if head.column in taken:
            yield f"tag.heads: two columns would be called {head.column}: {head.name}"
        taken.add(head.column)
        whose = "the embeddings (embed.model)"
        yield from _try(partial(check_space, head, space=space, width=None, whose=whose))


def _subsets(config: Config) -> Iterator[str]:
    from laion_hpc.stages.release.columns import wide_schema
    from laion_hpc.stages.release.predicates import faults
    from laion_hpc.stages.tag.shard import schema_of

    heads = {head.column: head for head in _described(config)}
    schema = schema_of(list(heads.values()))
    # The folder of a head that is not there yet has its column's name, as `models fetch` makes it.
    for head in missing_heads(config):
        if (name := Path(head).name) not in schema.names:
            schema = schema.append(pa.field(name, pa.float32()))
    yield from faults(config.release.subsets, wide_schema(schema))


def _index(config: Config) -> Iterator[str]:
    from laion_hpc.stages.index.keys import cells_of

    key = config.index.key
    if key != "auto" and cells_of(key) is None:
        yield (
            f"index.key: {key!r} is not of the IVF family, so its blocks could not be merged on "
            "disk; use auto or a key such as IVF4096,SQfp16"
        )


def _sizes(config: Config) -> Iterator[str]:
    """Sizes that a crawl's results have already: with others its blocks would not fit together."""
    for crawl in config.crawls:
        for key, made in results.sizes(Path(config.results) / crawl).items():
            wanted = getattr(config.dataset, key)
            if made != wanted:
                yield (
                    f"dataset.{key}: {wanted}, but {config.results}/{crawl} was made with {made}: "
                    "set it back, or name another folder in `results`"
                )


def _weights(config: Config, config_file: str, stages: Collection[str]) -> Iterator[str]:
    for key, model in _towers(config).items():
        if key.partition(".")[0] in stages and (fault := store.missing_of(model, config_file)):
            yield f"{key}: {fault}"
    if "tag" not in stages:
        return
    for head in config.tag.heads:
        yield from _try(partial(describe, head))
        folder = resolve_folder(head)
        if (folder / DESCRIPTION).is_file() and not (folder / WEIGHTS).is_file():
            yield f"tag.heads: {head}: {DESCRIPTION} without {WEIGHTS}; make this head again"


def _wats(config: Config) -> Iterator[str]:
    """WATs that are still to be read and are not there; of many some, spread over all."""
    from laion_hpc.web import object_store

    for crawl in config.crawls:
        try:
            lock = read_lock(Path(config.crawl_folder) / f"{crawl}.json")
        except LaionHpcError:
            continue  # `_locks` tells it
        if lock.prefix.startswith(object_store.SCHEME):
            yield from _try(partial(object_store.check, f"{lock.prefix}x"))
            continue
        if "://" in lock.prefix:
            continue
        made = Path(config.results) / crawl / "extract"
        left = [name for name in lock.segments if not (made / f"{name}.ledger.json").exists()]
        paths = [path for name in left for path in lock.wats(name)]
        some = [path for path in paths[:: len(paths) // WATS_LOOKED_FOR + 1] if "://" not in path]
        missing = [path for path in some if not Path(path).is_file()]
        if missing:
            yield (
                f"crawls: {crawl}: {len(missing)} of {len(some)} WATs looked for are not there, "
                f"such as {missing[0]}; bring them there, or make the lock again (the demo's WATs: "
                "`laion-hpc demo build`)"
            )


def _folders(config: Config) -> Iterator[str]:
    folder = Path(config.results).absolute()
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        yield f"results: {config.results}: cannot write to {folder}"


def _contact(config: Config) -> Iterator[str]:
    from laion_hpc.web.settings import guard_for

    download = config.download
    guard_for(download.user_agent, download.allow_networks, download.proxy)
    yield from ()


def _environment(variables: Mapping[str, str]) -> Iterator[str]:
    """Variables that end a job hours later."""
    from laion_hpc.web.settings import proxy_url

    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        path = variables.get(name)
        if path and not Path(path).exists():
            yield f"the environment: {name}={path}: no such file; unset it"
        elif path and not name.endswith("_DIR") and not _certificates(Path(path)):
            yield f"the environment: {name}={path}: not a file of certificates (PEM); unset it"
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        for spelling in (name, name.lower()):
            if text := variables.get(spelling):
                yield from _try(partial(proxy_url, text, f"the environment: {spelling}={text}"))
    home = variables.get("HOME")
    if home and not os.access(home, os.W_OK) and not variables.get("XDG_CACHE_HOME"):
        yield (
            f"the environment: HOME={home} cannot be written to, and libraries keep their caches "
            "there: set XDG_CACHE_HOME to a folder of yours"
        )


def _certificates(path: Path) -> bool:
    if path.is_dir():
        return True  # requests takes a folder, too
    try:
        ssl.create_default_context(cafile=path)
    except (OSError, ssl.SSLError):
        return False
    return True


def _partitions(wanted: set[str]) -> Iterator[str]:
    """Partitions that SLURM does not know, where it can be asked in time."""
    if not wanted or shutil.which("sinfo") is None:
        return
    try:
        done = subprocess.run(
            ["sinfo", "--noheader", "--format=%R"],
            capture_output=True, text=True, timeout=SINFO_SECONDS, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return
    known = set(done.stdout.split())
    # SLURM takes a list: the job goes to the first that is free.
    for name in sorted({part for names in wanted for part in names.split(",")} - known):
        yield (
            f"slurm_partition: {name}: SLURM has no such partition, only "
            f"{', '.join(sorted(known))}; change the profile"
        )
