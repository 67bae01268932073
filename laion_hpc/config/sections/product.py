"""What people use: the index, the search service, the release."""

from __future__ import annotations

from pydantic import Field, model_validator

from laion_hpc.config.sections.base import (
    RUNTIME,
    Cosine,
    Fraction,
    Section,
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
