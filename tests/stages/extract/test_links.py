from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laion_hpc.config import Config, parse
from laion_hpc.stages.extract.links import REASONS, Rules, decide
from laion_hpc.web.url import Base

BASE = Base("https://example.org/a/b.html")
ALT = "a red boat"


def once(reference: str, alt: str, config: Config | None = None) -> tuple[str, str, str]:
    url, text, reason = decide(reference, alt, BASE, Rules.of(config or Config()))
    return url.href if url else "", text, reason


@pytest.mark.parametrize(
    ("reference", "alt", "reason"),
    [
        ("x.jpg", "", "no_text"),
        ("x.jpg", " \n\x00 ", "no_text"),
        ("x.jpg", "boat", "text_too_short"),
        ("x.jpg", "x" * 10_001, "text_too_long"),
        ("data:image/png;base64,AAAA", ALT, "data_url"),
        (" DATA:image/png", ALT, "data_url"),
        ("javascript:void(0)", ALT, "not_http"),
        ("file:///c/x.jpg", ALT, "not_http"),
        ("about:blank", ALT, "not_http"),
        ("ftp://e.org/x.jpg", ALT, "not_http"),
        ("http://[::bad/x.jpg", ALT, "bad_url"),
        ("http://a b/x.jpg", ALT, "bad_url"),
        ("http://a..b/x.jpg", ALT, "bad_host"),
        (f"//{'a' * 64}.org/x.jpg", ALT, "bad_host"),
        ("", ALT, "bad_url"),
        ("#top", ALT, "bad_url"),
        ("x" * 2049, ALT, "url_too_long"),
        ("x.SVG", ALT, "extension"),
        ("x.gif?size=3", ALT, "extension"),
        ("favicon.ico#x", ALT, "extension"),
    ],
)
def test_reasons(reference: str, alt: str, reason: str) -> None:
    assert once(reference, alt) == ("", "", reason)


@pytest.mark.parametrize("reference", ["x.jpg", "x", "x.gif.jpg", "svg", "?f=x.svg", "x.svg/y"])
def test_kept(reference: str) -> None:
    url, text, reason = once(reference, f" {ALT} ")
    assert (text, reason) == (ALT, "")
    assert url.startswith("https://example.org/a/")


def test_the_config_sets_the_limits() -> None:
    config = parse(
        {
            "extract": {
                "min_text_characters": 3,
                "max_text_characters": 4,
                "max_url_characters": 30,
                "drop_extensions": [".PNG"],
            }
        }
    )
    assert once("x.jpg", "äöü", config)[2] == ""
    assert once("x.jpg", "ab", config)[2] == "text_too_short"
    assert once("x.jpg", "abcde", config)[2] == "text_too_long"
    assert once("y" * 8, "abc", config)[2] == ""
    assert once("y" * 9, "abc", config)[2] == "url_too_long"
    assert once("x.gif", "abc", config)[2] == ""
    assert once("x.png", "abc", config)[2] == "extension"


def test_a_page_whose_own_url_is_broken_has_only_bad_urls() -> None:
    assert decide("x.jpg", ALT, None, Rules.of(Config()))[2] == "bad_url"


@given(st.text(max_size=40), st.text(max_size=20))
def test_every_link_is_kept_or_dropped_for_one_reason(reference: str, alt: str) -> None:
    reference, alt = (
        value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        for value in (reference, alt)
    )
    url, text, reason = decide(reference, alt, BASE, Rules.of(Config()))
    assert (reason in REASONS) != bool(url)
    assert bool(url) == bool(text)
