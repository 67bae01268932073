"""Bodies within limits, whatever the chunks."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

import brotli
import pytest
from hypothesis import given
from hypothesis import strategies as st

from laion_hpc.web.body import LARGE_BODY, Body

DATA = b"some image" * 300


def bare(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


PACKED = {
    "": DATA,
    "gzip": gzip.compress(DATA),
    "deflate": zlib.compress(DATA),
    "bare": bare(DATA),
    "br": brotli.compress(DATA),
}


def feed(body: Body, data: bytes, size: int) -> str:
    for start in range(0, len(data), size):
        if not body.feed(data[start : start + size]):
            break
    return body.finish()


@given(
    st.sampled_from(["", "gzip", "deflate", "bare", "br"]),
    st.integers(1, 5_000),
    st.integers(0, 4_000),
)
def test_any_chunks_and_any_limit(encoding: str, chunk: int, limit: int) -> None:
    packed = PACKED[encoding]
    name = "deflate" if encoding == "bare" else encoding
    body = Body({"content-encoding": name} if name else {}, limit)
    reason = feed(body, packed, chunk)
    if limit >= len(DATA):
        assert (reason, bytes(body.data)) == ("", DATA)
    else:
        assert reason == "too_large"
        # A byte beyond the limit is all that is ever unpacked.
        assert len(body.data) <= limit + 1
        assert body.counted == limit


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("br", brotli.compress)])
def test_a_bomb_is_not_unpacked(encoding: str, pack: Callable[[bytes], bytes]) -> None:
    body = Body({"content-encoding": encoding}, 1_000)
    assert feed(body, pack(bytes(10_000_000)), 65_536) == "too_large"
    assert len(body.data) == 1_001


@pytest.mark.parametrize("encoding", ["zstd", "gzip, gzip", "gzip, br", "BR,br", "compress"])
def test_unreadable_encodings(encoding: str) -> None:
    assert Body({"content-encoding": encoding}, 1_000).refused == "bad_encoding"


@pytest.mark.parametrize("encoding", ["identity", "none", "utf-8", "", "binary, identity"])
def test_names_that_are_no_encoding(encoding: str) -> None:
    body = Body({"content-encoding": encoding}, 10_000)
    assert not body.refused and feed(body, DATA, 100) == "" and body.data == DATA


@pytest.mark.parametrize("encoding", ["gzip", "br"])
def test_damaged_bodies(encoding: str) -> None:
    for data in (b"\xff neither of both", DATA, PACKED[encoding][:-20]):
        assert feed(Body({"content-encoding": encoding}, 10_000), data, 64) == "bad_encoding"


def test_what_follows_a_brotli_stream_is_ignored() -> None:
    body = Body({"content-encoding": "br"}, 10_000)
    assert feed(body, PACKED["br"] + b"more", len(PACKED["br"])) == "" and body.data == DATA


def test_declared_lengths() -> None:
    assert Body({"content-length": "1001"}, 1_000).refused == "too_large"
    assert Body({"content-length": "9" * 50}, 1_000).refused == "too_large"
    assert not Body({"content-length": "nonsense"}, 1_000).refused
    assert Body({"content-length": str(LARGE_BODY + 1)}, 10**9).is_large
    assert not Body({"content-length": "10"}, 10**9).is_large


def test_cut_instead_of_refused() -> None:
    body = Body({"content-length": "5000"}, 100, cut=True)
    assert not body.refused and feed(body, DATA, 64) == "" and body.data == DATA[:100]
