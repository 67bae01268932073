from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laion_hpc.extract import language
from laion_hpc.extract.language import NO_LANGUAGE, Identifier, classify
from laion_hpc.schemas import LANGUAGE_CLASSES

TEXTS = {
    "A man is riding a brown horse across the wide open field": "en",
    "Ein Mann reitet auf einem braunen Pferd über das weite Feld": "de",
    "Un homme monte un cheval brun à travers le grand champ": "fr",
    "Мужчина едет на коричневой лошади по широкому полю": "ru",
    "一个男人骑着一匹棕色的马穿过广阔的田野": "zh",
    "男の人が茶色の馬に乗って広い野原を走っています": "ja",
}


def identifier() -> Identifier:
    return Identifier(5, 2000, 0.7)


@pytest.mark.parametrize("text", TEXTS)
def test_languages_of_sentences(text: str) -> None:
    found = identifier()(text)
    assert found.code == TEXTS[text]
    assert found.reliable and 0.7 <= found.probability <= 1
    assert found.kind == ("en" if found.code == "en" else "multi")


@pytest.mark.parametrize("text", ["12345678", "a", "#!?%$", "12 + 3 = 15"])
def test_nothing_to_go_by_is_no_language(text: str) -> None:
    assert identifier()(text) == NO_LANGUAGE


@given(st.sampled_from(["en", "de", "und", ""]), st.floats(0, 1), st.booleans(), st.floats(0, 1))
def test_classes(code: str, probability: float, reliable: bool, threshold: float) -> None:
    found = classify(code, probability, reliable, threshold)
    assert found.kind in LANGUAGE_CLASSES
    sure = code not in ("und", "") and reliable and probability >= threshold
    assert (found.kind != "nolang") == sure
    assert (found.kind == "en") == (sure and code == "en")


def test_the_answer_depends_on_the_text_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"{text} {n}" for text in TEXTS for n in range(20)]
    alone = {text: identifier()(text) for text in texts}
    monkeypatch.setattr(language, "CACHED_TEXTS", 7)
    one = identifier()
    for seed in range(3):
        random.Random(seed).shuffle(texts)
        assert {text: one(text) for text in texts} == alone
