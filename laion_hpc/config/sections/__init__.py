"""Every key of the config: its type, default, range and meaning, one class per stage.

What a key does to the results belongs here; where a job runs (accounts, partitions, modules,
numbers of processes) belongs to a profile. A field marked `runtime` changes no byte of the
outputs and is left out of the digests.
"""

from __future__ import annotations

from pydantic import Field, model_validator

from laion_hpc.config.sections.base import RUNTIME, DatasetConfig, ModelConfig, PathText, Section
from laion_hpc.config.sections.clip import (
    DuplicatesConfig,
    EmbedConfig,
    FilterConfig,
    TagConfig,
    ThresholdsConfig,
)
from laion_hpc.config.sections.data import DownloadConfig, ExtractConfig, ShuffleConfig
from laion_hpc.config.sections.product import IndexConfig, ReleaseConfig, SearchConfig, SubsetConfig

__all__ = [
    "Config",
    "DatasetConfig",
    "DownloadConfig",
    "DuplicatesConfig",
    "EmbedConfig",
    "ExtractConfig",
    "FilterConfig",
    "IndexConfig",
    "KeepConfig",
    "ModelConfig",
    "ReleaseConfig",
    "SearchConfig",
    "Section",
    "ShuffleConfig",
    "SubsetConfig",
    "TagConfig",
    "ThresholdsConfig",
]


class KeepConfig(Section):
    """Intermediate products that stay after what replaces them is verified."""

    candidate_images: bool = Field(
        True,
        description="The tars of `download`. False: `filter` removes a block's tars once its own "
        "shards are verified, so that few blocks' candidates are on disk at once. Parquet and "
        "ledgers stay.",
        json_schema_extra=RUNTIME,
    )


class Config(Section):
    """The whole config of a dataset."""

    crawls: tuple[str, ...] = Field(
        ("CC-MAIN-2022-40-sample",),
        min_length=1,
        description="Crawls, in order: each has a lock file in `crawl_folder`.",
    )
    crawl_folder: PathText = Field(
        "config/crawls", description="Where `laion-hpc crawl` puts lock files."
    )
    takedown_list: PathText = Field(
        "config/takedowns.txt",
        description="What `laion-hpc takedown` has taken down: hashes only. Keep it as long as the "
        "dataset. Without this file nothing is taken down.",
        json_schema_extra=RUNTIME,
    )
    results: PathText = Field("results", description="Folder of all outputs: results/CRAWL/STAGE/…")
    dataset: DatasetConfig = Field(DatasetConfig(), description="Sizes that several stages share.")
    keep: KeepConfig = Field(KeepConfig(), description="Large files that are not deleted.")
    extract: ExtractConfig = Field(ExtractConfig(), description="WAT files -> links.")
    shuffle: ShuffleConfig = Field(ShuffleConfig(), description="Deduplicate, mix, cut in shards.")
    download: DownloadConfig = Field(DownloadConfig(), description="URLs -> tar shards.")
    filter: FilterConfig = Field(FilterConfig(), description="CLIP filtering.")
    embed: EmbedConfig = Field(EmbedConfig(), description="CLIP embeddings.")
    tag: TagConfig = Field(TagConfig(), description="Scores per sample.")
    index: IndexConfig = Field(IndexConfig(), description="kNN index.")
    release: ReleaseConfig = Field(ReleaseConfig(), description="The published dataset.")
    search: SearchConfig = Field(SearchConfig(), description="The search service.")

    @model_validator(mode="after")
    def _names_are_plain(self) -> Config:
        for crawl in self.crawls:
            # A dot would end the sample key in a tar, a slash its folder.
            if not crawl or any(c in "./\\ " for c in crawl):
                raise ValueError(f"crawls: {crawl!r} may not hold dots, slashes or spaces")
        twice = sorted({crawl for crawl in self.crawls if self.crawls.count(crawl) > 1})
        if twice:
            raise ValueError(f"crawls: {', '.join(twice)} is listed twice")
        if set("{}") & set(self.results):
            raise ValueError(f"results: {self.results!r} may not hold braces: Snakemake reads them")
        return self
