"""Our answers beside those of CLD3's own binding."""

from __future__ import annotations

import json
import random
import re
import sys
from pathlib import Path

import gcld3
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from isal import igzip

from laion_hpc.demo.captions import LANGUAGES, caption
from laion_hpc.demo.scenes import random_scene
from laion_hpc.errors import UsageError
from laion_hpc.language import (
    CODES,
    UNDETERMINED,
    detect,
    detect_column,
    detect_utf8,
    identify,
)

CLOSE = 1e-5
"""Scores are float32, so that the last bit of one of 64 to 128 already changes a probability by
up to 8e-6: two orders of the same sum cannot agree better."""


def same_as_cld3(texts: list[str], min_bytes: int = 5, max_bytes: int = 2000) -> None:
    """Fails where language, reliability or probability differ."""
    found = detect(texts, min_bytes, max_bytes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(identify, "HAS_NUMBA", False)
        expected = detect(texts, min_bytes, max_bytes)
    for n, text in enumerate(texts):
        assert found.language[n] == expected.language[n], ascii(text)
        assert found.reliable[n] == expected.reliable[n], ascii(text)
        assert abs(found.probability[n] - expected.probability[n]) <= CLOSE, ascii(text)


def sentences() -> list[str]:
    """Captions of the demo's pictures, in all its languages."""
    draw = random.Random(3)
    return [caption(random_scene(draw), code, draw) for code in LANGUAGES for _ in range(12)]


ODD = [
    "",
    " ",
    "a",
    "12345 !?",
    "hello world",
    "Hello\0world, this is not read",
    "cut short here \ud800 and not read on",
    "\udfff",
    "a line\tand\nanother\fof\rthe text",
    "bell\x07rings",
    "non-character \ufffe in the middle of the text",
    "U+FFFD \ufffd is a character like any other",
    "emoji 😀😃 between 👩‍👩‍👧 words 🇩🇪",
    "ΑΒΓαβγ mixed with кириллица and 漢字 and 한국어 and עברית",
    "한국어 텍스트 漢字",
    "漢字漢字漢字 한국",
    "漢字αかな",
    "İstanbul’da ıssız ISSIZ",
    "ⰀⰁⰂ ꙀꙂ Ⱥⱦ Ⱦ",
    "e\u0301te\u0301 \u0301\u0302",
    "ﬁ ﬂ ｆｕｌｌ ｗｉｄｔｈ ﾊﾝｶｸ",
    "<b>bold</b> &amp; &eacute;t&eacute;",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "a b c d e f g h i j k l m n o p q r s t u v w x y z " * 3,
    "x" * 12_000,
    "é" * 6_000,
    "αa" * 4_000,
    "日本語" * 4_000,
    "😀" * 3_000 + " text",
    "the quick brown fox " * 600,
]


def test_sentences_and_oddities() -> None:
    texts = sentences()
    assert len(texts) > 100
    same_as_cld3(texts + ODD)
    same_as_cld3(texts + ODD, min_bytes=0)
    same_as_cld3(texts + ODD, min_bytes=30, max_bytes=31)


@pytest.mark.parametrize("limits", [(5, 2000), (140, 700), (0, 1), (0, 5), (3, 6), (5, 97)])
def test_long_and_repeated_texts(limits: tuple[int, int]) -> None:
    """So that snippets are taken and repetitions left out."""
    draw = random.Random(0)
    pool = sentences() + ODD[:20]
    long = [" ".join(draw.choices(pool, k=draw.randint(2, 150))) for _ in range(60)]
    repeated = [text * draw.randint(2, 200) for text in pool]
    same_as_cld3(long + repeated, *limits)


def test_every_character() -> None:
    """A tenth of all code points, each in three places."""
    texts = [f"{chr(code) * 3} abc {chr(code)}" for code in range(3, 0x110000, 10)]
    same_as_cld3(texts, min_bytes=0)


RANGES = [(0x20, 0x7E), (0xA0, 0x24F), (0x300, 0x52F), (0x590, 0x6FF), (0x900, 0xE7F),
          (0x1100, 0x11FF), (0x3040, 0x30FF), (0x4E00, 0x9FFF), (0xAC00, 0xD7FF)]  # fmt: skip
SCRIPTS = [st.characters(min_codepoint=low, max_codepoint=high) for low, high in RANGES]
ANY = st.characters(codec=None, exclude_categories=())
UNICODE = st.one_of(
    st.text(ANY),
    st.text(st.one_of(ANY, *SCRIPTS)),
    st.lists(st.sampled_from(SCRIPTS), min_size=1, max_size=2).flatmap(
        lambda scripts: st.text(st.one_of(st.just(" "), *scripts), max_size=300)
    ),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(UNICODE, max_size=20), st.integers(0, 40), st.integers(1, 300))
def test_any_unicode(texts: list[str], least: int, more: int) -> None:
    same_as_cld3(texts, least, least + more)


def test_alt_texts_of_real_pages(testdata: Path) -> None:
    texts: dict[str, None] = {}
    for wat in sorted(testdata.glob("wat/*.gz")) + sorted(testdata.glob("realweb/wat/**/*.gz")):
        try:
            data = igzip.decompress(wat.read_bytes())
        except (EOFError, ValueError, OSError):
            continue
        for literal in re.findall(rb'"alt":("(?:[^"\\]|\\.)+")', data):
            texts[json.loads(literal)] = None
    assert len(texts) > 10_000
    same_as_cld3(list(texts))


def test_the_answer_depends_on_the_text_alone() -> None:
    """To the last bit, whatever the batch."""
    texts = sentences() + ODD
    together = detect(texts)
    order = list(range(len(texts)))
    random.Random(1).shuffle(order)
    shuffled = detect([texts[n] for n in order])
    for column, other in zip(together, shuffled, strict=True):
        assert np.array_equal(column[order], other)
    for n in order[:50]:
        alone = detect([texts[n]])
        assert [column[0] for column in alone] == [column[n] for column in together]


def test_columns_and_bytes_give_the_same() -> None:
    texts = ["", *sentences(), "", "a"]
    expected = detect(texts)
    column = pa.array(["not asked for", *texts], pa.string())[1:]
    for other in (detect_column(column), detect_column(pa.array(texts, pa.string()))):
        assert all(np.array_equal(a, b) for a, b in zip(expected, other, strict=True))
    assert all(len(part) == 0 for part in detect_column(column[:0]))
    assert detect_column(pa.array(["", ""], pa.string())).language.tolist() == [UNDETERMINED] * 2
    assert all(len(part) == 0 for part in detect([]))


@pytest.mark.parametrize(
    "bad",
    [b"\x80", b"\xbf\xbf", b"\xc0\xaf", b"\xc3", b"\xe0\x80\xaf", b"\xe4\xb8", b"\xed\xa0\x80",
     b"\xf0\x80\x80\xaf", b"\xf0\x9f\x98", b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80", b"\xff"],
)  # fmt: skip
def test_what_follows_malformed_utf8_is_not_read(bad: bytes) -> None:
    german = "Ein Mann reitet auf einem braunen Pferd über das weite Feld ".encode()
    expected = detect_utf8(np.frombuffer(german, np.uint8), np.array([0, len(german)]))
    cld3 = gcld3.NNetLanguageIdentifier(5, 2000)
    for data in (german + bad + b" and this is English text", german + bad):
        found = detect_utf8(np.frombuffer(data, np.uint8), np.array([0, len(data)]))
        assert [part[0] for part in found] == [part[0] for part in expected]
        assert CODES[found.language[0]] == cld3.FindLanguage(data).language == "de"


def test_croatian_and_bosnian_are_reliable_sooner() -> None:
    draw = random.Random(2)
    words = ["konj", "polje", "čovjek", "jaše", "smeđi", "široko", "preko", "lijepo", "rijeka"]
    texts = [" ".join(draw.choices(words, k=draw.randint(2, 5))) for _ in range(400)]
    same_as_cld3(texts)
    found = detect(texts)
    between = (found.probability > 0.5) & (found.probability < 0.7)
    alike = np.isin(found.language, [CODES.index("hr"), CODES.index("bs")])
    assert found.reliable[between & alike].all() and (between & alike).any()
    assert not found.reliable[between & ~alike].any() and (between & ~alike).any()


@pytest.mark.parametrize("limits", [(-1, 5), (5, 5), (6, 5)])
def test_limits_that_make_no_sense(limits: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="min_bytes < max_bytes"):
        detect(["text"], *limits)


@pytest.mark.parametrize("offsets", [[], [0, 5], [-1, 3], [0, 3, 2]])
def test_offsets_outside_the_data(offsets: list[int]) -> None:
    with pytest.raises(ValueError, match="offsets"):
        detect_utf8(np.frombuffer(b"abcd", np.uint8), np.array(offsets, np.int64))


def test_without_numba_and_cld3_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identify, "HAS_NUMBA", False)
    monkeypatch.setitem(sys.modules, "gcld3", None)
    with pytest.raises(UsageError, match="cld3-py"):
        detect(["a red boat"])
