"""The stages on CPU nodes: WAT files to downloaded images."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from laion_hpc.config.sections.base import RUNTIME, Fraction, PathText, Section, in_order


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
    blocked_hosts: tuple[str, ...] = Field(
        (),
        description="Hosts whose links are dropped, subdomains included. shuffle.blocked_hosts "
        "can grow later without extracting again.",
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

    @model_validator(mode="after")
    def _limits_in_order(self) -> ExtractConfig:
        in_order(self, "min_text_characters", "max_text_characters")
        in_order(self, "language_min_bytes", "language_max_bytes")
        return self


class ShuffleConfig(Section):
    """One block of candidates -> deduplicated, mixed, cut into shards."""

    deduplicate_by: Literal["url", "url+text", "url+language"] = Field(
        "url", description="What makes two candidates the same."
    )
    blocked_hosts: tuple[str, ...] = Field(
        (), description="Hosts whose links are dropped, subdomains included."
    )
    blocked_url_hashes: PathText = Field(
        "",
        description="A file of SHA-256 hashes of URLs in hex, one a line: their links are dropped.",
    )
    seen_false_positive_rate: float = Field(
        1e-4, gt=0, lt=0.5, description="For the Bloom filter of URLs kept in earlier crawls."
    )


def _no_of_yaml(value: object) -> object:
    """YAML reads the word `no` as false."""
    return "no" if value is False else value


class DownloadConfig(Section):
    """URLs -> images in tar shards."""

    user_agent: str = Field(
        "laion-hpc/0.1 (+https://example.org/our-crawler-page)",
        description="Who you are and where site owners can complain. With the placeholder only "
        "loopback networks in allow_networks, or a proxy on loopback, can be used.",
        json_schema_extra=RUNTIME,
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
        description="Least time between the starts of two requests to one host, per process.",
        json_schema_extra=RUNTIME,
    )
    deadline_seconds: float = Field(
        20.0,
        gt=0,
        description="Limit for one sample: redirects, retries and body together.",
        json_schema_extra=RUNTIME,
    )
    retries: int = Field(
        2,
        ge=0,
        le=10,
        description="Retries after time-outs, resets and 408/425/429/5xx.",
        json_schema_extra=RUNTIME,
    )
    max_redirects: int = Field(
        5, ge=0, le=20, description="Redirects that are followed; each address is checked."
    )
    min_bytes: int = Field(5_000, ge=0, description="Smaller bodies are dropped (LAION: 5 KB).")
    max_bytes: int = Field(
        25_000_000, ge=1, le=1_000_000_000, description="Larger bodies are cut off and dropped."
    )
    max_pixels: int = Field(
        50_000_000,
        ge=1,
        description="Larger images are dropped by their header, before decoding (bombs).",
    )
    min_side: int = Field(0, ge=0, description="Smaller images (shorter side) are dropped.")
    max_aspect_ratio: float = Field(
        20.0, ge=1, description="Largest ratio of longer to shorter side."
    )
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
    resize_mode: Annotated[
        Literal["no", "keep_ratio", "keep_ratio_largest", "center_crop", "border"],
        BeforeValidator(_no_of_yaml),
    ] = Field("keep_ratio", description="img2dataset's modes.")
    image_size: int = Field(256, ge=8, le=16_384, description="Target side in pixels.")
    resize_only_if_bigger: bool = Field(True, description="Never enlarge.")
    skip_reencode: bool = Field(
        False, description="Store the downloaded bytes if nothing about them has to change."
    )
    encode_format: Literal["jpg", "webp", "png"] = Field(
        "jpg", description="Format of stored images."
    )
    encode_quality: int = Field(95, ge=1, le=100, description="JPEG or WebP quality.")
    respect_opt_out: bool = Field(
        True,
        description="Honour X-Robots-Tag noai, noimageai, noindex, noimageindex, noml and "
        "TDM-Reservation.",
    )
    respect_robots_txt: bool = Field(
        True, description="Fetch each host's robots.txt once and obey it."
    )
    hash_blocklist: PathText = Field(
        "",
        description="File of MD5 or SHA-256 hashes, one hex digest a line. An image is dropped "
        "before it is written if its downloaded bytes have one of these hashes.",
    )
    perceptual_blocklist: PathText = Field(
        "",
        description="File of PDQ hashes, 64 hex digits a line: pictures near one are dropped, even "
        "if they are scaled or re-encoded. Needs laion-hpc[perceptual].",
    )
    perceptual_distance: int = Field(
        31, ge=0, le=128, description="How many of a PDQ hash's 256 bits may differ."
    )
    allow_networks: tuple[str, ...] = Field(
        (), description="Non-public networks that may be connected to, such as 127.0.0.0/8."
    )
    proxy: str = Field(
        "",
        description="HTTP(S) proxy URL; empty: from the environment.",
        json_schema_extra=RUNTIME,
    )

    @model_validator(mode="after")
    def _limits_in_order(self) -> DownloadConfig:
        in_order(self, "min_bytes", "max_bytes")
        return self
