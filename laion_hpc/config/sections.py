"""Every key of the config: its type, default, range and meaning, one class per stage.

What a key does to the results belongs here; where a job runs (accounts, partitions, modules,
numbers of processes) belongs to a profile. A field marked `runtime` changes no byte of the
outputs and is left out of the digests.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Fraction = Annotated[float, Field(ge=0, le=1)]
Cosine = Annotated[float, Field(ge=-1, le=1)]
RUNTIME: dict[str, Any] = {"runtime": True}


class Section(BaseModel):
    """Unknown keys are errors: a misspelt threshold must not cost a night."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DatasetConfig(Section):
    """Sizes that several stages share."""

    blocks: int = Field(
        500, ge=1, le=9999, description="Parts that a crawl is cut into by the hash of the URL."
    )
    samples_per_shard: int = Field(
        10_000, ge=1, le=100_000, description="Samples in a full tar shard."
    )
    seed: int = Field(0, ge=0, description="Seed of every random order and sample.")


class ModelConfig(Section):
    """A CLIP model: by name and pretrained tag (fetched from the hub), or from a local folder."""

    library: Literal["open_clip", "sentence_transformers"] = Field(
        "open_clip", description="The library that loads it."
    )
    name: str = Field(
        ..., description="Architecture (open_clip) or repository (sentence_transformers)."
    )
    pretrained: str = Field("", description="open_clip's tag of the weights, such as openai.")
    folder: str = Field(
        "", description="A local folder with config, weights and tokenizer; wins over the tag."
    )


class ExtractConfig(Section):
    """WAT files -> candidate image links."""

    min_text_characters: int = Field(
        5, ge=0, description="Shorter alt texts are dropped (LAION: 5)."
    )
    max_text_characters: int = Field(
        10_000, ge=1, description="Longer alt texts are dropped: they are pages, not captions."
    )
    max_url_characters: int = Field(2_048, ge=16, description="Longer URLs are dropped.")
    drop_extensions: tuple[str, ...] = Field(
        ("svg", "svgz", "ico", "cur", "gif"),
        description="Extensions of URL paths that are not photographs.",
    )
    language_min_bytes: int = Field(5, ge=1, description="CLD3's lower limit (LAION: 5).")
    language_max_bytes: int = Field(2_000, ge=1, description="CLD3's upper limit (LAION: 2000).")
    language_min_probability: Fraction = Field(
        0.7, description="Below it, or where CLD3 is not reliable, the text's class is nolang."
    )
    max_failed_wats: int = Field(
        0, ge=0, description="Unreadable WAT files that a segment tolerates before its job fails."
    )


class ShuffleConfig(Section):
    """One block of candidates -> deduplicated, mixed, cut into shards."""

    deduplicate_by: Literal["url", "url+text", "url+language"] = Field(
        "url", description="What makes two candidates the same."
    )
    blocked_hosts: tuple[str, ...] = Field(
        (), description="Hosts whose links are dropped, subdomains included."
    )
    seen_false_positive_rate: float = Field(
        1e-4, gt=0, lt=0.5, description="Of the Bloom filter of URLs kept in earlier crawls."
    )


class DownloadConfig(Section):
    """URLs -> images in tar shards."""

    user_agent: str = Field(
        "laion-hpc/0.1 (+https://example.org/our-crawler-page)",
        description="Tell site owners who you are and where to complain; required for real runs.",
    )
    connections: int = Field(
        256, ge=1, le=4096, description="Requests in flight per process.", json_schema_extra=RUNTIME
    )
    connections_per_host: int = Field(2, ge=1, description="Requests in flight to one host.")
    deadline_seconds: float = Field(
        20.0, gt=0, description="For one sample: redirects, retries and body together."
    )
    retries: int = Field(1, ge=0, le=10, description="Of time-outs, resets and 408/425/429/5xx.")
    max_redirects: int = Field(5, ge=0, le=20, description="Followed, each address checked.")
    min_bytes: int = Field(5_000, ge=0, description="Smaller bodies are dropped (LAION: 5 KB).")
    max_bytes: int = Field(25_000_000, ge=1, description="Larger bodies are cut off and dropped.")
    max_pixels: int = Field(
        50_000_000, ge=1, description="Checked in the header, before decoding (bombs)."
    )
    min_side: int = Field(0, ge=0, description="Smaller images (shorter side) are dropped.")
    max_aspect_ratio: float = Field(20.0, ge=1, description="Longer side over shorter side.")
    formats: tuple[str, ...] = Field(
        ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"),
        description="Pillow formats that are decoded; anything else is not an image.",
    )
    resize_mode: Literal["no", "keep_ratio", "keep_ratio_largest", "center_crop", "border"] = Field(
        "keep_ratio", description="img2dataset's modes."
    )
    image_size: int = Field(256, ge=8, description="Target side in pixels.")
    resize_only_if_bigger: bool = Field(True, description="Never enlarge.")
    encode_format: Literal["jpg", "webp", "png"] = Field("jpg", description="Of stored images.")
    encode_quality: int = Field(95, ge=1, le=100, description="JPEG or WebP quality.")
    respect_opt_out: bool = Field(
        True, description="Honour X-Robots-Tag noai, noimageai, noindex, noimageindex, noml."
    )
    respect_robots_txt: bool = Field(
        True, description="Fetch each host's robots.txt once and obey."
    )
    allow_networks: tuple[str, ...] = Field(
        (), description="Non-public networks that may be connected to, such as 127.0.0.0/8."
    )
    proxy: str = Field("", description="HTTP(S) proxy URL; empty: from the environment.")


class ThresholdsConfig(Section):
    """Lowest cosine kept, per language class."""

    en: Cosine = Field(0.28, description="English, ViT-B/32 (LAION-5B).")
    multi: Cosine = Field(0.26, description="Other languages, multilingual CLIP (LAION-5B).")
    nolang: Cosine = Field(0.26, description="No detected language, multilingual CLIP (LAION-5B).")


class FilterConfig(Section):
    """Keep the pairs that CLIP finds alike."""

    english: ModelConfig = Field(
        ModelConfig(name="ViT-B-32-quickgelu", pretrained="openai"),
        description="Image tower for all samples and text tower for English.",
    )
    multilingual: ModelConfig = Field(
        ModelConfig(
            library="sentence_transformers",
            name="sentence-transformers/clip-ViT-B-32-multilingual-v1",
        ),
        description="Text tower for every other text, on the same image space.",
    )
    thresholds: ThresholdsConfig = Field(ThresholdsConfig(), description="Lowest cosine kept.")
    zero_shot: str = Field(
        "laion400m",
        description="Content filter: prompts of `laion400m`, of a YAML file, or `off`.",
    )
    batch_size: int = Field(256, ge=1, description="Images per forward pass.")
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Where the model runs.", json_schema_extra=RUNTIME
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="auto: fp16 on a GPU, fp32 on a CPU."
    )


class EmbedConfig(Section):
    """CLIP embeddings of images and texts."""

    model: ModelConfig = Field(
        ModelConfig(name="ViT-L-14-quickgelu", pretrained="openai"),
        description="The model of the published embeddings (LAION-5B: ViT-L/14).",
    )
    batch_size: int = Field(256, ge=1, description="Samples per forward pass.")
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Where the model runs.", json_schema_extra=RUNTIME
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="auto: fp16 on a GPU, fp32 on a CPU."
    )


class TagConfig(Section):
    """Scores per sample from heads on the embeddings."""

    heads: tuple[str, ...] = Field(
        ("models/heads/punsafe", "models/heads/pwatermark", "models/heads/aesthetic"),
        description="Folders of heads (head.json + weights.safetensors); one column each.",
    )


class IndexConfig(Section):
    """The kNN index."""

    key: str = Field(
        "auto", description="faiss factory key; auto: from the number and width of vectors."
    )
    max_bytes: int = Field(
        800_000_000_000, ge=1, description="Size budget for the automatic key (LAION-5B: 800 GB)."
    )
    train_vectors: int = Field(
        0, ge=0, description="Training sample over all blocks; 0: 64 per cell of the key."
    )
    evaluate_queries: int = Field(1_000, ge=1, description="Held-out queries for the recall.")
    target_recall: Fraction = Field(
        0.95, description="recall@10 that the stored search parameters aim at."
    )


class SubsetConfig(Section):
    """A named part of the release."""

    name: str = Field(..., pattern=r"^[a-z0-9][a-z0-9-]*$", description="Folder of the subset.")
    where: str = Field(..., description="SQL predicate on the joined release columns.")


class ReleaseConfig(Section):
    """The published dataset."""

    title: str = Field("An image-text dataset from the web", description="Of card and report.")
    subsets: tuple[SubsetConfig, ...] = Field(
        (
            SubsetConfig(name="high-resolution", where="WIDTH >= 1024 AND HEIGHT >= 1024"),
            SubsetConfig(
                name="aesthetic",
                where="pwatermark < 0.8 AND punsafe < 0.5 AND aesthetic > 5",
            ),
        ),
        description="Parquet subsets of the joined release.",
    )
    rows_per_part: int = Field(10_000_000, ge=1, description="Most rows in one parquet part.")


class SearchConfig(Section):
    """The search service."""

    max_results: int = Field(
        1_000, ge=1, description="Most results of one query.", json_schema_extra=RUNTIME
    )
    max_body_bytes: int = Field(
        8_000_000, ge=1_000, description="Largest request.", json_schema_extra=RUNTIME
    )
    unsafe_threshold: Fraction = Field(
        0.5, description="punsafe from which a result is hidden in safe mode."
    )


class Config(Section):
    """The whole config of a dataset."""

    crawls: tuple[str, ...] = Field(
        ("CC-MAIN-2022-40-sample",),
        min_length=1,
        description="Crawls, in order: each has a lock file in `crawl_folder`.",
    )
    crawl_folder: str = Field(
        "config/crawls", description="Where `laion-hpc crawl` puts lock files."
    )
    results: str = Field("results", description="Folder of all outputs: results/CRAWL/STAGE/…")
    dataset: DatasetConfig = Field(DatasetConfig(), description="Sizes that several stages share.")
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
        return self
