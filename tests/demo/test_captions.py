"""Captions: recognised by CLD3, in agreement, true to the scene; names recognised by nothing."""

from __future__ import annotations

import random

import pytest

from laion_hpc.demo.captions import LANGUAGES, caption, distinct, name_only
from laion_hpc.demo.scenes import Scene, Thing, random_scene

gcld3 = pytest.importorskip("gcld3", reason="needs cld3-py")

COUNT = 400


@pytest.fixture(scope="module")
def detect() -> object:
    return gcld3.NNetLanguageIdentifier(min_num_bytes=5, max_num_bytes=2000)


def scenes(seed: int, count: int = COUNT) -> list[Scene]:
    rng = random.Random(seed)
    return [random_scene(rng) for _ in range(count)]


def alone(shape: str, colour: str, background: str = "brick") -> Scene:
    return Scene((Thing(shape, colour),), "alone", background)


def captions_of(scene: Scene, language: str) -> set[str]:
    """All captions that a scene can get."""
    rng = random.Random(0)
    return {caption(scene, language, rng) for _ in range(120)}


def test_the_languages_that_others_rely_on() -> None:
    assert set(LANGUAGES) >= {"en", "de", "fr", "es", "ru", "zh", "ja"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_cld3_recognises_the_language(language: str, detect: object) -> None:
    rng = random.Random(11)
    right = 0
    for i, scene in enumerate(scenes(10)):
        text = caption(scene, language, rng, watermark=i % 12 == 0, hazard=i % 12 == 1)
        found = detect.FindLanguage(text)  # type: ignore[attr-defined]
        right += found.language == language and found.is_reliable and found.probability >= 0.7
    assert right / COUNT >= 0.96


def test_cld3_recognises_no_language_in_names(detect: object) -> None:
    reliable = 0
    for scene in scenes(12):
        found = detect.FindLanguage(name_only(scene))  # type: ignore[attr-defined]
        reliable += found.is_reliable and found.probability >= 0.7
    assert reliable / COUNT <= 0.04


@pytest.mark.parametrize("language", LANGUAGES)
def test_captions_are_long_enough_and_clean(language: str) -> None:
    rng = random.Random(13)
    for scene in scenes(13, 200):
        text = caption(scene, language, rng, watermark=True, hazard=True)
        assert len(text.encode()) >= 25
        assert text == text.strip()
        assert "  " not in text
        assert "{" not in text


@pytest.mark.parametrize("language", LANGUAGES)
def test_four_patterns_or_more(language: str) -> None:
    for scene in scenes(14, 20):
        assert len(captions_of(scene, language)) >= 4


@pytest.mark.parametrize("language", LANGUAGES)
def test_different_scenes_have_different_captions(language: str) -> None:
    several = list(dict.fromkeys(scenes(15, 60)))
    seen: dict[str, Scene] = {}
    for scene in several:
        for text in captions_of(scene, language):
            assert seen.setdefault(text, scene) == scene


def test_names_are_different_for_different_scenes() -> None:
    several = set(scenes(16, 3000))
    assert len({name_only(scene) for scene in several}) == len(several)


@pytest.mark.parametrize("language", LANGUAGES)
def test_overlays_are_mentioned_now_and_then(language: str) -> None:
    scene = alone("star", "red")
    plain = captions_of(scene, language)
    rng = random.Random(17)
    texts = [caption(scene, language, rng, watermark=True) for _ in range(300)]
    mentioned = sum(text not in plain for text in texts) / len(texts)
    assert 0.25 < mentioned < 0.55


@pytest.mark.parametrize(
    ("language", "scene", "expected"),
    [
        ("en", alone("umbrella", "orange"), "An orange umbrella in front of a brick wall"),
        ("de", alone("house", "green"), "Ein Bild mit einem grünen Haus vor einer Ziegelmauer"),
        ("de", alone("heart", "red"), "Ein Bild mit einem roten Herzen vor einer Ziegelmauer"),
        ("de", alone("star", "red"), "Diese Zeichnung zeigt einen roten Stern vor einer "
         "Ziegelmauer."),
        ("fr", alone("house", "green"), "Il y a une maison verte devant un mur de briques"),
        ("es", alone("moon", "black"), "Aquí hay una media luna negra delante de una pared de "
         "ladrillos"),
        ("it", alone("car", "white"), "Un'automobile bianca davanti a un muro di mattoni"),
        ("pt", alone("cup", "purple"), "Aqui há uma xícara roxa em frente a uma parede de "
         "tijolos"),
        ("nl", alone("house", "white"), "Een afbeelding van een wit huis voor een bakstenen muur"),
        ("zh", alone("tree", "green"), "这张图片里有一棵绿色的圣诞树，背景是砖墙。"),
        ("ja", alone("star", "red"), "レンガの壁を背景にした赤い星のイラスト"),
        ("ko", alone("star", "red"), "이 그림에는 벽돌 벽을 배경으로 빨간색 별이 있습니다."),
        (
            "de",
            Scene((Thing("tree", "blue"),), "three", "sea"),
            "Ein Bild mit drei blauen Tannenbäumen vor den Wellen des Meeres",
        ),
        (
            "ru",
            Scene((Thing("star", "blue"), Thing("boat", "blue")), "above", "sea"),
            "На этой картинке изображена синяя звезда над синим парусником на фоне морских волн",
        ),
        (
            "ru",
            Scene((Thing("balloon", "red"),), "three", "brick"),
            "На этой картинке изображены три красных воздушных шара на фоне кирпичной стены",
        ),
        (
            "pl",
            Scene((Thing("car", "blue"), Thing("heart", "red")), "left", "brick"),
            "Kolorowy obrazek: niebieski samochód na lewo od czerwonego serca na tle ceglanego "
            "muru",
        ),
        (
            "fr",
            Scene((Thing("flower", "white"), Thing("boat", "black")), "left", "brick"),
            "Il y a une fleur blanche à gauche d'un voilier noir devant un mur de briques",
        ),
    ],
)  # fmt: skip
def test_agreement(language: str, scene: Scene, expected: str) -> None:
    assert expected in captions_of(scene, language)


def test_distinct_is_symmetric_and_never_true_of_the_same_scene() -> None:
    several = scenes(18)
    for a, b in zip(several[::2], several[1::2], strict=True):
        assert distinct(a, b) == distinct(b, a)
        assert not distinct(a, a)


def test_distinct_wants_more_than_another_colour() -> None:
    assert not distinct(alone("star", "red"), alone("star", "blue"))
    assert not distinct(alone("star", "red"), alone("star", "red", "sea"))
    assert distinct(alone("star", "red"), alone("fish", "blue", "sea"))


def test_most_random_scenes_are_distinct() -> None:
    several = scenes(19)
    pairs = list(zip(several[::2], several[1::2], strict=True))
    assert sum(distinct(a, b) for a, b in pairs) / len(pairs) > 0.5
