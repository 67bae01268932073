"""Russian and Polish captions: nouns in the cases that are needed, agreement and patterns."""

from __future__ import annotations

import random
from typing import NamedTuple

from laion_hpc.demo.scenes import Scene, Thing

# -- Russian ---------------------------------------------------------------------------------


class _Noun(NamedTuple):
    """A noun in the cases that captions use."""

    gender: str
    nominative: str
    genitive: str
    instrumental: str
    three: str  # as it stands after the numeral three


_RU_NOUNS = {
    "star": _Noun("f", "звезда", "звезды", "звездой", "звезды"),
    "heart": _Noun("n", "сердечко", "сердечка", "сердечком", "сердечка"),
    "tree": _Noun("f", "ёлка", "ёлки", "ёлкой", "ёлки"),
    "house": _Noun("m", "домик", "домика", "домиком", "домика"),
    "boat": _Noun("m", "парусник", "парусника", "парусником", "парусника"),
    "fish": _Noun("f", "рыбка", "рыбки", "рыбкой", "рыбки"),
    "car": _Noun("f", "машина", "машины", "машиной", "машины"),
    "cup": _Noun("f", "чашка", "чашки", "чашкой", "чашки"),
    "flower": _Noun("m", "цветок", "цветка", "цветком", "цветка"),
    "moon": _Noun("m", "полумесяц", "полумесяца", "полумесяцем", "полумесяца"),
    "umbrella": _Noun("m", "зонт", "зонта", "зонтом", "зонта"),
    "balloon": _Noun("m", "воздушный шар", "воздушного шара", "воздушным шаром", "воздушных шара"),
    "mushroom": _Noun("m", "гриб", "гриба", "грибом", "гриба"),
    "rocket": _Noun("f", "ракета", "ракеты", "ракетой", "ракеты"),
    "butterfly": _Noun("f", "бабочка", "бабочки", "бабочкой", "бабочки"),
    "crown": _Noun("f", "корона", "короны", "короной", "короны"),
}
# Stem and, for the one soft adjective, its own endings.
_RU_STEMS = {
    "red": "красн",
    "orange": "оранжев",
    "yellow": "жёлт",
    "green": "зелён",
    "blue": "син",
    "purple": "фиолетов",
    "pink": "розов",
    "white": "бел",
    "black": "чёрн",
}
_RU_HARD = {
    "nom": {"m": "ый", "f": "ая", "n": "ое"},
    "gen": {"m": "ого", "f": "ой", "n": "ого"},
    "ins": {"m": "ым", "f": "ой", "n": "ым"},
    "three": {"m": "ых", "f": "ые", "n": "ых"},
}
_RU_SOFT = {
    "nom": {"m": "ий", "f": "яя", "n": "ее"},
    "gen": {"m": "его", "f": "ей", "n": "его"},
    "ins": {"m": "им", "f": "ей", "n": "им"},
    "three": {"m": "их", "f": "ие", "n": "их"},
}
_RU_PLACES = {
    "brick": "на фоне кирпичной стены",
    "wood": "на фоне деревянных досок",
    "sea": "на фоне морских волн",
    "night": "на фоне ночного звёздного неба",
    "sunset": "на фоне вечернего неба с закатом",
    "sky": "на фоне голубого неба с облаками",
    "meadow": "на зелёном лугу среди травы",
    "desert": "на фоне песчаных дюн пустыни",
    "snow": "на фоне зимнего снежного пейзажа",
    "checker": "на фоне чёрно-белой шахматной доски",
}
_RU_SHOWN = {"m": "изображён", "f": "изображена", "n": "изображено"}
_RU_DRAWN = {"m": "нарисован", "f": "нарисована", "n": "нарисовано"}


def russian(scene: Scene, rng: random.Random) -> str:
    """A Russian caption, in one of its patterns."""

    def phrase(thing: Thing, case: str) -> str:
        noun = _RU_NOUNS[thing.shape]
        endings = _RU_SOFT if thing.colour == "blue" else _RU_HARD
        word = {
            "nom": noun.nominative,
            "gen": noun.genitive,
            "ins": noun.instrumental,
            "three": noun.three,
        }[case]
        return f"{_RU_STEMS[thing.colour]}{endings[case][noun.gender]} {word}"

    first = scene.things[0]
    gender = _RU_NOUNS[first.shape].gender
    place = _RU_PLACES[scene.background]
    shown, drawn = _RU_SHOWN[gender], _RU_DRAWN[gender]
    if scene.layout == "left":
        what = f"{phrase(first, 'nom')} слева от {phrase(scene.things[1], 'gen')}"
    elif scene.layout == "above":
        what = f"{phrase(first, 'nom')} над {phrase(scene.things[1], 'ins')}"
    elif scene.layout == "three":
        what = f"три {phrase(first, 'three')}"
        shown, drawn = "изображены", "нарисованы"
    else:
        what = phrase(first, "nom")
    return rng.choice(
        (
            f"На этой картинке {shown} {what} {place}",
            f"Здесь {drawn} {what} {place}, рисунок для детей",
            f"Цветная картинка для детей, на которой {shown} {what} {place}",
            f"{what} {place}, очень красивый детский рисунок",
            f"{what} {place}, цветная иллюстрация для детской книги",
            f"Этот рисунок для детей, на нём {shown} {what} {place}",
            f"Иллюстрация, на которой вы видите: {what} {place}",
        )
    )


# -- Polish ----------------------------------------------------------------------------------

_PL_NOUNS = {
    "star": _Noun("f", "gwiazda", "gwiazdy", "gwiazdą", "gwiazdy"),
    "heart": _Noun("n", "serce", "serca", "sercem", "serca"),
    "tree": _Noun("f", "choinka", "choinki", "choinką", "choinki"),
    "house": _Noun("m", "dom", "domu", "domem", "domy"),
    "boat": _Noun("f", "żaglówka", "żaglówki", "żaglówką", "żaglówki"),
    "fish": _Noun("f", "ryba", "ryby", "rybą", "ryby"),
    "car": _Noun("m", "samochód", "samochodu", "samochodem", "samochody"),
    "cup": _Noun("f", "filiżanka", "filiżanki", "filiżanką", "filiżanki"),
    "flower": _Noun("m", "kwiat", "kwiatu", "kwiatem", "kwiaty"),
    "moon": _Noun("m", "półksiężyc", "półksiężyca", "półksiężycem", "półksiężyce"),
    "umbrella": _Noun("m", "parasol", "parasola", "parasolem", "parasole"),
    "balloon": _Noun("m", "balon", "balonu", "balonem", "balony"),
    "mushroom": _Noun("m", "grzyb", "grzyba", "grzybem", "grzyby"),
    "rocket": _Noun("f", "rakieta", "rakiety", "rakietą", "rakiety"),
    "butterfly": _Noun("m", "motyl", "motyla", "motylem", "motyle"),
    "crown": _Noun("f", "korona", "korony", "koroną", "korony"),
}
# Nominative masculine; the other endings follow from its last letter.
_PL_COLOURS = {
    "red": "czerwony",
    "orange": "pomarańczowy",
    "yellow": "żółty",
    "green": "zielony",
    "blue": "niebieski",
    "purple": "fioletowy",
    "pink": "różowy",
    "white": "biały",
    "black": "czarny",
}
_PL_HARD = {
    "nom": {"m": "y", "f": "a", "n": "e"},
    "gen": {"m": "ego", "f": "ej", "n": "ego"},
    "ins": {"m": "ym", "f": "ą", "n": "ym"},
    "three": {"m": "e", "f": "e", "n": "e"},
}
_PL_VELAR = {  # after k, an i stands before e and y is written i
    "nom": {"m": "i", "f": "a", "n": "ie"},
    "gen": {"m": "iego", "f": "iej", "n": "iego"},
    "ins": {"m": "im", "f": "ą", "n": "im"},
    "three": {"m": "ie", "f": "ie", "n": "ie"},
}
_PL_PLACES = {
    "brick": "na tle ceglanego muru",
    "wood": "na tle drewnianych desek",
    "sea": "na tle morskich fal",
    "night": "na tle nocnego nieba pełnego gwiazd",
    "sunset": "na tle płonącego zachodu słońca",
    "sky": "na tle błękitnego nieba z chmurami",
    "meadow": "na zielonej łące wśród trawy",
    "desert": "na tle piaszczystych wydm pustyni",
    "snow": "na tle zimowego krajobrazu ze śniegiem",
    "checker": "na tle czarno-białej szachownicy",
}


def polish(scene: Scene, rng: random.Random) -> str:
    """A Polish caption, in one of its patterns."""

    def phrase(thing: Thing, case: str) -> str:
        noun = _PL_NOUNS[thing.shape]
        colour = _PL_COLOURS[thing.colour]
        endings = _PL_VELAR if colour.endswith("i") else _PL_HARD
        word = {
            "nom": noun.nominative,
            "gen": noun.genitive,
            "ins": noun.instrumental,
            "three": noun.three,
        }[case]
        return f"{colour[:-1]}{endings[case][noun.gender]} {word}"

    first = scene.things[0]
    place = _PL_PLACES[scene.background]
    if scene.layout == "left":
        what = f"{phrase(first, 'nom')} na lewo od {phrase(scene.things[1], 'gen')}"
    elif scene.layout == "above":
        what = f"{phrase(first, 'nom')} nad {phrase(scene.things[1], 'ins')}"
    elif scene.layout == "three":
        what = f"trzy {phrase(first, 'three')}"
    else:
        what = phrase(first, "nom")
    return rng.choice(
        (
            f"Na tym rysunku widać: {what} {place}",
            f"Kolorowy obrazek: {what} {place}",
            f"{what} {place}, rysunek dla dzieci",
            f"Ilustracja do książki dla dzieci: {what} {place}",
            f"Rysunek dla dzieci, a na nim {what} {place}",
            f"{what} {place}, ładny obrazek dla dzieci",
        )
    )
