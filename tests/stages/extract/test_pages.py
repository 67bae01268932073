"""What is read from a record, in every era of the format."""

from __future__ import annotations

import json

import pytest

from laion_hpc.stages.extract.pages import BrokenRecordError, needs_decoding, read_page
from tests.stages.extract.wats import image, page, payload

OLD, NEW = "2015-01-27T10:00:00Z", "2023-11-28T10:00:00Z"


@pytest.mark.parametrize(
    ("date", "expected"),
    [
        (OLD, True),
        ("2019-07-31T23:59:59Z", True),
        ("2019-08-01T00:00:00Z", False),
        (NEW, False),
        ("", False),
    ],
)
def test_entities_are_decoded_for_records_from_before_august_2019(
    date: str, expected: bool
) -> None:
    assert needs_decoding(date) is expected
    one = page(
        links=[image("a.jpg?x=1&amp;y=2", "Q&amp;A &eacute; &#39;", title="&lt;b&gt;")],
        head={"Base": "http://b.org/?a&amp;b"},
        date=date,
    )
    found = read_page(payload(one))
    assert found is not None
    link = found.images[0]
    if expected:
        assert (link.url, link.alt, link.title) == ("a.jpg?x=1&y=2", "Q&A é '", "<b>")
        assert found.base == "http://b.org/?a&b"
    else:
        assert (link.url, link.alt) == ("a.jpg?x=1&amp;y=2", "Q&amp;A &eacute; &#39;")
        assert (link.title, found.base) == ("&lt;b&gt;", "http://b.org/?a&amp;b")


def test_only_images_in_their_order_and_only_responses() -> None:
    links = [image("1.jpg", "x"), {"path": "A@/href", "url": "/", "text": "IMG@/src"}]
    links += [image("2.jpg"), {"path": "IMG@/srcset", "url": "3.jpg"}]
    found = read_page(payload(page(links=links)))
    assert found is not None
    assert [(link.url, link.alt) for link in found.images] == [("1.jpg", "x"), ("2.jpg", "")]
    request = {"Envelope": {"Payload-Metadata": {"HTTP-Request-Metadata": {"x": "IMG@/src"}}}}
    assert read_page(payload(request)) is None
    assert read_page(b'{"Envelope":{}}') is None


def test_key_order_and_headers_that_are_lists_make_no_difference() -> None:
    one = page(links=[image("1.jpg", "alt", title="t")])
    turned = json.loads(json.dumps(one), object_pairs_hook=lambda pairs: dict(reversed(pairs)))
    turned["Envelope"]["Payload-Metadata"]["HTTP-Response-Metadata"]["Headers"] = {"Server": "a"}
    assert read_page(payload(one)) == read_page(payload(turned))


def test_page_language_and_base() -> None:
    head = {
        "Base": "/files/",
        "Metas": [{"name": "robots", "content": "x"}, {"name": "HTML@/lang", "content": " de-AT "}],
    }
    found = read_page(payload(page("http://e.org/p", [image("1.jpg")], head=head)))
    assert found is not None
    assert (found.url, found.base, found.language) == ("http://e.org/p", "/files/", "de-AT")


CC = "https://creativecommons.org/licenses"


@pytest.mark.parametrize(
    ("links", "head", "expected"),
    [
        ([image("1.jpg"), {"url": f"{CC}/by/4.0/"}], {}, f"{CC}/by/4.0/"),
        ([{"url": f"{CC}/by/4.0/"}, image("1.jpg")], {}, f"{CC}/by/4.0/"),
        (
            [{"url": f"{CC}/by/2.0/"}, {"url": f"{CC}/by-sa/4.0/", "rel": "nofollow License"}],
            {},
            f"{CC}/by-sa/4.0/",
        ),
        (
            [],
            {"Link": [{"url": "//creativecommons.org/publicdomain/zero/1.0/"}]},
            "https://creativecommons.org/publicdomain/zero/1.0/",
        ),
        ([], {"Metas": [{"name": "license", "content": f"see {CC}/by/4.0/"}]}, f"{CC}/by/4.0/"),
        ([{"url": "https://creativecommons.org/about/"}], {}, "?"),
        ([{"url": "http://share.me/?u=http://creativecommons.org/licenses/by/4.0/"}], {}, "?"),
        ([{"url": "http://notcreativecommons.org/licenses/by/4.0/"}], {}, "?"),
        ([{"text": "creativecommons.org/licenses/by/4.0"}], {}, "?"),
        ([], {}, "?"),
    ],
)
def test_license(links: list[dict[str, str]], head: dict[str, object], expected: str) -> None:
    found = read_page(payload(page(links=[image("0.jpg"), *links], head=head)))
    assert found is not None
    assert found.license == expected


def test_lone_surrogates_bad_utf8_and_control_characters_are_survived() -> None:
    one = payload(page(links=[image("1.jpg", "XYZ a boat"), image("2.jpg", "fine")]))
    for broken in (b"\\ud83d", b"\xff\xfe", b"\x01", b"\xed\xa0\xbd"):
        found = read_page(one.replace(b"XYZ", broken))
        assert found is not None
        assert [link.alt[-6:] for link in found.images] == ["a boat", "fine"]
        assert "".join(link.alt for link in found.images).encode()


def test_values_of_odd_types_are_left_out_and_cost_nothing_else() -> None:
    links = [
        {"path": "IMG@/src", "url": None, "alt": 7},
        {"path": "IMG@/src", "url": ["a.jpg", "b.jpg"], "alt": "first of two"},
        "no link at all",
        image("3.jpg", "fine"),
    ]
    one = page(links=links, head={"Metas": {"not": "a list"}, "Base": 3})  # type: ignore[arg-type]
    found = read_page(payload(one))
    assert found is not None
    assert [(link.url, link.alt) for link in found.images] == [
        ("", ""),
        ("a.jpg", "first of two"),
        ("3.jpg", "fine"),
    ]


@pytest.mark.parametrize(
    "broken", [b"", b"{", b'{"Envelope":{"x":1}', b"[]", b'{"Envelope":3}', b"[" * 100_000]
)
def test_broken_json_is_told(broken: bytes) -> None:
    with pytest.raises(BrokenRecordError):
        read_page(broken)


def test_only_the_given_stretch_is_read() -> None:
    one = payload(page(links=[image("1.jpg", "x")]))
    assert read_page(b"header" + one + b"\r\n\r\n", 6, 6 + len(one)) == read_page(one)
