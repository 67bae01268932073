"""URLs: agreement with an independent resolver on plain ones, browsers' rules on odd ones."""

from __future__ import annotations

from urllib.parse import urljoin

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laion_hpc.web.url import Base, extension_of, host_of

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
    assert Base(PAGE).resolve(reference) == (expected, None)


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
    assert Base(PAGE, href).resolve("x.jpg") == (expected, None)


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
    resolved, fault = Base(page).resolve(reference)
    assert fault is None
    assert resolved == urljoin(page, reference)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=50))
def test_whatever_comes_out_is_a_normal_form(reference: str) -> None:
    resolved, fault = Base(PAGE).resolve(reference)
    if fault is None:
        assert resolved.isascii() and resolved.isprintable() and " " not in resolved
        assert resolved.startswith(("http://", "https://"))
        assert "#" not in resolved and "@" not in resolved.split("/")[2]
        assert Base("http://other.org/").resolve(resolved) == (resolved, None)
        assert host_of(resolved) and host_of(resolved) == host_of(resolved).lower()
    else:
        assert resolved == ""


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
