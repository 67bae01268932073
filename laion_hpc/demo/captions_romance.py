"""French, Spanish, Italian and Portuguese captions: nouns, agreement and sentence patterns."""

from __future__ import annotations

import random
from typing import NamedTuple

from laion_hpc.demo.scenes import Scene


class _Grammar(NamedTuple):
    """One Romance language; the four of them build their noun phrases alike."""

    nouns: dict[str, tuple[str, str, str]]  # shape -> (indefinite article, singular, plural)
    feminine: frozenset[str]  # shapes whose noun is feminine
    colours: dict[str, tuple[str, str, str, str]]  # m sg, f sg, m pl, f pl
    places: dict[str, str]
    three: str
    left: str  # "A {left} B", `left` and `above` ending just before B's article
    above: str
    patterns: tuple[str, ...]  # {what}, {place}

    def write(self, scene: Scene, rng: random.Random) -> str:
        """A caption for the scene in one of the patterns."""

        def one(index: int) -> str:
            thing = scene.things[index]
            article, noun, _ = self.nouns[thing.shape]
            colour = self.colours[thing.colour][thing.shape in self.feminine]
            return f"{article}{noun} {colour}"

        if scene.layout == "left":
            what = f"{one(0)} {self.left}{one(1)}"
        elif scene.layout == "above":
            what = f"{one(0)} {self.above}{one(1)}"
        elif scene.layout == "three":
            thing = scene.things[0]
            colour = self.colours[thing.colour][2 + (thing.shape in self.feminine)]
            what = f"{self.three} {self.nouns[thing.shape][2]} {colour}"
        else:
            what = one(0)
        return rng.choice(self.patterns).format(what=what, place=self.places[scene.background])


_FR = _Grammar(
    nouns={
        "star": ("une ", "étoile", "étoiles"),
        "heart": ("un ", "cœur", "cœurs"),
        "tree": ("un ", "sapin", "sapins"),
        "house": ("une ", "maison", "maisons"),
        "boat": ("un ", "voilier", "voiliers"),
        "fish": ("un ", "poisson", "poissons"),
        "car": ("une ", "voiture", "voitures"),
        "cup": ("une ", "tasse", "tasses"),
        "flower": ("une ", "fleur", "fleurs"),
        "moon": ("un ", "croissant de lune", "croissants de lune"),
        "umbrella": ("un ", "parapluie", "parapluies"),
        "balloon": ("une ", "montgolfière", "montgolfières"),
        "mushroom": ("un ", "champignon", "champignons"),
        "rocket": ("une ", "fusée", "fusées"),
        "butterfly": ("un ", "papillon", "papillons"),
        "crown": ("une ", "couronne", "couronnes"),
    },
    feminine=frozenset(
        ("star", "house", "car", "cup", "flower", "balloon", "rocket", "crown"),
    ),
    colours={
        "red": ("rouge", "rouge", "rouges", "rouges"),
        "orange": ("orange", "orange", "orange", "orange"),
        "yellow": ("jaune", "jaune", "jaunes", "jaunes"),
        "green": ("vert", "verte", "verts", "vertes"),
        "blue": ("bleu", "bleue", "bleus", "bleues"),
        "purple": ("violet", "violette", "violets", "violettes"),
        "pink": ("rose", "rose", "roses", "roses"),
        "white": ("blanc", "blanche", "blancs", "blanches"),
        "black": ("noir", "noire", "noirs", "noires"),
    },
    places={
        "brick": "devant un mur de briques",
        "wood": "sur un fond de planches en bois",
        "sea": "devant les vagues de la mer",
        "night": "sous un ciel de nuit étoilé",
        "sunset": "devant un coucher de soleil flamboyant",
        "sky": "devant un ciel bleu avec des nuages",
        "meadow": "sur l'herbe verte d'une prairie",
        "desert": "devant les dunes de sable du désert",
        "snow": "dans un paysage d'hiver enneigé",
        "checker": "sur un damier noir et blanc",
    },
    three="trois",
    left="à gauche d'",
    above="au-dessus d'",
    patterns=(
        "{what} {place}",
        "Une image avec {what} {place}",
        "Ce dessin montre {what} {place}.",
        "Il y a {what} {place}",
        "Illustration colorée montrant {what} {place}",
        "{what} {place}, dessin pour enfants",
    ),
)

_ES = _Grammar(
    nouns={
        "star": ("una ", "estrella", "estrellas"),
        "heart": ("un ", "corazón", "corazones"),
        "tree": ("un ", "abeto", "abetos"),
        "house": ("una ", "casa", "casas"),
        "boat": ("un ", "velero", "veleros"),
        "fish": ("un ", "pez", "peces"),
        "car": ("un ", "coche", "coches"),
        "cup": ("una ", "taza", "tazas"),
        "flower": ("una ", "flor", "flores"),
        "moon": ("una ", "media luna", "medias lunas"),
        "umbrella": ("un ", "paraguas", "paraguas"),
        "balloon": ("un ", "globo aerostático", "globos aerostáticos"),
        "mushroom": ("una ", "seta", "setas"),
        "rocket": ("un ", "cohete", "cohetes"),
        "butterfly": ("una ", "mariposa", "mariposas"),
        "crown": ("una ", "corona", "coronas"),
    },
    feminine=frozenset(
        ("star", "house", "cup", "flower", "moon", "mushroom", "butterfly", "crown"),
    ),
    colours={
        "red": ("rojo", "roja", "rojos", "rojas"),
        "orange": ("naranja", "naranja", "naranjas", "naranjas"),
        "yellow": ("amarillo", "amarilla", "amarillos", "amarillas"),
        "green": ("verde", "verde", "verdes", "verdes"),
        "blue": ("azul", "azul", "azules", "azules"),
        "purple": ("morado", "morada", "morados", "moradas"),
        "pink": ("rosa", "rosa", "rosas", "rosas"),
        "white": ("blanco", "blanca", "blancos", "blancas"),
        "black": ("negro", "negra", "negros", "negras"),
    },
    places={
        "brick": "delante de una pared de ladrillos",
        "wood": "sobre un fondo de tablas de madera",
        "sea": "delante de las olas del mar",
        "night": "bajo un cielo nocturno lleno de estrellas",
        "sunset": "delante de una ardiente puesta de sol",
        "sky": "delante de un cielo azul con nubes",
        "meadow": "sobre la hierba verde de un prado",
        "desert": "delante de las dunas de arena del desierto",
        "snow": "en un paisaje nevado de invierno",
        "checker": "sobre un tablero de ajedrez blanco y negro",
    },
    three="tres",
    left="a la izquierda de ",
    above="encima de ",
    patterns=(
        "{what} {place}",
        "Una imagen con {what} {place}",
        "Este dibujo muestra {what} {place}.",
        "Aquí hay {what} {place}",
        "Ilustración de colores con {what} {place}",
        "{what} {place}, dibujo para los niños",
    ),
)

_IT = _Grammar(
    nouns={
        "star": ("una ", "stella", "stelle"),
        "heart": ("un ", "cuore", "cuori"),
        "tree": ("un ", "abete", "abeti"),
        "house": ("una ", "casa", "case"),
        "boat": ("una ", "barca a vela", "barche a vela"),
        "fish": ("un ", "pesce", "pesci"),
        "car": ("un'", "automobile", "automobili"),
        "cup": ("una ", "tazza", "tazze"),
        "flower": ("un ", "fiore", "fiori"),
        "moon": ("una ", "mezzaluna", "mezzelune"),
        "umbrella": ("un ", "ombrello", "ombrelli"),
        "balloon": ("una ", "mongolfiera", "mongolfiere"),
        "mushroom": ("un ", "fungo", "funghi"),
        "rocket": ("un ", "razzo", "razzi"),
        "butterfly": ("una ", "farfalla", "farfalle"),
        "crown": ("una ", "corona", "corone"),
    },
    feminine=frozenset(
        ("star", "house", "boat", "car", "cup", "moon", "balloon", "butterfly", "crown"),
    ),
    colours={
        "red": ("rosso", "rossa", "rossi", "rosse"),
        "orange": ("arancione", "arancione", "arancioni", "arancioni"),
        "yellow": ("giallo", "gialla", "gialli", "gialle"),
        "green": ("verde", "verde", "verdi", "verdi"),
        "blue": ("blu", "blu", "blu", "blu"),
        "purple": ("viola", "viola", "viola", "viola"),
        "pink": ("rosa", "rosa", "rosa", "rosa"),
        "white": ("bianco", "bianca", "bianchi", "bianche"),
        "black": ("nero", "nera", "neri", "nere"),
    },
    places={
        "brick": "davanti a un muro di mattoni",
        "wood": "su uno sfondo di assi di legno",
        "sea": "davanti alle onde del mare",
        "night": "sotto un cielo notturno pieno di stelle",
        "sunset": "davanti a un tramonto infuocato",
        "sky": "davanti a un cielo azzurro con nuvole",
        "meadow": "sull'erba verde di un prato",
        "desert": "davanti alle dune di sabbia del deserto",
        "snow": "in un paesaggio invernale innevato",
        "checker": "su una scacchiera bianca e nera",
    },
    three="tre",
    left="a sinistra di ",
    above="sopra ",
    patterns=(
        "{what} {place}",
        "Un'immagine con {what} {place}",
        "Questo disegno mostra {what} {place}.",
        "Qui si vede il disegno di {what} {place}",
        "Illustrazione colorata con {what} {place}",
        "{what} {place}, disegno per bambini",
    ),
)

_PT = _Grammar(
    nouns={
        "star": ("uma ", "estrela", "estrelas"),
        "heart": ("um ", "coração", "corações"),
        "tree": ("um ", "pinheiro", "pinheiros"),
        "house": ("uma ", "casa", "casas"),
        "boat": ("um ", "veleiro", "veleiros"),
        "fish": ("um ", "peixe", "peixes"),
        "car": ("um ", "carro", "carros"),
        "cup": ("uma ", "xícara", "xícaras"),
        "flower": ("uma ", "flor", "flores"),
        "moon": ("uma ", "meia-lua", "meias-luas"),
        "umbrella": ("um ", "guarda-chuva", "guarda-chuvas"),
        "balloon": ("um ", "balão de ar quente", "balões de ar quente"),
        "mushroom": ("um ", "cogumelo", "cogumelos"),
        "rocket": ("um ", "foguete", "foguetes"),
        "butterfly": ("uma ", "borboleta", "borboletas"),
        "crown": ("uma ", "coroa", "coroas"),
    },
    feminine=frozenset(("star", "house", "cup", "flower", "moon", "butterfly", "crown")),
    colours={
        "red": ("vermelho", "vermelha", "vermelhos", "vermelhas"),
        "orange": ("laranja", "laranja", "laranja", "laranja"),
        "yellow": ("amarelo", "amarela", "amarelos", "amarelas"),
        "green": ("verde", "verde", "verdes", "verdes"),
        "blue": ("azul", "azul", "azuis", "azuis"),
        "purple": ("roxo", "roxa", "roxos", "roxas"),
        "pink": ("rosa", "rosa", "rosa", "rosa"),
        "white": ("branco", "branca", "brancos", "brancas"),
        "black": ("preto", "preta", "pretos", "pretas"),
    },
    places={
        "brick": "em frente a uma parede de tijolos",
        "wood": "sobre um fundo de tábuas de madeira",
        "sea": "em frente às ondas do mar",
        "night": "sob um céu noturno cheio de estrelas",
        "sunset": "em frente a um pôr do sol ardente",
        "sky": "em frente a um céu azul com nuvens",
        "meadow": "sobre a grama verde de um prado",
        "desert": "em frente às dunas de areia do deserto",
        "snow": "em uma paisagem de inverno com neve",
        "checker": "sobre um tabuleiro de xadrez preto e branco",
    },
    three="três",
    left="à esquerda de ",
    above="acima de ",
    patterns=(
        "{what} {place}",
        "Uma imagem com {what} {place}",
        "Este desenho mostra {what} {place}.",
        "Aqui há {what} {place}",
        "Ilustração colorida com {what} {place}",
        "{what} {place}, desenho para crianças",
    ),
)

french = _FR.write
spanish = _ES.write
italian = _IT.write
portuguese = _PT.write
