"""The compiled loop over hosts does what `Url.host` does."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from laion_hpc.stages.extract.fast.hosts import hosts_of
from laion_hpc.web.url import Base, Url, UrlError, host_of

label = st.from_regex(r"[a-z0-9][a-z0-9-]{0,6}", fullmatch=True)
name = st.lists(label, min_size=1, max_size=3).map(".".join)
host = name | name.map("{}.".format) | st.just("[2001:db8::1]")
port = st.sampled_from(["", ":8080", ":443"])
rest = st.sampled_from(["/", "/a:1/b.jpg", "/x//y?u=http://other.org/", "/@:80"])


@given(st.lists(st.builds("http://{}{}{}".format, host, port, rest), min_size=1, max_size=9))
def test_hosts_of_many_are_the_hosts_of_each(urls: list[str]) -> None:
    urls = [url for url in urls if host_of(url)]
    found = [Url.parse(url) for url in urls]
    assert hosts_of(pa.array([url.href for url in found], pa.string())).to_pylist() == [
        url.host for url in found
    ]


@given(st.text(max_size=30))
def test_hosts_of_whatever_extract_lets_through(reference: str) -> None:
    reference = reference.encode("utf-8", "replace").decode()
    try:
        url = Base("http://e.org/").resolve(reference)
    except UrlError:
        return
    assert hosts_of(pa.array([url.href])).to_pylist() == [url.host]
