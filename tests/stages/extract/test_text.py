from __future__ import annotations

import ftfy
import numpy as np
import pytest
from ftfy.badness import is_bad
from hypothesis import given
from hypothesis import strategies as st

from laion_hpc.stages.extract.text import _DOUBTFUL, ALONE, characters, clean


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("a red boat", "a red boat"),
        ("  a\t red \r\n boat\u3000\xa0", "a red boat"),
        ("a\x00\x07b\x7fc\x1bd\ufeffe\u2028f", "a b c d e f"),
        ("", ""),
        (" \n ", ""),
        ("caf\xc3\xa9 au lait", "café au lait"),
        ("\xe2\x80\x9chello\xe2\x80\x9d".encode().decode(), "“hello”"),
        ("that\x92s it\x85", "that’s it…"),
        ("schÃ¶ne GrÃ¼ÃŸe", "schöne Grüße"),
        ("voilÃ le bateau", "voilà le bateau"),
        ("РџСЂРёРІРµС‚ РјРёСЂ", "Привет мир"),
        # Nothing wrong with these: not a character may change.
        ("“quoted” ﬁne ｆｕｌｌ Ⅳ &amp; &lt;b&gt;", "“quoted” ﬁne ｆｕｌｌ Ⅳ &amp; &lt;b&gt;"),
        ("Größe äöü ÀÉÎ", "Größe äöü ÀÉÎ"),
        ("👩‍🚀 in space, نمی‌خواهم", "👩‍🚀 in space, نمی‌خواهم"),
        ("e\u0301 decomposed", "e\u0301 decomposed"),
        ("\ufffd here and there \ufffd", "\ufffd here and there \ufffd"),
    ],
)
def test_examples(raw: str, expected: str) -> None:
    assert clean(raw) == expected


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


@given(texts)
def test_clean_is_one_line_without_controls_and_stays_as_it_is(raw: str) -> None:
    text = clean(raw)
    assert text == " ".join(text.split())
    assert not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in text)
    assert clean(text) == text or not raw.isascii()


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126)))
def test_ascii_loses_nothing_but_superfluous_spaces(raw: str) -> None:
    assert clean(raw) == " ".join(raw.split(" ")).strip() or "  " in raw
    assert clean(raw).replace(" ", "") == raw.replace(" ", "")


@given(texts, st.sampled_from(["latin-1", "windows-1252", "windows-1251", "iso-8859-2"]))
def test_the_cheap_test_spares_no_text_that_ftfy_would_repair(text: str, codec: str) -> None:
    garbled = text.encode().decode(codec, "ignore")
    repaired = ftfy.fix_encoding(garbled)
    assert clean(garbled) == clean(repaired) or clean(garbled) == " ".join(repaired.split())


def test_the_table_of_characters_says_which_are_left_as_they_are() -> None:
    table = characters()
    left = [clean(f"a{chr(code)}b") == f"a{chr(code)}b" for code in range(len(table))]
    assert all(is_left for is_left, bits in zip(left, table.tolist(), strict=True) if bits & ALONE)
    assert np.count_nonzero(table & ALONE) > 60_000
    assert not any(table[ord(one)] & ALONE for one in "\n\x7f\x9f\xa0\u2028\ufeff\ud800")


@given(st.text(st.sampled_from("aвЂГўВЂ ΒΓ°œ’приёї€«»Ёћџ")))
def test_greek_and_cyrillic_alone_are_no_mojibake(text: str) -> None:
    alphabets = "".join(c for c in text if "\u0391" <= c <= "\u03ce" or "\u0410" <= c <= "\u0457")
    assert not is_bad(alphabets)
    if not _DOUBTFUL.search(text):
        assert not is_bad(text.replace("œ", "o"))
