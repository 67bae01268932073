"""Whether an image link becomes a candidate, and if not, why not."""

from __future__ import annotations

from typing import NamedTuple

from laion_hpc.config import Config
from laion_hpc.stages.extract.text import clean
from laion_hpc.web.url import Base, blocked_set, extension_of, host_of, is_blocked

REASONS = (
    "no_text",
    "text_too_short",
    "text_too_long",
    "data_url",
    "not_http",
    "bad_url",
    "url_too_long",
    "extension",
    "blocked_host",
)
"""Why a link is dropped, in the ledger's words; the first that applies, in this order."""

DUPLICATE = "duplicate_in_wat"
"""After them: the same URL with the same text came before in the WAT."""


class Rules(NamedTuple):
    """The config keys that the decision reads."""

    min_text: int
    max_text: int
    max_url: int
    extensions: frozenset[str]
    blocked_hosts: frozenset[str]

    @classmethod
    def of(cls, config: Config) -> Rules:
        """The rules that a config sets."""
        keys = config.extract
        return cls(
            keys.min_text_characters,
            keys.max_text_characters,
            keys.max_url_characters,
            frozenset(extension.lower().lstrip(".") for extension in keys.drop_extensions),
            blocked_set(keys.blocked_hosts),
        )


def text_of(alt: str, rules: Rules) -> tuple[str, str]:
    """The cleaned text and an empty string, or an empty string and the reason to drop it."""
    text = clean(alt)
    if not text:
        return "", "no_text"
    if len(text) < rules.min_text:
        return "", "text_too_short"
    if len(text) > rules.max_text:
        return "", "text_too_long"
    return text, ""


def url_of(reference: str, base: Base | None, rules: Rules) -> tuple[str, str]:
    """The absolute URL and an empty string, or an empty string and the reason to drop it.

    `base` is the page's, None if the page's own URL is broken.
    """
    if base is None:
        return "", "bad_url"
    url, fault = base.resolve(reference)
    if fault is not None:
        return "", fault
    if len(url) > rules.max_url:
        return "", "url_too_long"
    if extension_of(url) in rules.extensions:
        return "", "extension"
    if rules.blocked_hosts and is_blocked(host_of(url), rules.blocked_hosts):
        return "", "blocked_host"
    return url, ""


def decide(reference: str, alt: str, base: Base | None, rules: Rules) -> tuple[str, str, str]:
    """The link's URL, its text and an empty string; or, if it is dropped, the reason last.

    This defines what `scan` does faster for the plain links.
    """
    text, reason = text_of(alt, rules)
    if not reason:
        url, reason = url_of(reference, base, rules)
    return ("", "", reason) if reason else (url, text, "")
