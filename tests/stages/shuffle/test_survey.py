from __future__ import annotations

import hashlib
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from laion_hpc.errors import InputError
from laion_hpc.stages.shuffle.survey import survey
from laion_hpc.web.url import is_blocked
from tests.stages.shuffle.rows import row, write_part


@pytest.mark.parametrize(
    ("name", "blocked"),
    [
        ("bad.org", True),
        ("img.cdn.bad.org", True),
        ("notbad.org", False),
        ("bad.org.good.com", False),
        ("org", False),
        ("one.co.uk", True),
        ("co.uk", False),
    ],
)
def test_blocked_hosts_and_their_subdomains(name: str, blocked: bool) -> None:
    assert is_blocked(name, frozenset({"bad.org", "one.co.uk"})) is blocked
    assert not is_blocked(name, frozenset())


def test_what_is_surveyed(tmp_path: Path) -> None:
    urls = ["http://a.org/1", "http://img.bad.org/2", "http://a.org/1", "http://b.org/3"]
    first = write_part(tmp_path / "1", [], [row(urls[0], "äöü", segment="2.2"), row(urls[1])])
    second = write_part(
        tmp_path / "2", [row("http://x.org/")], [row(urls[2], "äöü!"), row(urls[3], wat="v")]
    )
    found = survey(
        [first, second],
        1,
        deduplicate_by="url",
        blocked_hosts=["BAD.org."],
        blocked_urls=frozenset({hashlib.sha256(urls[3].encode()).digest()}),
    )
    assert len(found) == 4
    assert found.blocked_host.tolist() == [False, True, False, False]
    assert found.blocked_url.tolist() == [False, False, False, True]
    assert found.length.tolist() == [3, 10, 4, 10]
    assert found.low[0] == found.low[2] and found.high[0] == found.high[2]
    assert len(set(found.low.tolist())) == len(set(found.high.tolist())) == 3
    assert found.host[0] == found.host[2] != found.host[3]
    # Ranks of (1.1, v), (1.1, w-0), (2.2, w-0).
    assert found.wat.tolist() == [2, 1, 1, 0]
    assert found.crawls == {"C-1"}


def test_what_makes_rows_the_same(tmp_path: Path) -> None:
    u = "http://a.org/"
    rows = [row(u, "t"), row(u, "t2"), row(u, "t", language="de"), row("http://b.org/", "t")]
    part = write_part(tmp_path / "p", rows)
    same = {
        by: len(set(survey([part], 0, deduplicate_by=by).low.tolist()))
        for by in ("url", "url+text", "url+language")
    }
    assert same == {"url": 2, "url+text": 3, "url+language": 3}


def test_files_that_are_missing_or_damaged_or_too_short_are_named(tmp_path: Path) -> None:
    part = write_part(tmp_path / "p", [row("u")])
    with pytest.raises(InputError, match="p: has 1 blocks, not one with number 3"):
        survey([part], 3, deduplicate_by="url")
    with pytest.raises(InputError, match="absent: no such file"):
        survey([tmp_path / "absent"], 0, deduplicate_by="url")
    old = tmp_path / "old"
    pq.write_table(pq.read_table(part).drop_columns("host"), old)
    with pytest.raises(InputError, match="old: no column host; run `extract` again"):
        survey([old], 0, deduplicate_by="url")
    part.write_bytes(part.read_bytes()[:-50])
    with pytest.raises(InputError, match="p: cannot be read"):
        survey([part], 0, deduplicate_by="url")
