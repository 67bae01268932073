"""URLs: agreement with an independent resolver on plain ones, browsers' rules on odd ones."""

from __future__ import annotations

from urllib.parse import urljoin

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laion_hpc.web.url import (
    Base,
    Url,
    UrlError,
    blocked_set,
    canonical_host,
    domain_of,
    extension_of,
    host_of,
    is_blocked,
)

PAGE = "https://example.org/a/b.html?q=1"


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("x.jpg", "https://example.org/a/x.jpg"),
        ("/x.jpg", "https://example.org/x.jpg"),
        ("../x.jpg", "https://example.org/x.jpg"),
        ("../../../x.jpg", "https://example.org/x.jpg"),
        ("./c/./d/../x.jpg", "https://example.org/a/c/x.jpg"),
        ("?size=3", "https://example.org/a/b.html?size=3"),
        ("//cdn.org/x.jpg", "https://cdn.org/x.jpg"),
        ("http://CDN.org:80/x.jpg", "http://cdn.org/x.jpg"),
        ("http://cdn.org:8080/x.jpg", "http://cdn.org:8080/x.jpg"),
        ("https://cdn.org", "https://cdn.org/"),
        ("HTTPS:x.jpg", "https://example.org/a/x.jpg"),
        (" \n/x.jpg\t ", "https://example.org/x.jpg"),
        ("/a\nb\tc.jpg", "https://example.org/abc.jpg"),
        ("\\x\\y.jpg", "https://example.org/x/y.jpg"),
        ("my photo (1).jpg", "https://example.org/a/my%20photo%20(1).jpg"),
        ("bär.jpg?größe=ö", "https://example.org/a/b%C3%A4r.jpg?gr%C3%B6%C3%9Fe=%C3%B6"),
        ("%E4%f6.jpg", "https://example.org/a/%E4%f6.jpg"),
        ("100%.jpg", "https://example.org/a/100%.jpg"),
        ("http://münchen.de/x.jpg", "http://xn--mnchen-3ya.de/x.jpg"),
        ("http://例え.テスト/x.jpg", "http://xn--r8jz45g.xn--zckzah/x.jpg"),
        ("http://user:secret@cdn.org/x.jpg", "http://cdn.org/x.jpg"),
        ("http://user@cdn.org/x.jpg#y", "http://cdn.org/x.jpg"),
        ("x.jpg#part", "https://example.org/a/x.jpg"),
        ("http://[2001:DB8::1]/x.jpg", "http://[2001:db8::1]/x.jpg"),
        ("http://0x7f.1/x.jpg", "http://127.0.0.1/x.jpg"),
    ],
)
def test_references(reference: str, expected: str) -> None:
    assert Base(PAGE).resolve(reference).href == expected


@pytest.mark.parametrize(
    ("href", "expected"),
    [
        ("", "https://example.org/a/x.jpg"),
        ("/files/", "https://example.org/files/x.jpg"),
        ("//cdn.org/d/", "https://cdn.org/d/x.jpg"),
        ("http://cdn.org/d/e", "http://cdn.org/d/x.jpg"),
        ("data:text/plain,x", "https://example.org/a/x.jpg"),
        ("http://[broken", "https://example.org/a/x.jpg"),
        ("javascript:x()", "https://example.org/a/x.jpg"),
    ],
)
def test_base_href(href: str, expected: str) -> None:
    assert Base(PAGE, href).resolve("x.jpg").href == expected


@pytest.mark.parametrize("page", ["", "no url", "/relative", "http://[bad/"])
def test_a_broken_page_url_is_told(page: str) -> None:
    with pytest.raises(ValueError):
        Base(page)


label = st.from_regex(r"[a-z][a-z0-9]{0,6}", fullmatch=True)
host = st.lists(label, min_size=1, max_size=3).map(".".join)
word = st.from_regex(r"[A-Za-z0-9_~!$&()*+,;=@-][A-Za-z0-9_.~!$&()*+,;=@%-]{0,8}", fullmatch=True)
segment = word.filter(lambda text: text.lower().replace("%2e", ".").strip("."))
path = st.lists(segment | st.sampled_from([".", ".."]), min_size=1, max_size=5).map("/".join)
plain = st.lists(segment, min_size=1, max_size=5).map("/".join)  # urljoin leaves these as they are
query = st.one_of(st.just(""), word.map(lambda text: f"?{text}"))


@given(
    # A page's own dot segments are resolved first (WHATWG); urljoin keeps them.
    page=st.builds("http://{}/{}{}".format, host, plain, query),
    reference=st.one_of(
        st.builds("https://{}/{}{}".format, host, plain, query),
        st.builds("//{}/{}{}".format, host, plain, query),
        st.builds("/{}{}".format, path, query),
        st.builds("{}{}".format, path, query).filter(lambda text: ":" not in text),
    ),
)
def test_plain_references_resolve_as_rfc_3986_says(page: str, reference: str) -> None:
    if any(part.lower() in ("%2e", "%2e%2e", ".%2e", "%2e.") for part in reference.split("/")):
        return  # the URL standard takes these for dots, the RFC does not
    if reference.partition("?")[0].endswith(";"):
        return  # urljoin drops an empty parameter, which both standards keep
    assert Base(page).resolve(reference).href == urljoin(page, reference)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=50))
def test_whatever_comes_out_is_a_normal_form(reference: str) -> None:
    try:
        url = Base(PAGE).resolve(reference)
    except UrlError:
        return
    assert url.href.isascii() and url.href.isprintable() and " " not in url.href
    assert url.href.startswith(("http://", "https://"))
    assert "#" not in url.href and "@" not in url.href.split("/")[2]
    assert Url.parse(url.href) == Base("http://other.org/").resolve(url.href) == url
    assert url.href == f"{url.scheme}://{url.href.split('/')[2]}{url.target}"
    assert Url.parse(url.origin + url.target).origin == url.origin
    assert url.host and url.host == host_of(url.href) == canonical_host(url.host)


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("http://Cdn.EXAMPLE.org/x", "cdn.example.org"),
        ("http://example.org./x", "example.org"),
        ("http://example.org:80/x", "example.org"),
        ("http://example.org:8080/x", "example.org"),
        ("http://user:secret@example.org/x", "example.org"),
        ("http://ex%61mple.org/x", "example.org"),
        ("http://\uff45xample.org/x", "example.org"),
        ("http://ex\u00adample.org/x", "example.org"),
        ("http://b\u00fccher.de/x", "xn--bcher-kva.de"),
        ("http://fa\u00df.de/x", "xn--fa-hia.de"),
        ("http://XN--Bcher-KVA.de./x", "xn--bcher-kva.de"),
        ("http://0x7f.1/x", "127.0.0.1"),
        ("http://2130706433/x", "127.0.0.1"),
        ("http://127.0.0.1./x", "127.0.0.1"),
        ("http://[::FFFF:1.2.3.4]/x", "[::ffff:102:304]"),
        ("http://a_b.example.org/x", "a_b.example.org"),
        (f"http://{'a' * 63}.org/x", f"{'a' * 63}.org"),
    ],
)
def test_a_host_has_one_form(text: str, host: str) -> None:
    assert Url.parse(text).host == host == host_of(text) == canonical_host(host)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("http://a..b/x", "bad_host"),
        ("http://.a/x", "bad_host"),
        ("http://a../x", "bad_host"),
        ("http://./x", "bad_host"),
        (f"http://{'a' * 64}.org/x", "bad_host"),
        (f"http://{'.'.join(['a' * 49] * 6)}/x", "bad_host"),
        ("http://", "bad_url"),
        ("http://a b/x", "bad_url"),
        ("http://xn--a/x", "bad_url"),
        ("http://1.2.3.4.5/x", "bad_url"),
        ("http://a:99999/x", "bad_url"),
        ("http://\ud800/x", "bad_url"),
        ("/x", "bad_url"),
        ("ftp://a/x", "not_http"),
        ("data:x", "data_url"),
    ],
)
def test_what_is_no_url_of_a_host_is_told_by_name(text: str, reason: str) -> None:
    with pytest.raises(UrlError) as caught:
        Url.parse(text)
    assert caught.value.reason == reason
    assert host_of(text) == ""


def test_parts_of_a_url() -> None:
    url = Url.parse("HTTPS://u:p@Example.org.:8443/a/../b?c=/d#e")
    assert url.href == "https://example.org.:8443/b?c=/d"
    assert (url.scheme, url.port, url.target) == ("https", 8443, "/b?c=/d")
    assert url.authority == "example.org:8443" and url.origin == "https://example.org:8443"
    assert Url.parse("http://[::1]").origin == "http://[::1]"
    assert Url.parse("https://[::1]:80/").authority == "[::1]:80"


@pytest.mark.parametrize(
    "text", ["", " ", ".", "*", "a/b", "u@a", "a?b", "a\\b", "a..b", "a b", "*."]
)
def test_a_listed_host_that_is_none(text: str) -> None:
    with pytest.raises(UrlError):
        canonical_host(text)


@pytest.mark.parametrize("text", ["Bad.org", "bad.org.", ".bad.org", "*.bad.org", "bad.org:8080"])
def test_a_listed_host_covers_its_subdomains(text: str) -> None:
    blocked = blocked_set([text])
    assert blocked == {"bad.org"}
    for url in ("http://bad.org./x", "http://img.BAD.org:81/x"):
        assert is_blocked(host_of(url), blocked)
    assert not is_blocked("notbad.org", blocked)


@pytest.mark.parametrize(
    ("host", "domain"),
    [
        ("img.example.org", "example.org"),
        ("a.b.example.co.uk", "example.co.uk"),
        ("anna.github.io", "anna.github.io"),
        ("x.y.unknown-tld", "y.unknown-tld"),
        ("a.xn--p1ai", "a.xn--p1ai"),
        ("co.uk", "co.uk"),
        ("localhost", "localhost"),
        ("127.0.0.1", "127.0.0.1"),
        ("[2001:db8::1]", "[2001:db8::1]"),
    ],
)
def test_registrable_domains(host: str, domain: str) -> None:
    assert domain_of(host) == domain


@pytest.mark.parametrize(
    ("url", "extension"),
    [
        ("http://e.org/x.JPG", "jpg"),
        ("http://e.org/x.tar.gz?y.png", "gz"),
        ("http://e.org/x.svg/y", ""),
        ("http://e.org/", ""),
        ("http://e.org/.svg", "svg"),
    ],
)
def test_extension(url: str, extension: str) -> None:
    assert extension_of(url) == extension
