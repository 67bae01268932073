"""Every key of the config: its type, default, range and meaning, one class per stage.

What a key does to the results belongs here; where a job runs (accounts, partitions, modules,
numbers of processes) belongs to a profile. A field marked `runtime` changes no byte of the
outputs and is left out of the digests.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

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
        "",
        description="A local folder with config, weights and tokenizer (`package:…` lies in "
        "laion_hpc itself); wins over the tag.",
    )

    @model_validator(mode="after")
    def _weights_fit(self) -> ModelConfig:
        if self.library == "sentence_transformers":
            if self.pretrained:
                raise ValueError("pretrained: a sentence_transformers model has no such tags")
        elif not self.folder and not self.pretrained:
            raise ValueError("an open_clip model needs pretrained (a tag) or folder")
        elif not self.folder and ("/" in self.pretrained or self.pretrained.endswith(".pt")):
            raise ValueError(
                "pretrained is a tag, not a file: a weights file tells neither its activation nor "
                "its mean and std; make a folder of it with `laion-hpc models import`"
            )
        elif self.pretrained == "openai" and not self.name.endswith("-quickgelu"):
            # The plain architectures compute GELU: such embeddings are off, and nothing fails.
            raise ValueError(f"OpenAI's weights need QuickGELU: write name: {self.name}-quickgelu")
        return self


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
        0,
        ge=0,
        description="Unreadable WAT files that a segment tolerates before its job fails.",
        json_schema_extra=RUNTIME,
    )


class ShuffleConfig(Section):
    """One block of candidates -> deduplicated, mixed, cut into shards."""

    deduplicate_by: Literal["url", "url+text", "url+language"] = Field(
        "url", description="What makes two candidates the same."
    )
    blocked_hosts: tuple[str, ...] = Field(
        (), description="Hosts whose links are dropped, subdomains included."
    )
    blocked_url_hashes: str = Field(
        "",
        description="A file of SHA-256 hashes of URLs in hex, one a line: their links are dropped.",
    )
    seen_false_positive_rate: float = Field(
        1e-4, gt=0, lt=0.5, description="Of the Bloom filter of URLs kept in earlier crawls."
    )


class DownloadConfig(Section):
    """URLs -> images in tar shards."""

    user_agent: str = Field(
        "laion-hpc/0.1 (+https://example.org/our-crawler-page)",
        description="Who you are and where site owners can complain. With the placeholder only "
        "loopback networks in allow_networks, or a proxy on loopback, can be used.",
    )
    connections: int = Field(
        256, ge=1, le=4096, description="Requests in flight per process.", json_schema_extra=RUNTIME
    )
    connections_per_host: int = Field(
        2,
        ge=1,
        description="Requests in flight to one host, per process.",
        json_schema_extra=RUNTIME,
    )
    host_interval_seconds: float = Field(
        0.0,
        ge=0,
        description="Between the starts of two requests to one host, per process.",
        json_schema_extra=RUNTIME,
    )
    deadline_seconds: float = Field(
        20.0, gt=0, description="For one sample: redirects, retries and body together."
    )
    retries: int = Field(2, ge=0, le=10, description="Of time-outs, resets and 408/425/429/5xx.")
    max_redirects: int = Field(5, ge=0, le=20, description="Followed, each address checked.")
    min_bytes: int = Field(5_000, ge=0, description="Smaller bodies are dropped (LAION: 5 KB).")
    max_bytes: int = Field(
        25_000_000, ge=1, le=1_000_000_000, description="Larger bodies are cut off and dropped."
    )
    max_pixels: int = Field(
        50_000_000, ge=1, description="Checked in the header, before decoding (bombs)."
    )
    min_side: int = Field(0, ge=0, description="Smaller images (shorter side) are dropped.")
    max_aspect_ratio: float = Field(20.0, ge=1, description="Longer side over shorter side.")
    formats: tuple[str, ...] = Field(
        ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"),
        min_length=1,
        description="Pillow formats that are decoded; anything else is not an image.",
    )
    decode_seconds: float = Field(
        60.0,
        gt=0,
        description="A picture that takes longer to decode is dropped and its decoder replaced.",
        json_schema_extra=RUNTIME,
    )
    resize_mode: Literal["no", "keep_ratio", "keep_ratio_largest", "center_crop", "border"] = Field(
        "keep_ratio", description="img2dataset's modes."
    )
    image_size: int = Field(256, ge=8, le=16_384, description="Target side in pixels.")
    resize_only_if_bigger: bool = Field(True, description="Never enlarge.")
    skip_reencode: bool = Field(
        False, description="Store the downloaded bytes where nothing about them has to change."
    )
    encode_format: Literal["jpg", "webp", "png"] = Field("jpg", description="Of stored images.")
    encode_quality: int = Field(95, ge=1, le=100, description="JPEG or WebP quality.")
    respect_opt_out: bool = Field(
        True,
        description="Honour X-Robots-Tag noai, noimageai, noindex, noimageindex, noml and "
        "TDM-Reservation.",
    )
    respect_robots_txt: bool = Field(
        True, description="Fetch each host's robots.txt once and obey."
    )
    hash_blocklist: str = Field(
        "",
        description="File of MD5 or SHA-256 hashes, one hex digest a line: images whose "
        "downloaded bytes have one are dropped before anything of them is written.",
    )
    allow_networks: tuple[str, ...] = Field(
        (), description="Non-public networks that may be connected to, such as 127.0.0.0/8."
    )
    proxy: str = Field("", description="HTTP(S) proxy URL; empty: from the environment.")


class ThresholdsConfig(Section):
    """Lowest cosine kept, per language class: three numbers, or `laion5b` or `laion400m`."""

    en: Cosine = Field(0.28, description="English, ViT-B/32 (LAION-5B).")
    multi: Cosine = Field(0.26, description="Other languages, multilingual CLIP (LAION-5B).")
    nolang: Cosine = Field(0.26, description="No detected language, multilingual CLIP (LAION-5B).")

    @model_validator(mode="before")
    @classmethod
    def _presets(cls, value: Any) -> Any:
        presets = {"laion5b": {}, "laion400m": dict.fromkeys(("en", "multi", "nolang"), 0.3)}
        if isinstance(value, str):
            if value not in presets:
                raise ValueError(f"the presets are {', '.join(presets)}")
            return presets[value]
        return value


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
    thresholds: ThresholdsConfig = Field(
        ThresholdsConfig(),
        description="Lowest cosine kept, per language class; or the presets `laion5b` and "
        "`laion400m` (0.3 for all).",
    )
    zero_shot: str = Field(
        "laion400m",
        min_length=1,
        description="Content filter: prompts of `laion400m`, of a YAML file (`package:…` lies in "
        "laion_hpc itself), or `off`.",
    )
    batch_size: int = Field(256, ge=1, description="Images per forward pass.")
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Where the model runs.", json_schema_extra=RUNTIME
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="auto: fp16 on a GPU, fp32 on a CPU."
    )

    @field_validator("zero_shot", mode="before")
    @classmethod
    def _off_is_a_word(cls, value: Any) -> Any:
        return "off" if value is False else value  # YAML reads a bare `off` as false


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
        description="Folders of heads (head.json + weights.safetensors); one column each. "
        "`package:…` lies in laion_hpc itself.",
    )
    batch_size: int = Field(
        64, ge=1, description="Images per forward pass, for heads that read images."
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Where heads that read images run.", json_schema_extra=RUNTIME
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
    license: str = Field(
        "cc-by-4.0",
        description="Licence of the metadata, as Hugging Face spells it (LAION: cc-by-4.0).",
    )
    contact: str = Field(
        "", description="Where people ask for a removal: an address or a URL, for the card."
    )
    subsets: tuple[SubsetConfig, ...] = Field(
        (
            SubsetConfig(name="high-resolution", where="WIDTH >= 1024 AND HEIGHT >= 1024"),
            SubsetConfig(
                name="aesthetic",
                where="pwatermark < 0.8 AND punsafe < 0.5 AND aesthetic > 5",
            ),
            SubsetConfig(name="laion-400m", where="LANGUAGE = 'en' AND similarity >= 0.3"),
            SubsetConfig(name="research-safe", where="punsafe <= 0.45"),
        ),
        description="Parquet subsets of the joined release.",
    )
    rows_per_part: int = Field(10_000_000, ge=1, description="Most rows in one parquet part.")

    @model_validator(mode="after")
    def _names_are_unique(self) -> ReleaseConfig:
        names = [subset.name for subset in self.subsets]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"subsets: two are called {name!r}")
            if name.removesuffix("-joined") in ("laion-en", "laion-multi", "laion-nolang"):
                raise ValueError(f"subsets: {name!r} is the name of a split")
        return self


class SearchConfig(Section):
    """The search service."""

    max_results: int = Field(
        1_000, ge=1, le=100_000, description="Most results of one query.", json_schema_extra=RUNTIME
    )
    max_body_bytes: int = Field(
        8_000_000, ge=1_000, description="Largest request.", json_schema_extra=RUNTIME
    )
    max_image_pixels: int = Field(
        50_000_000, ge=1, description="Largest image to search with.", json_schema_extra=RUNTIME
    )
    unsafe_threshold: Fraction = Field(
        0.5, description="punsafe from which a result is hidden in safe mode."
    )
    duplicate_cosine: Cosine = Field(
        0.94, description="Cosine from which two images are one (clip-retrieval: 0.94)."
    )
    image_urls: bool = Field(
        True, description="Let people search by the URL of an image, which the service fetches."
    )


class KeepConfig(Section):
    """Intermediate products that stay after what replaces them is verified."""

    candidate_images: bool = Field(
        True,
        description="The tars of `download`. False: `filter` removes a block's when the shards it "
        "kept are verified, so that few blocks' candidates are on disk at once; their parquet and "
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
    crawl_folder: str = Field(
        "config/crawls", description="Where `laion-hpc crawl` puts lock files."
    )
    results: str = Field("results", description="Folder of all outputs: results/CRAWL/STAGE/…")
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
        return self
