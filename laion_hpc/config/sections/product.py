"""What people use: the index, the search service, the release."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Literal

from pydantic import Field, field_validator, model_validator

from laion_hpc.config.sections.base import RUNTIME, Cosine, Fraction, Section


class IndexConfig(Section):
    """The kNN index."""

    key: str = Field(
        "auto", description="faiss factory key; auto: from the number and width of vectors."
    )
    max_bytes: int = Field(
        800_000_000_000, ge=1, description="Size budget for the automatic key (LAION-5B: 800 GB)."
    )
    text: bool = Field(
        False, description="Also make an index of the texts, in index/text, to search captions."
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Where k-means runs when it is trained.", json_schema_extra=RUNTIME
    )
    train_vectors: int = Field(
        0, ge=0, description="Training sample over all blocks; 0: 256 per cell, up to 8 million."
    )
    evaluate_queries: int = Field(1_000, ge=1, description="Held-out queries for the recall.")
    target_recall: Fraction = Field(
        0.95, description="recall@10 that the stored search parameters aim at."
    )


class SubsetConfig(Section):
    """A named part of the release."""

    name: str = Field(..., pattern=r"^[a-z0-9][a-z0-9-]*$", description="Folder of the subset.")
    where: str = Field(..., description="SQL predicate on the joined release columns.")
    images: bool = Field(
        False, description="Cut its images and embeddings into shards of their own, too."
    )


class ReleaseConfig(Section):
    """The published dataset."""

    title: str = Field("An image-text dataset from the web", description="For card and report.")
    license: str = Field(
        "cc-by-4.0",
        description="Licence of the metadata, as Hugging Face spells it (LAION: cc-by-4.0).",
    )
    contact: str = Field(
        "", description="Where people ask for a removal: an address or a URL, for the card."
    )
    date_published: str = Field(
        "",
        pattern=r"^(\d{4}(-(0[1-9]|1[0-2])(-(0[1-9]|[12]\d|3[01]))?)?)?$",
        description="When it is published, for card and Croissant: 2026, 2026-11 or 2026-11-21.",
    )
    cite_as: str = Field(
        "", description="How to cite the dataset, such as a BibTeX entry, for card and Croissant."
    )
    subsets: tuple[SubsetConfig, ...] = Field(
        (
            SubsetConfig(name="high-resolution", where="WIDTH >= 1024 AND HEIGHT >= 1024"),
            # LAION-AI/laion-datasets, laion-aesthetic.md: "pwatermark < 0.8 and punsafe < 0.5",
            # then a score above 7 of its first predictor.
            SubsetConfig(
                name="aesthetic-v1",
                where="pwatermark < 0.8 AND punsafe < 0.5 AND aesthetic > 7",
            ),
            # laion.ai/blog/laion-aesthetics: English samples from 4.5 on of the second predictor,
            # the largest of its subsets, and no other condition.
            SubsetConfig(name="aesthetic-v2", where="LANGUAGE = 'en' AND aesthetic >= 4.5"),
            SubsetConfig(name="laion-400m", where="LANGUAGE = 'en' AND similarity >= 0.3"),
            # laion.ai/blog/relaion-5b: research-safe has nothing with punsafe above 0.45.
            SubsetConfig(name="research-safe", where="punsafe <= 0.45"),
        ),
        max_length=60,
        description="Subsets of the joined release: parquet, and with `images: true` shards too.",
    )
    laion400m_layout: bool = Field(
        False,
        description="Also write images and embeddings as LAION-400M has them, for TensorFlow "
        "Datasets' own builders.",
    )
    rows_per_part: int = Field(10_000_000, ge=1, description="Most rows in one parquet part.")

    @property
    def has_images(self) -> bool:
        """Whether images and embeddings are cut into shards for the release."""
        return self.laion400m_layout or any(subset.images for subset in self.subsets)

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
    max_export: int = Field(
        10_000,
        ge=1,
        le=1_000_000,
        description="Most rows that the page exports; `laion-hpc subset` has no such limit.",
        json_schema_extra=RUNTIME,
    )
    rate_limit: int = Field(
        600,
        ge=0,
        description="Requests a minute that one client may make, as many at once; 0: any number.",
        json_schema_extra=RUNTIME,
    )
    trusted_proxies: tuple[str, ...] = Field(
        ("127.0.0.0/8", "::1/128"),
        description="Networks of proxies whose X-Forwarded-For names the client.",
        json_schema_extra=RUNTIME,
    )

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        for network in networks:
            ip_network(network)
        return networks
