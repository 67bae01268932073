"""The demo's sites: one per loopback address, each with a language, a style and its rules."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from laion_hpc.demo.captions import LANGUAGES

HOSTS = tuple(f"127.0.0.{number}" for number in range(2, 42))
DEAD_HOST = "127.0.0.200"
"""Nobody listens there: connections are refused."""

PRODUCT = "laion-hpc-demo"
"""The name that robots.txt files of the demo know us by; download.user_agent begins with it."""

_ENGLISH_SITES = 16

_LICENSES = (
    "https://creativecommons.org/licenses/by/4.0/",
    "https://creativecommons.org/licenses/by-sa/4.0/",
    "http://creativecommons.org/licenses/by-nc-nd/3.0/",
    "https://creativecommons.org/publicdomain/zero/1.0/",
)

_NAMES: dict[str, tuple[str, ...]] = {
    "en": ("Picture Shed", "Small Things Daily", "The Icon Shop", "Clip & Co", "Wall of Colours"),
    "de": ("Bilderkiste", "Bunte Welt", "Der Motivladen"),
    "fr": ("Le Petit Atelier", "Images du jour", "Couleurs & Formes"),
    "es": ("La Tienda de Imágenes", "Mundo de Colores", "Dibujos del Día"),
    "ru": ("Мир картинок", "Лавка образов", "Цвет и форма"),
    "zh": ("图片小屋", "色彩世界", "每日一图"),
    "ja": ("写真の庭", "色とかたち", "絵の店"),
    "it": ("Bottega delle Immagini", "Colori e Forme", "Figure del giorno"),
    "pt": ("Casa das Imagens", "Cores e Formas", "Figura do Dia"),
    "nl": ("Plaatjeswinkel", "Kleur en Vorm", "Beeld van de Dag"),
    "pl": ("Sklep z Obrazkami", "Kolory i Kształty", "Obrazek Dnia"),
    "ko": ("그림 가게", "색과 모양", "오늘의 그림"),
}

_PAGES = (
    "/{n}.html",
    "/blog/2024/{m:02d}/post-{n}.html",
    "/shop/item.php?id={n}&ref=list",
    "/gallery/{n}/",
    "/news/{m:02d}/{n}/index.html",
)
_IMAGES = (
    "/img/{n}.{e}",
    "/wp-content/uploads/2024/{m:02d}/{n}-{s}x{s}.{e}",
    "/media/{n}.{e}?w={s}&h={s}&fit=crop",
    "/assets/pictures/{m}/IMG_{n}.{E}",
    "/image/{n}",
    "/bilder/gr%C3%B6%C3%9Fe-{s}/{n}.{e}",
    "/i.php?id={n}&v={m}",
)


@dataclass(frozen=True)
class Site:
    """What the pages of one host have in common."""

    host: str
    name: str
    language: str
    weight: float
    """How many pages it has, relative to the others: a few sites are large, most are small."""
    license: str
    """Creative Commons link on each of its pages; empty: none."""
    tells_language: bool
    """Whether its pages have a lang attribute."""
    uses_base: bool
    """Whether its pages have a <base> element."""
    page_path: str
    image_path: str
    image_host: str
    """Its own, or another one, as sites with a content network do."""
    robots: str
    """Its robots.txt; empty: there is none (404)."""


def draw_sites(rng: random.Random) -> tuple[Site, ...]:
    """The sites of all `HOSTS`, in their order."""
    others = [language for language in LANGUAGES if language != "en"]
    count = len(HOSTS) - _ENGLISH_SITES
    languages = ["en"] * _ENGLISH_SITES + [others[i % len(others)] for i in range(count)]
    rng.shuffle(languages)
    sites = []
    for rank, (host, language) in enumerate(zip(HOSTS, languages, strict=True)):
        sites.append(
            Site(
                host=host,
                name=f"{rng.choice(_NAMES.get(language, (language,)))} {rank + 1}",
                language=language,
                weight=(rank % 20 + 1) ** -0.7,
                license=rng.choice(_LICENSES) if rng.random() < 0.2 else "",
                tells_language=rng.random() < 0.75,
                uses_base=rank % 7 == 3,
                page_path=_PAGES[rank % len(_PAGES)],
                image_path=rng.choice(_IMAGES),
                image_host=rng.choice(HOSTS) if rng.random() < 0.3 else host,
                robots=_robots(rank),
            )
        )
    return tuple(sites)


def _robots(rank: int) -> str:
    """A robots.txt for every fifth site, in the forms that the web has."""
    if rank % 5:
        return ""
    forms = (
        "User-agent: *\nDisallow: /private/\nAllow: /private/press/\n",
        f"# keep out\nUser-agent: {PRODUCT}\nDisallow: /private/\n\nUser-agent: *\nDisallow:\n",
        "User-agent: *\nCrawl-delay: 1\nDisallow: /private\n\nUser-agent: otherbot\nDisallow: /\n",
        "User-agent: otherbot\nDisallow: /\n\nUser-agent: *\nDisallow: /*private/\n",
    )
    return forms[rank // 5 % len(forms)]


def page_url(site: Site, port: int, number: int) -> str:
    """The URL of the site's page with that number."""
    path = site.page_path.format(n=number, m=number % 12 + 1)
    return f"http://{site.host}:{port}{path}"


def image_path(site: Site, number: int, extension: str, size: int) -> str:
    """Path and query of an image, in the site's way of naming them, percent-encoded."""
    return site.image_path.format(
        n=f"{number:05d}", m=number % 12 + 1, e=extension, E=extension.upper(), s=size
    )


def pick(sites: Sequence[Site], rng: random.Random) -> Site:
    """One of the sites, large ones more often."""
    return rng.choices(sites, [site.weight for site in sites])[0]
