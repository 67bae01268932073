"""`fast.read` gives what `batch.read` gives, whatever is in the WAT."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from laion_hpc.config import Config
from laion_hpc.stages.extract import batch, fast
from laion_hpc.stages.extract.batch import Batch
from laion_hpc.stages.extract.links import REASONS, Rules
from laion_hpc.stages.extract.records import Damage
from tests.stages.extract.fast.test_decide import bases, dates, link, other, reference, shuffled
from tests.stages.extract.test_real_wats import REAL
from tests.stages.extract.wats import page, payload, record, some_pages, write_wat

RULES = Rules.of(Config())


def whole(batches: Iterator[Batch]) -> tuple[Any, ...]:
    """All batches as one: counts, damage in order, and the rows with what their pages say."""
    counts: Counter[str] = Counter()
    lost: list[Damage] = []
    repaired: list[Damage] = []
    rows: list[tuple[Any, ...]] = []
    for one in batches:
        counts["read"] += one.read
        lost += one.lost
        repaired += one.repaired
        if one.links is None:
            continue
        links = one.links
        counts += links.dropped + Counter(images=links.images, pages=links.pages_with_images)
        columns = (links.url, links.host, links.text, links.title)
        for column in columns:
            assert column.type == pa.string()
            column.validate(full=True)
        rows += zip(
            [one.pages[number] for number in links.page.tolist()],
            links.position.tolist(),
            *(column.to_pylist() for column in columns),
            strict=True,
        )
    return counts, lost, repaired, rows


def both(wat: Path) -> tuple[Any, ...]:
    """What both give, which must be equal."""
    found = whole(fast.read(wat, RULES))
    assert found == whole(batch.read(wat, RULES))
    return found


html_pages = st.tuples(bases, reference, dates, st.lists(link | shuffled | other, max_size=5))
CC = "https://creativecommons.org/licenses/by/4.0/"
licence = {"path": "A@/href", "url": CC, "rel": "license"}
heads = st.sampled_from(
    [{}, {"Metas": [{"name": "HTML@/lang", "content": "de-AT"}]}, {"Metas": [{"content": "x"}]}]
)


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.tuples(html_pages, heads, st.booleans()), max_size=5), st.booleans())
def test_generated_pages(tmp_path: Path, pages: list[Any], gzipped: bool) -> None:
    made = [
        page(url, [*links, *([licence] if licensed else [])], head=head | {"Base": base}, date=date)
        for (url, base, date, links), head, licensed in pages
    ]
    both(write_wat(tmp_path / "w.warc.wat", made, gzipped=gzipped))


@pytest.mark.parametrize("seed", range(20))
def test_damaged_files(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    wat = write_wat(tmp_path / "w.warc.wat", some_pages(40), gzipped=seed % 4 != 3)
    data = bytearray(wat.read_bytes())
    for _ in range(draw.choice([1, 4, 20])):
        data[draw.randrange(20, len(data))] ^= 1 << draw.randrange(8)
    wat.write_bytes(data[: draw.randrange(len(data) // 2, len(data) + 1)])
    counts, lost, _, _ = both(wat)
    assert counts["read"] and (lost or seed % 4 == 3)


def test_broken_json_between_whole_pages(tmp_path: Path) -> None:
    good = [payload(one) for one in some_pages(6)]
    broken = [
        good[1][:-40],
        b'{"Envelope":{}}',
        b'{"no":"IMG@/src',
        b'{"cut": short',
        b"",
        good[2].replace(b'"alt":"a red', b'"alt":"\\q red', 1),
        good[3].replace(b'{"path":"IMG', b'{ "path":"IMG', 1),
        good[4].replace(b'"alt"', b'"alt":7,"alt"', 1),
    ]
    wat = tmp_path / "w.warc.wat.gz"
    pairs = zip(good * 2, broken, strict=False)
    wat.write_bytes(b"".join(record(one) for pair in pairs for one in pair))
    counts, lost, _, rows = both(wat)
    assert len(lost) >= 3 and counts["read"] + len(lost) == 16 and rows


@pytest.mark.parametrize("name", REAL)
def test_real_wats(testdata: Path, name: str) -> None:
    counts, lost, repaired, rows = both(testdata / "wat" / name)
    assert counts["images"] == len(rows) + sum(counts[reason] for reason in REASONS)
    assert not lost and bool(repaired) == name.startswith("hand-edited")
