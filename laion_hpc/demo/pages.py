"""The HTML of the demo's pages: plain sites with the habits of real ones."""

from __future__ import annotations

import html
import random
from html.entities import codepoint2name

from laion_hpc.demo.web import Link, Page

_HOME = {"en": "Home", "de": "Startseite", "fr": "Accueil", "es": "Inicio", "ru": "Главная",
         "zh": "首页", "ja": "ホーム", "it": "Home page", "pt": "Início", "nl": "Startpagina",
         "pl": "Strona główna", "ko": "홈"}  # fmt: skip


def render_page(page: Page, rng: random.Random) -> bytes:
    """A page as its site serves it, UTF-8."""
    site = page.site
    name = html.escape(site.name)
    head = [f"<title>{name} – {page.number}</title>", '<meta charset="utf-8">']
    if rng.random() < 0.6:
        head.append('<meta name="viewport" content="width=device-width, initial-scale=1">')
    if rng.random() < 0.5:
        head.append(f'<meta property="og:title" content="{name}">')
        head.append(f'<meta property="og:url" content="{html.escape(page.url)}">')
    if page.base != page.url:
        head.append(f'<base href="{html.escape(page.base)}">')
    head.append('<link rel="stylesheet" href="/theme/style.css" type="text/css">')
    head.append('<script src="/theme/app.js?v=3&amp;m=1"></script>')
    linked = site.license and rng.random() < 0.3
    if linked:
        head.append(f'<link rel="license" href="{site.license}">')
    language = f' lang="{site.language}"' if site.tells_language else ""
    body = [f'<a href="/" title="{name}">{_HOME.get(site.language, "Home")}</a>']
    body.append('<form action="/search" method="get"><input name="q"></form>')
    body.append(f"<h1>{name}</h1>")
    for link in page.links:
        body.append(_figure(link, rng))
    body.append(f'<p><a href="{page.number + 1}.html" rel="next">&raquo;</a></p>')
    if site.license and not linked:
        relation = ' rel="license"' if rng.random() < 0.6 else ""
        body.append(f'<p><a{relation} href="{site.license}">CC</a> {name}</p>')
    lines = ["<!DOCTYPE html>", f"<html{language}>", "<head>", *head, "</head>", "<body>", *body,
             "</body>", "</html>", ""]  # fmt: skip
    return "\n".join(lines).encode()


def _figure(link: Link, rng: random.Random) -> str:
    attributes = [f'src="{_escaped(link.reference, rng, names=0.0)}"']
    if link.alt is not None:
        attributes.append(f'alt="{_escaped(link.alt, rng, names=0.15)}"')
    if link.title:
        attributes.append(f'title="{_escaped(link.title, rng, names=0.0)}"')
    if rng.random() < 0.4:
        attributes.insert(rng.randrange(2), 'loading="lazy"')
    image = f"<img {' '.join(attributes)}>"
    if link.url and rng.random() < 0.3:
        return f'<p><a href="{html.escape(link.url)}">{image}</a></p>'
    return f"<p>{image}</p>"


def _escaped(text: str, rng: random.Random, *, names: float) -> str:
    """The value of an attribute; a share of `names` of them with every letter that can be named."""
    escaped = html.escape(text)
    if rng.random() >= names:
        return escaped
    return "".join(
        character
        if character.isascii()
        else f"&{codepoint2name[ord(character)]};"
        if ord(character) in codepoint2name
        else f"&#{ord(character)};"
        for character in escaped
    )
