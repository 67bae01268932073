"""The language of texts, and the class that follows from it."""

from __future__ import annotations

import random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from laion_hpc.config import Config, parse
from laion_hpc.files.schemas import LANGUAGE_CLASSES
from laion_hpc.language import CODES, UNDETERMINED, Detections
from laion_hpc.stages.extract.language_class import classify, language_columns

TEXTS = {
    "A man is riding a brown horse across the wide open field": "en",
    "Ein Mann reitet auf einem braunen Pferd über das weite Feld": "de",
    "Un homme monte un cheval brun à travers le grand champ": "fr",
    "Мужчина едет на коричневой лошади по широкому полю": "ru",
    "一个男人骑着一匹棕色的马穿过广阔的田野": "zh",
    "男の人が茶色の馬に乗って広い野原を走っています": "ja",
}
NONE = ("", 0.0, False, "nolang")


def columns(texts: list[str], config: Config | None = None) -> list[tuple[object, ...]]:
    found = language_columns(pa.array(texts, pa.string()), config or Config())
    return list(zip(*(column.to_pylist() for column in found), strict=True))


def test_languages_of_sentences() -> None:
    for (code, probability, reliable, kind), expected in zip(
        columns(list(TEXTS)), TEXTS.values(), strict=True
    ):
        assert code == expected
        assert reliable and isinstance(probability, float) and 0.7 <= probability <= 1
        assert kind == ("en" if code == "en" else "multi")


def test_nothing_to_go_by_is_no_language() -> None:
    assert columns(["12345678", "a", "#!?%$", "12 + 3 = 15"]) == [NONE] * 4
    assert columns([]) == []


def test_the_config_sets_threshold_and_limits() -> None:
    text = next(iter(TEXTS))
    strict = parse({"extract": {"language_min_probability": 1.0}})
    assert columns([text], strict)[0][0::3] == ("en", "nolang")
    long = parse({"extract": {"language_min_bytes": 500}})
    assert columns([text], long) == [NONE]


@given(
    st.lists(
        st.tuples(st.sampled_from(["en", "de", ""]), st.floats(0, 1, width=32), st.booleans())
    ),
    st.floats(0, 1),
)
def test_classes(answers: list[tuple[str, float, bool]], threshold: float) -> None:
    found = Detections(
        np.array([CODES.index(code) for code, _, _ in answers], np.uint8),
        np.array([probability for _, probability, _ in answers], np.float32),
        np.array([reliable for _, _, reliable in answers], np.bool_),
    )
    assert CODES[UNDETERMINED] == ""
    classes = [LANGUAGE_CLASSES[number] for number in classify(found, threshold)]
    for (code, probability, reliable), kind in zip(answers, classes, strict=True):
        sure = code != "" and reliable and probability >= np.float32(threshold)
        assert (kind != "nolang") == sure
        assert (kind == "en") == (sure and code == "en")


@pytest.mark.parametrize("seed", range(3))
def test_the_answer_depends_on_the_text_alone(seed: int) -> None:
    texts = [f"{text} {n}" for text in TEXTS for n in range(5)]
    alone = {text: columns([text])[0] for text in texts}
    draw = random.Random(seed)
    mixed = draw.choices(texts, k=60)
    assert columns(mixed) == [alone[text] for text in mixed]
