"""Captions of the demo's pictures: in a dozen languages, and as invented product names.

`caption` tells all that a picture shows: objects, colours, layout and background. `name_only`
codes the same in names of no language, as half of the web's alt texts do, and `distinct` says
which scenes differ enough for the demo's model to tell them apart.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from laion_hpc.demo import captions_asian, captions_germanic, captions_romance, captions_slavic
from laion_hpc.demo.scenes import Scene, Thing

__all__ = ["LANGUAGES", "caption", "distinct", "name_only"]

_WRITERS: dict[str, Callable[[Scene, random.Random], str]] = {
    "en": captions_germanic.english,
    "de": captions_germanic.german,
    "fr": captions_romance.french,
    "es": captions_romance.spanish,
    "ru": captions_slavic.russian,
    "zh": captions_asian.chinese,
    "ja": captions_asian.japanese,
    "it": captions_romance.italian,
    "pt": captions_romance.portuguese,
    "nl": captions_germanic.dutch,
    "pl": captions_slavic.polish,
    "ko": captions_asian.korean,
}

LANGUAGES: tuple[str, ...] = tuple(_WRITERS)
"""BCP-47 codes, spelt as CLD3 spells them."""

# Captions speak of an overlay now and then only, as on the web.
_MENTION_ODDS = 0.4

_WATERMARK_WORDS = {
    "en": "stock photo with watermark",
    "de": "Stockfoto mit Wasserzeichen",
    "fr": "photo de stock avec filigrane",
    "es": "foto de stock con marca de agua",
    "ru": "стоковое фото с водяным знаком",
    "zh": "带水印的图库图片",
    "ja": "透かし入りのストック写真",
    "it": "foto stock con filigrana",
    "pt": "foto de banco de imagens com marca d'água",
    "nl": "stockfoto met watermerk",
    "pl": "zdjęcie stockowe ze znakiem wodnym",
    "ko": "워터마크가 있는 스톡 사진",
}
_HAZARD_WORDS = {
    "en": "with a danger warning sign",
    "de": "mit einem Warnschild vor Gefahr",
    "fr": "avec un panneau de danger",
    "es": "con una señal de peligro",
    "ru": "со знаком опасности",
    "zh": "带有危险警告标志",
    "ja": "危険の警告マーク付き",
    "it": "con un segnale di pericolo",
    "pt": "com um sinal de perigo",
    "nl": "met een waarschuwingsbord voor gevaar",
    "pl": "ze znakiem ostrzegającym o niebezpieczeństwie",
    "ko": "위험 경고 표시가 있음",
}


def caption(
    scene: Scene,
    language: str,
    rng: random.Random,
    *,
    watermark: bool = False,
    hazard: bool = False,
) -> str:
    """A true caption of the scene in one of `LANGUAGES`, in one of its sentence patterns.

    With `watermark` or `hazard`, which say what lies over the picture, some captions mention it.
    """
    text = _WRITERS[language](scene, rng)
    extras = []
    if hazard and rng.random() < _MENTION_ODDS:
        extras.append(_HAZARD_WORDS[language])
    if watermark and rng.random() < _MENTION_ODDS:
        extras.append(_WATERMARK_WORDS[language])
    if extras:
        full = language in ("zh", "ja")
        comma = "，" if language == "zh" else "、" if full else ", "
        opened, closed = ("（", "）") if full else (" (", ")")
        stop = text[-1] if text[-1] in ".。" else ""
        text = f"{text.removesuffix(stop)}{opened}{comma.join(extras)}{closed}{stop}"
    return text[0].upper() + text[1:]


# The names were searched for so that CLD3 recognises no language in what is built of them.
_SHAPE_NAMES = {
    "star": "Whovist",
    "heart": "Yakon",
    "tree": "Sevo",
    "house": "Ijujuck",
    "boat": "Ijutodt",
    "fish": "Morust",
    "car": "Tatidt",
    "cup": "Ijegiz",
    "flower": "Jeqar",
    "moon": "Ejubin",
    "umbrella": "Jerick",
    "balloon": "Aeuzack",
    "mushroom": "Jebust",
    "rocket": "Ijudor",
    "butterfly": "Kveciz",
    "crown": "Ijevist",
}
_COLOUR_NAMES = {
    "red": "Ovix",
    "orange": "Ovo",
    "yellow": "Odi",
    "green": "Puz",
    "blue": "Puth",
    "purple": "Oga",
    "pink": "Upuz",
    "white": "Lu",
    "black": "Kuz",
}
_MODEL_NUMBERS = {
    "brick": "IH-10",
    "wood": "RVI-17",
    "sea": "FPJ-24",
    "night": "SU-31",
    "sunset": "PTP-38",
    "sky": "GDJ-45",
    "meadow": "HL-52",
    "desert": "MJJ-59",
    "snow": "WVI-66",
    "checker": "SUD-73",
}


def name_only(scene: Scene) -> str:
    """A product name, in no language, that codes the whole scene: "Sevo Puz RVI-17"."""

    def name(thing: Thing) -> str:
        return f"{_SHAPE_NAMES[thing.shape]} {_COLOUR_NAMES[thing.colour]}"

    joint = " / " if scene.layout == "left" else " + "
    names = joint.join(name(thing) for thing in scene.things)
    count = "3x " if scene.layout == "three" else ""
    return f"{count}{names} {_MODEL_NUMBERS[scene.background]}"


def distinct(a: Scene, b: Scene) -> bool:
    """Whether the demo's model can be expected to tell a's caption from b's picture.

    True when the backgrounds differ and no object of one has the shape or the colour of one of
    the other. Two scenes that share any of these are near to each other, and to the model too.
    """
    shapes = {thing.shape for thing in a.things} & {thing.shape for thing in b.things}
    colours = {thing.colour for thing in a.things} & {thing.colour for thing in b.things}
    return a.background != b.background and not shapes and not colours
