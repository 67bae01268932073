"""The compiled decisions on many links are those of `links.decide` on each of them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laion_hpc.config import Config, parse
from laion_hpc.stages.extract.fast.decide import Decider, StrangePagesError
from laion_hpc.stages.extract.links import Rules, decide
from laion_hpc.stages.extract.pages import read_outline, read_page, whole_outline
from laion_hpc.stages.extract.text import clean
from laion_hpc.web.url import Base
from tests.stages.extract.wats import image, page, payload

RULES = Rules.of(Config())
DECIDE = Decider(RULES)
Row = tuple[int, int, str, str, str, str]


def one_by_one(records: list[bytes], rules: Rules = RULES) -> tuple[list[Row], Counter[str]]:
    rows: list[Row] = []
    dropped: Counter[str] = Counter()
    for number, record in enumerate(records):
        found = read_page(record)
        assert found is not None
        try:
            base = Base(found.url, found.base)
        except ValueError:
            base = None
        for position, link in enumerate(found.images):
            url, text, reason = decide(link.url, link.alt, base, rules)
            if url is None:
                dropped[reason] += 1
            else:
                title = clean(link.title)
                rows.append((number, position, url.href, url.host, text, title))
    return rows, dropped


def at_once(records: list[bytes], decider: Decider = DECIDE) -> tuple[list[Row], Counter[str]]:
    outlines = [read_outline(record) for record in records]
    strange: list[int] = []
    while True:
        try:
            found = decider([one for one in outlines if one is not None])
            break
        except StrangePagesError as error:
            assert not set(strange) & set(error.pages)  # never the same page twice
            strange += error.pages
            for number in error.pages:
                outlines[number] = whole_outline(records[number])
    assert found.images == len(found.page) + found.dropped.total()
    columns = (found.page.tolist(), found.position.tolist(), *map(pa_list, found[5:]))
    return list(zip(*columns, strict=True)), found.dropped


def pa_list(column: Any) -> list[str]:
    column.validate(full=True)
    return list(column.to_pylist())


# Pieces that matter to URLs, and to the scan of JSON.
PIECES = (
    "http: https: HTTP: // / \\ . .. ... %2e %2E. ? # & &amp; : @ a b x.jpg y.SVG gif .png . "
    "cdn.org CDN.org xn--a xn--mnchen-3ya.de münchen 127.0.0.1 0x7f 1 :80 :8080 data: data:image "
    'javascript: e.org -a.org a_b.org a..b [ ] | ^ \' " { } {" } , "path":"IMG@/src" IMG@/src '
    "ä 例 é \t \n ; = + ~ % %zz %20 � 1.2.3 localhost w.x-y.z # #a Ã ’ при Ξέ Ђ 🚀"
)
PIECES += " " + "a" * 64  # a label too long for DNS
piece = st.sampled_from(PIECES.split(" ")) | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=3
)
reference = st.lists(piece, max_size=7).map("".join)
wild = st.lists(piece | st.just(" "), max_size=9).map("".join)
bases = st.sampled_from(
    ["http://e.org/a/b/c.html", "https://e.org", "https://u:p@e.org/x/", "http://e.org:81/x?y/z",
     "ftp://e.org/x", "", "no url", "http://bücher.de/ü/",
     "http://e.org./a/", "http://e..org/a/", "http://[::1]:80/a"]
)  # fmt: skip
link = st.builds(
    lambda url, alt, title: {"path": "IMG@/src", "url": url, "alt": alt, "title": title},
    reference,
    wild,
    wild,
)
other = st.sampled_from(
    [{"path": "A@/href", "url": "/x", "text": 'IMG@/src "IMG@/src" {"path":"IMG@/src"}'},
     {"path": "IMG@/src"}, {"path": "IMG@/longdesc", "url": "x"}, {"url": "IMG@/src"},
     {"path": "IMG@/src", "url": "x.jpg", "alt": "with more", "srcset": ["a", {"b": 1}]},
     {"path": "IMG@/src", "url": None, "alt": 3}, {"x": {"y": "z"}, "path": "IMG@/src"},
     {"path": "FORM@/action", "url": "/"}]
)  # fmt: skip
dates = st.sampled_from(["2015-01-27T10:00:00Z", "2023-11-28T10:00:00Z"])
shuffled = link.flatmap(lambda one: st.permutations(list(one.items())).map(dict))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(bases, reference, dates, st.lists(link | shuffled | other, max_size=6)),
        min_size=1,
        max_size=4,
    )
)
def test_many_at_once_are_decided_as_each_alone(pages: list[Any]) -> None:
    records = [
        payload(page(url, links, head={"Base": base} if base else {}, date=date))
        for url, base, date, links in pages
    ]
    assert at_once(records) == one_by_one(records)


@pytest.mark.parametrize("base", ["https://e.org:81/a/b/c.html?q/r", "http://u:p@e.org/x/"])
def test_all_pairs_of_pieces(base: str) -> None:
    """Exhaustive where the kernel is at its limits: each rule of it decides some of these."""
    patterns = (
        "{}{}",
        "x/{}{}",
        "/x/{}{}",
        "//cdn.org/{}{}",
        "http://{}{}/x.jpg",
        "http://a.{}.{}/x",
        "http://{}.:81/x",
    )
    pieces = PIECES.split(" ")
    references = [
        pattern.format(one, two) for pattern in patterns for one in pieces for two in pieces
    ]
    records = [payload(page(base, [image(one, "a red boat") for one in references]))]
    texts = [f"{one}{gap}{two}" for gap in ("", " ", "  ") for one in pieces for two in pieces]
    for date in ("2015-01-27T10:00:00Z", "2023-11-28T10:00:00Z"):
        links = [image("x&amp;y.jpg", one, title=one) for one in texts]
        records.append(payload(page(base, links, date=date)))
    assert at_once(records) == one_by_one(records)


@settings(max_examples=150, deadline=None)
@given(st.lists(reference, min_size=1, max_size=30), bases)
def test_urls_of_all_kinds(references: list[str], base: str) -> None:
    record = payload(page(base, [image(one, "a red boat") for one in references]))
    assert at_once([record]) == one_by_one([record])


plain = st.from_regex(
    r"(https?://|//)?([a-z0-9-]{1,5}\.){0,2}[a-z]{1,3}/([A-Za-z0-9_.~!$&'()*+,;=:@%-]{0,6}/){0,3}"
    r"[a-z.]{0,8}(\?[A-Za-z0-9/?%&=.:]{0,9})?",
    fullmatch=True,
)


@settings(max_examples=100, deadline=None)
@given(st.lists(plain, min_size=1, max_size=30), bases)
def test_urls_that_are_nearly_plain(references: list[str], base: str) -> None:
    record = payload(page(base, [image(one, "a red boat") for one in references]))
    assert at_once([record]) == one_by_one([record])


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=12), st.sampled_from(["url", "alt", "title", "text"]), dates)
def test_raw_bytes_in_strings(noise: bytes, where: str, date: str) -> None:
    links = [
        {"path": "A@/href", "url": "/n", "text": "text" if where != "text" else "NOISE"},
        {
            **image("x.jpg", "a red boat", title="t"),
            **({} if where == "text" else {where: "NOISE"}),
        },
        image("y.jpg", "a blue boat"),
    ]
    record = payload(page(links=links, date=date)).replace(b"NOISE", noise)
    try:
        expected = one_by_one([record])
    except Exception as error:  # a record that is refused as a whole is refused as a whole
        if where == "text":
            return  # nothing that is used is wrong: what is read of it counts
        with pytest.raises(type(error)):
            at_once([record])
        return
    assert at_once([record]) == expected


def test_the_config_sets_the_limits() -> None:
    keys = {
        "min_text_characters": 3,
        "max_text_characters": 12,
        "max_url_characters": 40,
        "drop_extensions": [".PNG", "", "j"],
    }
    rules = Rules.of(parse({"extract": keys}))
    references = [
        "x.jpg",
        "x.png",
        "x.PNG?y",
        "x",
        "x.",
        "x.j",
        "x.jp",
        "y" * 17 + ".jpg",
        "/x.a/b",
    ]
    references += ["http://example.org/" + "z" * n for n in (17, 18)]
    texts = ["ab", "abc", "x" * 12, "x" * 13, "äöü", "ä" * 13]
    record = payload(page(links=[image(r, t) for r in references for t in texts]))
    found = at_once([record], Decider(rules))
    assert found == one_by_one([record], rules)
    assert set(found[1]) == {"text_too_short", "text_too_long", "url_too_long", "extension"}


def test_blocked_hosts_and_their_subdomains() -> None:
    rules = Rules.of(parse({"extract": {"blocked_hosts": ["Bad.org.", "other.de"]}}))
    references = ["http://bad.org/1.jpg", "//img.bad.org/2.jpg", "http://notbad.org/3.jpg", "4.jpg"]
    references += ["http://BAD.org.:80/5 6.jpg", "http://bad.org.uk/7.jpg", "data:x"]
    here = payload(page("http://good.org/", [image(one, "a red boat") for one in references]))
    there = payload(page("http://www.bad.org/", [image(one, "a red boat") for one in references]))
    found = at_once([here, there], Decider(rules))
    assert found == one_by_one([here, there], rules)
    assert found[1] == {"blocked_host": 3 + 4, "data_url": 2}


def test_json_with_white_space_is_read_the_thorough_way() -> None:
    one = page(links=[image("x.jpg", "a red boat"), {"path": "A@/href", "url": "/"}])
    indented = msgspec.json.format(payload(one), indent=2)
    plain = payload(one)
    assert at_once([plain, indented, plain]) == one_by_one([plain, indented, plain])


def test_many_pages_keep_apart() -> None:
    records = [
        payload(page(f"http://h{n}.org/d{n}/", [image(f"{i}.jpg", f"boat {i}") for i in range(n)]))
        for n in range(30)
    ]
    assert at_once(records) == one_by_one(records)
    assert len(at_once(records)[0]) == sum(range(30))
