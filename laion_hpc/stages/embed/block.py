"""One filtered block -> its embeddings, shard by shard."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from laion_hpc.config import Config, digest
from laion_hpc.errors import InputError
from laion_hpc.files import ledger
from laion_hpc.files.ledger import Ledger
from laion_hpc.files.shards import names_in
from laion_hpc.models import feeding, store
from laion_hpc.runtime.work import Team
from laion_hpc.stages.embed.shard import EmbedJob, embed_shard, files_of, finished


def embed_block(
    source: Path, output: Path, config: Config, team: Team, *, config_file: str | None = None
) -> Ledger:
    """Embed the block in `source` into `output`; returns the manifest that it writes last.

    InputError if the input is damaged or the model is missing, altered or of another architecture.
    """
    filtered = ledger.read(source / ledger.MANIFEST)
    shards = names_in(filtered)
    job = EmbedJob(
        source,
        output,
        config.embed,
        store.fingerprint(config.embed.model, config_file),
        digest(config, "embed"),
    )
    manifest = output / ledger.MANIFEST
    manifest.unlink(missing_ok=True)  # its files are about to change
    if any(finished(shard, job=job) is None for shard in shards):
        store.verify({"embed.model": config.embed.model}, config_file)
    embedded = feeding.map_shards(
        team,
        partial(embed_shard, job=job),
        shards,
        device=config.embed.device,
        label=f"embed {output.name}",
    )
    total = ledger.total(
        embedded,
        stage="embed",
        unit="samples",
        config=job.digest,
        source=ledger.fingerprint(job.model, *(source / f"{shard}.tar" for shard in shards)),
        files=tuple(file for book in embedded for file in book.files),
    )
    if total.inputs != filtered.kept:
        raise InputError(
            f"{source / ledger.MANIFEST}: filter kept {filtered.kept} samples, but its shards "
            f"hold {total.inputs}; make them again"
        )
    _remove_others(output, shards)
    total.write(manifest)
    return total


def _remove_others(output: Path, shards: list[str]) -> None:
    """Remove files of other shards, from an earlier run."""
    mine = {output / name for shard in shards for name in files_of(shard)}
    mine |= {output / f"{shard}.ledger.json" for shard in shards}
    for pattern in ("[0-9]*.ledger.json", "img_emb/*.npy", "text_emb/*.npy", "metadata/*.parquet"):
        for path in output.glob(pattern):
            if path not in mine:
                path.unlink()
