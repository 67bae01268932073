"""Whether an image link becomes a candidate, and if not, why not."""

from __future__ import annotations

from typing import NamedTuple

from laion_hpc.config import Config
from laion_hpc.stages.extract.text import clean
from laion_hpc.web.url import Base, Url, UrlError, blocked_set, extension_of, is_blocked

REASONS = (
    "no_text",
    "text_too_short",
    "text_too_long",
    "data_url",
    "not_http",
    "bad_url",
    "bad_host",
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


def url_of(reference: str, base: Base | None, rules: Rules) -> tuple[Url | None, str]:
    """The absolute URL and an empty string, or None and the reason to drop it.

    `base` is the page's, None if the page's own URL is broken.
    """
    if base is None:
        return None, "bad_url"
    try:
        url = base.resolve(reference)
    except UrlError as error:
        return None, error.reason
    if len(url.href) > rules.max_url:
        return None, "url_too_long"
    if extension_of(url.href) in rules.extensions:
        return None, "extension"
    if is_blocked(url.host, rules.blocked_hosts):
        return None, "blocked_host"
    return url, ""


def decide(
    reference: str, alt: str, base: Base | None, rules: Rules
) -> tuple[Url | None, str, str]:
    """The link's URL, its text and an empty string; or, if it is dropped, the reason last.

    `fast.decide` does the same, faster, for many links.
    """
    text, reason = text_of(alt, rules)
    if reason:
        return None, "", reason
    url, reason = url_of(reference, base, rules)
    return url, "" if reason else text, reason
