"""robots.txt by RFC 9309, and opt-out headers."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laion_hpc.web import robots

US = "laion-hpc"


def rules(text: str, token: str = US) -> robots.Robots:
    return robots.parse(text.encode(), token)


def test_our_group_wins_over_everyones() -> None:
    text = "User-agent: *\nDisallow: /\n\nUser-Agent: LAION-HPC\nDisallow: /no\n"
    assert rules(text).allows("/yes")
    assert not rules(text).allows("/no/more")
    assert not rules(text, "otherbot").allows("/yes")


def test_an_empty_group_of_ours_allows_all() -> None:
    assert rules("User-agent: laion-hpc\nDisallow:\n\nUser-agent: *\nDisallow: /").allows("/x")


def test_several_agents_share_rules_and_groups_are_joined() -> None:
    text = """
        User-agent: a
        User-agent: laion-hpc/1.0
        Disallow: /one
        User-agent: b
        Disallow: /
        User-agent: laion-hpc
        Disallow: /two   # a comment
    """
    found = rules(text)
    assert not found.allows("/one") and not found.allows("/two") and found.allows("/three")


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("/fish", "/fish", True),
        ("/fish", "/fishheads/yummy.html", True),
        ("/fish", "/Fish.asp", False),
        ("/fish", "/catfish", False),
        ("/fish*", "/fish.html", True),
        ("/fish/", "/fish", False),
        ("/*.php", "/folder/filename.php?parameters", True),
        ("/*.php", "/windows.PHP", False),
        ("/*.php$", "/filename.php", True),
        ("/*.php$", "/filename.php?parameters", False),
        ("/*.php$", "/filename.php5", False),
        ("/fish*.php", "/fishheads/catfish.php?parameters", True),
        ("/fish*.php", "/Fish.PHP", False),
        ("*.jpg", "/a/b.jpg", True),
        ("/$", "/", True),
        ("/$", "/x", False),
        ("/a*a$", "/a", False),
        ("/a*a$", "/aa", True),
        ("/%7Ejoe/", "/~joe/index.html", True),
        ("/a%3cd.html", "/a%3Cd.html", True),
        ("/a%2fb.html", "/a/b.html", False),
        ("/ツ", "/%E3%83%84", True),
    ],
)
def test_patterns(pattern: str, path: str, matches: bool) -> None:
    """Google's published examples and RFC 9309's."""
    assert rules(f"User-agent: *\nDisallow: {pattern}").allows(path) is not matches


@pytest.mark.parametrize(
    ("lines", "path", "allowed"),
    [
        ("Allow: /p\nDisallow: /", "/page", True),
        ("Allow: /folder\nDisallow: /folder", "/folder/page", True),
        ("Allow: /page\nDisallow: /*.htm", "/page.htm", False),
        ("Allow: /$\nDisallow: /", "/", True),
        ("Allow: /$\nDisallow: /", "/page.htm", False),
    ],
)
def test_the_longest_pattern_decides(lines: str, path: str, allowed: bool) -> None:
    assert rules(f"User-agent: *\n{lines}").allows(path) is allowed


def test_byte_order_mark_line_ends_and_nonsense() -> None:
    text = b"\xef\xbb\xbfUser-agent: *\rDisallow: /a\r\nnonsense\nSitemap: x\nDisallow: /b\xff"
    found = robots.parse(text, US)
    assert not found.allows("/a") and found.allows("/c")


def test_a_hostile_pattern_costs_no_exponential_time() -> None:
    found = rules("User-agent: *\nDisallow: /" + "*a" * 500 + "$")
    before = time.process_time()
    assert found.allows("/" + "a" * 5_000 + "b")
    assert time.process_time() - before < 5


@given(st.binary(max_size=300), st.text(max_size=30))
def test_any_bytes_give_rules(text: bytes, path: str) -> None:
    assert robots.parse(text, US).allows("/" + path) in (True, False)


@given(st.lists(st.sampled_from(["/a", "/a*", "/b$", "/", "*", "/ab"]), max_size=5), st.text("ab"))
def test_without_disallow_all_is_allowed(patterns: list[str], path: str) -> None:
    text = "User-agent: *\n" + "".join(f"Allow: {pattern}\n" for pattern in patterns)
    assert rules(text).allows("/" + path)


def test_product_token() -> None:
    assert robots.product_token("Laion-HPC/0.1 (+https://example.org)") == US
    assert robots.product_token("bot (x)") == "bot"


@pytest.mark.parametrize(
    ("value", "word"),
    [
        ("noai", "noai"),
        ("NoImageAI", "noimageai"),
        ("nofollow, noindex", "noindex"),
        ("noimageindex", "noimageindex"),
        ("noml", "noml"),
        ("none", "noindex"),
        ("laion-hpc: noai", "noai"),
        ("*: noai", "noai"),
        ("otherbot: noai", ""),
        ("otherbot: nofollow, noai", ""),
        ("otherbot: noai, laion-hpc: noindex", "noindex"),
        ("unavailable_after: 25 Jun 2010 15:00:00 PST", ""),
        ("max-image-preview: large, noai", "noai"),
        ("all", ""),
        ("", ""),
    ],
)
def test_x_robots_tag(value: str, word: str) -> None:
    assert robots.opted_out([("x-robots-tag", value)], US) == word


def test_other_headers() -> None:
    assert robots.opted_out([("tdm-reservation", " 1")], US) == "tdm-reservation"
    assert robots.opted_out([("tdm-reservation", "0"), ("x-other", "noai")], US) == ""
    assert robots.opted_out([("x-robots-tag", "all"), ("x-robots-tag", "noml")], US) == "noml"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("User-agent: *\nCrawl-delay: 2.5", 2.5),
        ("User-agent: *\nCrawl-delay: 5\nUser-agent: laion-hpc\nCrawl-delay: 1", 1),
        ("User-agent: *\nCrawl-delay: 5\nUser-agent: laion-hpc\nDisallow: /x", 0),
        ("User-agent: other\nCrawl-delay: 5", 0),
        ("User-agent: laion-hpc\nUser-agent: other\nCrawl-delay: 3", 3),
        ("User-agent: *\nCrawl-delay: 86400", robots.MOST_DELAY),
        ("User-agent: *\nCrawl-delay: -1", 0),
        ("User-agent: *\nCrawl-delay: nan", 0),
        ("User-agent: *\nCrawl-delay: soon", 0),
    ],
)
def test_crawl_delay(text: str, seconds: float) -> None:
    assert robots.parse(text.encode(), "laion-hpc").crawl_delay == seconds
