"""The stages on GPU nodes: CLIP filtering, embeddings, tags."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from laion_hpc.config.sections.base import RUNTIME, Cosine, ModelConfig, PathText, Section


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


DECODE = (
    "full: whole JPEGs, as LAION. scaled: one that is at least twice the model's input is decoded "
    "at 1/2, 1/4 or 1/8 (3 times as fast; similarities move by 0.01 on average)."
)
PRECISION = (
    "auto: fp16 on a GPU, fp32 on a CPU (the same to 1e-5 on every CPU). bf16 on a CPU that "
    "computes in it (AVX512_BF16, AMX) is about twice as fast, to 1e-3."
)


class DuplicatesConfig(Section):
    """Drop all but one of the kept samples of a block that show the same picture; off as in LAION.

    The one with the highest cosine of image and text stays.
    """

    exact: bool = Field(False, description="Images with the same pixels.")
    perceptual: int | None = Field(
        None,
        ge=0,
        le=16,
        description="Images whose 64-bit pHashes differ in at most this number of bits, such as 4.",
    )
    semantic: float | None = Field(
        None,
        ge=0.5,
        le=1,
        description="Images whose embeddings have at least this cosine, such as 0.96 (SemDeDup).",
    )


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
    zero_shot: PathText = Field(
        "laion400m",
        min_length=1,
        description="Content filter: prompts of `laion400m`, of a YAML file (`package:…` lies in "
        "laion_hpc itself), or `off`.",
    )
    duplicates: DuplicatesConfig = Field(
        DuplicatesConfig(), description="Duplicates by content, within a block."
    )
    batch_size: int = Field(256, ge=1, description="Images per forward pass.")
    decode: Literal["full", "scaled"] = Field("full", description=DECODE)
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Where the model runs.", json_schema_extra=RUNTIME
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field("auto", description=PRECISION)

    @field_validator("zero_shot", mode="before")
    @classmethod
    def _off_is_a_word(cls, value: Any) -> Any:
        return "off" if value is False else value  # YAML reads a bare `off` as false

    @model_validator(mode="after")
    def _whole_images_are_compared(self) -> FilterConfig:
        if self.decode == "scaled" and (
            self.duplicates.exact or self.duplicates.perceptual is not None
        ):
            raise ValueError(
                "decode: scaled reads no whole images, which duplicates.exact and "
                "duplicates.perceptual compare; set decode: full"
            )
        return self


class EmbedConfig(Section):
    """CLIP embeddings of images and texts."""

    model: ModelConfig = Field(
        ModelConfig(name="ViT-L-14-quickgelu", pretrained="openai"),
        description="The model of the published embeddings (LAION-5B: ViT-L/14).",
    )
    batch_size: int = Field(256, ge=1, description="Samples per forward pass.")
    decode: Literal["full", "scaled"] = Field("full", description=DECODE)
    compile: bool = Field(
        False,
        description="Fuse the image tower's kernels with torch.compile on a GPU (needs a C "
        "compiler there; a minute at the start; other last bits).",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Where the model runs.", json_schema_extra=RUNTIME
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field("auto", description=PRECISION)


class TagConfig(Section):
    """Scores per sample from heads on the embeddings."""

    heads: tuple[PathText, ...] = Field(
        ("models/heads/punsafe", "models/heads/pwatermark", "models/heads/aesthetic"),
        description="Folders of heads (head.json + weights.safetensors); one column each. "
        "`package:…` lies in laion_hpc itself.",
    )
    space: str = Field(
        "",
        description="The model of the embeddings as their heads call it, such as ViT-L-14/openai; "
        "empty: `embed.model`. A head of another model is refused.",
        json_schema_extra=RUNTIME,
    )
    batch_size: int = Field(
        64, ge=1, description="Images per forward pass, for heads that read images."
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Where heads that read images run.", json_schema_extra=RUNTIME
    )
