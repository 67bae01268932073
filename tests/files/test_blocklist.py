"""Files of digests, as configs name them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laion_hpc.errors import UsageError
from laion_hpc.files.blocklist import read_digests

KINDS = {32: "MD5", 64: "SHA-256"}
DIGESTS = st.binary(min_size=16, max_size=16) | st.binary(min_size=32, max_size=32)


def test_no_path_is_no_list() -> None:
    assert read_digests("", "download.hash_blocklist", KINDS) == frozenset()


@given(st.lists(st.tuples(DIGESTS, st.booleans(), st.booleans())))
def test_case_comments_and_blank_lines_do_not_matter(
    tmp_path_factory: pytest.TempPathFactory, listed: list[tuple[bytes, bool, bool]]
) -> None:
    path = tmp_path_factory.mktemp("list") / "hashes.txt"
    lines = ["# é: asked for in June", ""]
    for digest, upper, comment in listed:
        line = digest.hex().upper() if upper else digest.hex()
        lines.append(f"  {line} # why" if comment else line)
    path.write_text("\n".join(lines), encoding="utf-8")
    assert read_digests(str(path), "key", KINDS) == {digest.hex() for digest, *_ in listed}


@pytest.mark.parametrize("line", ["abc", "g" * 64, "0" * 40, "0" * 64 + " 0", "é" * 32])
def test_a_line_that_is_no_digest_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "hashes.txt"
    path.write_text(f"{'0' * 64}\n{line}\n", encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        read_digests(str(path), "download.hash_blocklist", KINDS)
    assert str(caught.value) == (
        f"download.hash_blocklist: {path}:2: {line!r}: expected MD5 (32 hex digits) "
        "or SHA-256 (64 hex digits)"
    )


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "hashes.txt"
    with pytest.raises(UsageError, match=rf"key: {path}: no such file"):
        read_digests(str(path), "key", KINDS)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match=rf"key: {path}: not a text"):
        read_digests(str(path), "key", KINDS)
