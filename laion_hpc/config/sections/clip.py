"""The stages on GPU nodes: CLIP filtering, embeddings, tags."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from laion_hpc.config.sections.base import (
    RUNTIME,
    Cosine,
    ModelConfig,
    Section,
)


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
