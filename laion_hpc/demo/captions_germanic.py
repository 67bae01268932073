"""English, German and Dutch captions: nouns, endings and sentence patterns."""

from __future__ import annotations

import random

from laion_hpc.demo.scenes import Scene, Thing

# -- English ---------------------------------------------------------------------------------

_EN_NOUNS = {
    "star": ("star", "stars"),
    "heart": ("heart", "hearts"),
    "tree": ("fir tree", "fir trees"),
    "house": ("house", "houses"),
    "boat": ("sailing boat", "sailing boats"),
    "fish": ("fish", "fish"),
    "car": ("car", "cars"),
    "cup": ("coffee cup", "coffee cups"),
    "flower": ("flower", "flowers"),
    "moon": ("crescent moon", "crescent moons"),
    "umbrella": ("umbrella", "umbrellas"),
    "balloon": ("hot-air balloon", "hot-air balloons"),
    "mushroom": ("mushroom", "mushrooms"),
    "rocket": ("rocket", "rockets"),
    "butterfly": ("butterfly", "butterflies"),
    "crown": ("crown", "crowns"),
}
_EN_PLACES = {
    "brick": "in front of a brick wall",
    "wood": "on a background of wooden boards",
    "sea": "in front of the waves of the sea",
    "night": "in front of the stars of the night sky",
    "sunset": "in front of a glowing sunset",
    "sky": "in front of a blue sky with clouds",
    "meadow": "on a green meadow with grass",
    "desert": "in front of the sand of the desert",
    "snow": "in a winter landscape with falling snow",
    "checker": "on a black and white chessboard pattern",
}


def english(scene: Scene, rng: random.Random) -> str:
    """An English caption, in one of its patterns."""

    def one(thing: Thing) -> str:
        article = "an" if thing.colour == "orange" else "a"
        return f"{article} {thing.colour} {_EN_NOUNS[thing.shape][0]}"

    first = scene.things[0]
    place = _EN_PLACES[scene.background]
    many = scene.layout == "three"
    if scene.layout == "left":
        what = f"{one(first)} to the left of {one(scene.things[1])}"
    elif scene.layout == "above":
        what = f"{one(first)} above {one(scene.things[1])}"
    elif many:
        what = f"three {first.colour} {_EN_NOUNS[first.shape][1]}"
    else:
        what = one(first)
    return rng.choice(
        (
            f"{what} {place}",
            f"A picture of {what} {place}",
            f"This drawing shows {what} {place}.",
            f"There {'are' if many else 'is'} {what} {place}",
            f"A colourful illustration with {what} {place}",
            f"{what} {place}, drawn for children",
        )
    )


# -- German ----------------------------------------------------------------------------------

# Gender, singular, plural. The singular is the same in the three cases that are needed, but for
# the dative of "Herz".
_DE_NOUNS = {
    "star": ("m", "Stern", "Sterne"),
    "heart": ("n", "Herz", "Herzen"),
    "tree": ("m", "Tannenbaum", "Tannenbäume"),
    "house": ("n", "Haus", "Häuser"),
    "boat": ("n", "Segelboot", "Segelboote"),
    "fish": ("m", "Fisch", "Fische"),
    "car": ("n", "Auto", "Autos"),
    "cup": ("f", "Kaffeetasse", "Kaffeetassen"),
    "flower": ("f", "Blume", "Blumen"),
    "moon": ("f", "Mondsichel", "Mondsicheln"),
    "umbrella": ("m", "Regenschirm", "Regenschirme"),
    "balloon": ("m", "Heißluftballon", "Heißluftballons"),
    "mushroom": ("m", "Pilz", "Pilze"),
    "rocket": ("f", "Rakete", "Raketen"),
    "butterfly": ("m", "Schmetterling", "Schmetterlinge"),
    "crown": ("f", "Krone", "Kronen"),
}
_DE_COLOURS = {
    "red": "rot",
    "orange": "orangefarben",
    "yellow": "gelb",
    "green": "grün",
    "blue": "blau",
    "purple": "violett",
    "pink": "rosafarben",
    "white": "weiß",
    "black": "schwarz",
}
_DE_PLACES = {
    "brick": "vor einer Ziegelmauer",
    "wood": "vor einer Wand aus Holzbrettern",
    "sea": "vor den Wellen des Meeres",
    "night": "unter dem nächtlichen Sternenhimmel",
    "sunset": "vor einem glühenden Sonnenuntergang",
    "sky": "vor blauem Himmel mit weißen Wolken",
    "meadow": "auf einer grünen Wiese",
    "desert": "vor den Sanddünen der Wüste",
    "snow": "in einer verschneiten Winterlandschaft",
    "checker": "auf einem schwarz-weißen Schachbrettmuster",
}
# Article and adjective ending after "ein" by case and gender.
_DE_ENDINGS = {
    "nom": {"m": ("ein", "er"), "f": ("eine", "e"), "n": ("ein", "es")},
    "acc": {"m": ("einen", "en"), "f": ("eine", "e"), "n": ("ein", "es")},
    "dat": {"m": ("einem", "en"), "f": ("einer", "en"), "n": ("einem", "en")},
}


def german(scene: Scene, rng: random.Random) -> str:
    """A German caption, in one of its patterns."""

    def one(thing: Thing, case: str) -> str:
        gender, noun, _ = _DE_NOUNS[thing.shape]
        article, ending = _DE_ENDINGS[case][gender]
        noun = "Herzen" if (noun, case) == ("Herz", "dat") else noun
        return f"{article} {_DE_COLOURS[thing.colour]}{ending} {noun}"

    first = scene.things[0]
    place = _DE_PLACES[scene.background]
    many = scene.layout == "three"

    def what(case: str) -> str:
        if scene.layout == "left":
            return f"{one(first, case)} links von {one(scene.things[1], 'dat')}"
        if scene.layout == "above":
            return f"{one(first, case)} über {one(scene.things[1], 'dat')}"
        if not many:
            return one(first, case)
        plural = _DE_NOUNS[first.shape][2]
        colour = _DE_COLOURS[first.colour]
        if case != "dat":
            return f"drei {colour}e {plural}"
        return f"drei {colour}en {plural}{'' if plural[-1] in 'ns' else 'n'}"

    return rng.choice(
        (
            f"{what('nom')} {place}",
            f"Ein Bild mit {what('dat')} {place}",
            f"Diese Zeichnung zeigt {what('acc')} {place}.",
            f"Hier {'sieht man' if rng.random() < 0.5 else 'gibt es'} {what('acc')} {place}",
            f"Bunte Illustration: {what('nom')} {place}",
            f"{what('nom')} {place}, gezeichnet für Kinder",
        )
    )


# -- Dutch -----------------------------------------------------------------------------------

# "h" marks het-words, whose adjective takes no ending after "een".
_NL_NOUNS = {
    "star": ("d", "ster", "sterren"),
    "heart": ("h", "hart", "harten"),
    "tree": ("d", "dennenboom", "dennenbomen"),
    "house": ("h", "huis", "huizen"),
    "boat": ("d", "zeilboot", "zeilboten"),
    "fish": ("d", "vis", "vissen"),
    "car": ("d", "auto", "auto's"),
    "cup": ("d", "koffiekop", "koffiekoppen"),
    "flower": ("d", "bloem", "bloemen"),
    "moon": ("d", "maansikkel", "maansikkels"),
    "umbrella": ("d", "paraplu", "paraplu's"),
    "balloon": ("d", "luchtballon", "luchtballonnen"),
    "mushroom": ("d", "paddenstoel", "paddenstoelen"),
    "rocket": ("d", "raket", "raketten"),
    "butterfly": ("d", "vlinder", "vlinders"),
    "crown": ("d", "kroon", "kronen"),
}
_NL_COLOURS = {
    "red": ("rood", "rode"),
    "orange": ("oranje", "oranje"),
    "yellow": ("geel", "gele"),
    "green": ("groen", "groene"),
    "blue": ("blauw", "blauwe"),
    "purple": ("paars", "paarse"),
    "pink": ("roze", "roze"),
    "white": ("wit", "witte"),
    "black": ("zwart", "zwarte"),
}
_NL_PLACES = {
    "brick": "voor een bakstenen muur",
    "wood": "voor een wand van houten planken",
    "sea": "voor de golven van de zee",
    "night": "onder een nachtelijke sterrenhemel",
    "sunset": "voor een gloeiende zonsondergang",
    "sky": "voor een blauwe lucht met wolken",
    "meadow": "op een groene weide met gras",
    "desert": "voor de zandduinen van de woestijn",
    "snow": "in een besneeuwd winterlandschap",
    "checker": "op een zwart-wit schaakbordpatroon",
}


def dutch(scene: Scene, rng: random.Random) -> str:
    """A Dutch caption, in one of its patterns."""

    def one(thing: Thing) -> str:
        kind, noun, _ = _NL_NOUNS[thing.shape]
        return f"een {_NL_COLOURS[thing.colour][kind == 'd']} {noun}"

    first = scene.things[0]
    place = _NL_PLACES[scene.background]
    many = scene.layout == "three"
    if scene.layout == "left":
        what = f"{one(first)} links van {one(scene.things[1])}"
    elif scene.layout == "above":
        what = f"{one(first)} boven {one(scene.things[1])}"
    elif many:
        what = f"drie {_NL_COLOURS[first.colour][1]} {_NL_NOUNS[first.shape][2]}"
    else:
        what = one(first)
    return rng.choice(
        (
            f"{what} {place}",
            f"Een afbeelding van {what} {place}",
            f"Deze tekening toont {what} {place}.",
            f"Hier {'zijn' if many else 'is'} {what} te zien {place}",
            f"Kleurrijke illustratie met {what} {place}",
            f"{what} {place}, getekend voor kinderen",
        )
    )
