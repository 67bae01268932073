"""The plan of the demo's web: which pages show which images with which texts. Nothing but a plan.

Everything follows from the number of pages, the seed and the port: no file is read or written.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from laion_hpc.demo import captions, references
from laion_hpc.demo.faults import PRIVATE_HOSTS, Behaviour, deal
from laion_hpc.demo.pictures import Picture, draw_picture
from laion_hpc.demo.scenes import Scene, random_scene
from laion_hpc.demo.sites import DEAD_HOST, HOSTS, Site, draw_sites, image_path, page_url, pick

MIN_PAGES = 100
IMAGES_PER_PAGE = 1.1
"""Images that can be downloaded or that fail, each with its own URL."""

_WRONG = 1 / 3
_NAME_ONLY = 0.2
_FOREIGN = 0.15
"""Shares of captions: wrong, name-only, English on a page of another language."""


@dataclass(frozen=True)
class Asset:
    """An image of the web, at one URL."""

    number: int
    url: str
    """Absolute, spelt as the URL standard has it."""
    behaviour: Behaviour
    scene: Scene
    """What the picture shows, or would."""
    picture: Picture | None
    site: Site
    right: bool
    """Whether its captions are true; all of them are or none is."""


@dataclass(frozen=True)
class Caption:
    """A text that describes a scene."""

    text: str
    language: str
    """BCP-47; empty for names in no language."""
    scene: Scene


@dataclass(frozen=True)
class Link:
    """An <img> of a page."""

    reference: str
    """Its src as the page spells it."""
    alt: str | None
    """Its alt as the page spells it; None: it has none."""
    reason: str = ""
    """Why extract must drop it, duplicates apart; empty: it is a candidate."""
    url: str = ""
    """What the reference comes to; empty if it is dropped."""
    caption: Caption | None = None
    asset: Asset | None = None
    title: str = ""


@dataclass(frozen=True)
class Page:
    """A page of the web."""

    url: str
    site: Site
    number: int
    base: str
    """What its references are relative to."""
    links: tuple[Link, ...]


@dataclass(frozen=True)
class Web:
    """The whole plan."""

    port: int
    sites: tuple[Site, ...]
    assets: tuple[Asset, ...]
    pages: tuple[Page, ...]


def plan(pages: int, seed: int, port: int) -> Web:
    """The web of `pages` pages (at least `MIN_PAGES`); the same arguments give the same web."""
    rng = random.Random(f"demo {pages} {seed}")
    sites = draw_sites(rng)
    assets = _assets(round(pages * IMAGES_PER_PAGE), sites, port, rng)
    frames = []
    for number in range(pages):
        site = pick(sites, rng) if number >= len(sites) else sites[number]
        url = page_url(site, port, number)
        folder = f"http://{site.image_host}:{port}/media/{site.language}/"
        frames.append((url, site, folder if site.uses_base else url))
    links: list[list[Link]] = [[] for _ in frames]
    # Every page shows an image, the others are spread at random.
    homes = [*range(pages), *(rng.randrange(pages) for _ in range(len(assets) - pages))]
    for asset, home in zip(assets, homes, strict=True):
        links[home].append(_link(asset, frames[home][1], frames[home][2], rng))
    _repeat(assets, homes, links, frames, rng)
    _litter(links, frames, rng)
    for shown in links:
        # The page's own order: a logo first, a photograph later, or the other way round.
        rng.shuffle(shown)
    done = (
        Page(url, site, number, base, tuple(shown))
        for number, ((url, site, base), shown) in enumerate(zip(frames, links, strict=True))
    )
    return Web(port, sites, tuple(assets), tuple(done))


def _assets(count: int, sites: Sequence[Site], port: int, rng: random.Random) -> list[Asset]:
    behaviours = deal(count)
    rng.shuffle(behaviours)
    strict_sites = [site for site in sites if site.robots]
    assets = []
    for number, behaviour in enumerate(behaviours):
        site = pick(sites, rng)
        if behaviour.name == "robots_txt":
            site = rng.choice(strict_sites)
        scene = random_scene(rng)
        picture = draw_picture(number, scene, rng)
        right = rng.random() >= _WRONG
        if not right and rng.random() < 0.1:
            # A grey picture shows no colours: no caption that names them is quite true of it.
            picture = replace(picture, form="gray")
        if behaviour.name == "broken":
            # Half of its file, which is what will be served, must not count as too small.
            picture = replace(picture, form=rng.choice(("jpeg", "png")), size=400)
        path = image_path(site, number, picture.extension, picture.size)
        host = HOSTS[rng.randrange(len(HOSTS))] if rng.random() < 0.1 else site.image_host
        if behaviour.name == "robots_txt":
            host, path = site.host, f"/private{path}"
        elif behaviour.name == "refused":
            host = DEAD_HOST
        private = behaviour.name == "private"
        authority = rng.choice(PRIVATE_HOSTS) if private else f"{host}:{port}"
        shown = picture if behaviour.picture else None
        url = f"http://{authority}{path}"
        assets.append(Asset(number, url, behaviour, scene, shown, site, right))
    return assets


def _caption(asset: Asset, site: Site, rng: random.Random) -> Caption:
    """A text for the asset on a page of `site`: true, or of a scene that is clearly another."""
    scene = asset.scene
    if not asset.right:
        while not captions.distinct(asset.scene, scene):
            scene = random_scene(rng)
    if rng.random() < _NAME_ONLY:
        return Caption(captions.name_only(scene), "", scene)
    language = "en" if rng.random() < _FOREIGN else site.language
    shown = asset.picture
    text = captions.caption(
        scene,
        language,
        rng,
        watermark=bool(shown and shown.watermark),
        hazard=bool(shown and shown.hazard),
    )
    return Caption(text, language, scene)


def _link(
    asset: Asset, site: Site, base: str, rng: random.Random, caption: Caption | None = None
) -> Link:
    caption = caption or _caption(asset, site, rng)
    if not asset.right and rng.random() < 0.02:
        # Escaped twice on the page: extract decodes once, as browsers do.
        caption = replace(caption, text=f"{caption.text} &amp; more")
    reference = references.spell(asset.url, base, rng)
    if rng.random() < 0.004:
        reference = references.with_credentials(asset.url)
    alt = caption.text
    if rng.random() < 0.12:
        alt = references.spread_out(alt, rng)
    title = caption.text.upper() if rng.random() < 0.05 else ""
    return Link(reference, alt, "", asset.url, caption, asset, title)


def _repeat(
    assets: Sequence[Asset],
    homes: Sequence[int],
    links: list[list[Link]],
    frames: Sequence[tuple[str, Site, str]],
    rng: random.Random,
) -> None:
    """Show some images again: on the same page, on other pages, with the same or another text."""
    for asset, home in zip(assets, homes, strict=True):
        if rng.random() >= 0.12:
            continue
        first = next(link for link in links[home] if link.asset is asset)
        for _ in range(rng.choice((1, 1, 1, 2, 5))):
            where = home if rng.random() < 0.25 else rng.randrange(len(frames))
            same = first.caption if rng.random() < 0.4 else None
            _, site, base = frames[where]
            again = _link(asset, site, base, rng, same)
            links[where].append(again)


def _litter(
    links: list[list[Link]], frames: Sequence[tuple[str, Site, str]], rng: random.Random
) -> None:
    """Add what every page is full of: decoration without text, icons, scripts, broken links."""
    pages = len(frames)

    def scatter(share: float, least: int) -> list[int]:
        return [rng.randrange(pages) for _ in range(max(least, round(share * pages)))]

    def some_text(page: int) -> str:
        scene = random_scene(rng)
        return captions.caption(scene, frames[page][1].language, rng)

    for page in scatter(0.11, 6):
        spacer = rng.choice(("/img/spacer.png", "/theme/line.jpg", "pixel.png?x=1"))
        links[page].append(Link(spacer, rng.choice(references.NO_TEXTS), "no_text"))
    for page in scatter(0.03, 4):
        text = rng.choice(references.SHORT_TEXTS)
        links[page].append(Link(f"/thumbs/{page}.jpg", text, "text_too_short"))
    for page in scatter(0.001, 1):
        text = " ".join(some_text(page) for _ in range(900))
        links[page].append(Link(f"/wall/{page}.jpg", text, "text_too_long"))
    for page in scatter(0.03, 4):
        links[page].append(Link(references.DATA_URI, some_text(page), "data_url"))
    for page in scatter(0.012, 3):
        reference = rng.choice(references.NOT_HTTP)
        links[page].append(Link(reference, some_text(page), "not_http"))
    for page in scatter(0.006, 3):
        reference = rng.choice(references.BAD_URLS)
        links[page].append(Link(reference, some_text(page), "bad_url"))
    for page in scatter(0.002, 1):
        reference = f"/img/resize.php?src={'a' * 2500}.jpg"
        links[page].append(Link(reference, some_text(page), "url_too_long"))
    for page in scatter(0.05, 5):
        extension = rng.choice(references.UNWANTED_EXTENSIONS)
        reference = f"/icons/{page}.{extension}"
        links[page].append(Link(reference, some_text(page), "extension"))
