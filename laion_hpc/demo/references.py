"""How pages spell the URLs and texts of their images, and links that lead to no image."""

from __future__ import annotations

import posixpath
import random
from urllib.parse import quote, unquote

from laion_hpc.web.url import Url

_FAR = ("absolute",) * 10 + ("scheme_relative",) * 4 + ("fragment", "spaces", "capitals", "tab")
_NEAR = ("root",) * 12 + ("relative",) * 8 + ("dots",) * 2 + _FAR

DATA_URI = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGA"
    "WjR9awAAAABJRU5ErkJggg=="
)

UNWANTED_EXTENSIONS = ("svg", "gif", "ico", "SVG", "svgz", "gif?v=2", "cur")
NOT_HTTP = ("javascript:void(0)", "about:blank", "file:///C:/My%20Pictures/photo.jpg",
            "blob:http://127.0.0.2/5f1c", "mailto:photos@example.org", "JavaScript:show(1)",
            "android-app://org.example/photo")  # fmt: skip
BAD_URLS = ("http://", "https://[half.jpg", "#top", "", "http://exa mple.org/photo.jpg",
            "http://127.0.0.2:99999/photo.jpg", "  ")  # fmt: skip
NO_TEXTS = (None, "", " ", "\n", None, "\t ")
SHORT_TEXTS = ("IMG", "1", "…", "foto", "x", " a b ", "図", "—", "n/a")


def spell(url: str, base: str, rng: random.Random) -> str:
    """A reference to `url` from a page with that base URL: one that a browser resolves to it.

    Both are absolute and percent-encoded as the URL standard has them.
    """
    target, here = Url.parse(url), Url.parse(base)
    rest = target.target
    near = target.origin == here.origin
    way = rng.choice(_NEAR if near else _FAR)
    if way == "absolute":
        return f"{target.origin}{_readable(rest, rng)}"
    if way == "scheme_relative":
        return f"//{target.authority}{rest}"
    if way == "fragment":
        return f"{url}#{rng.choice(('main', 'photo-1', 'größe', ''))}"
    if way == "spaces":
        return f"\n   {url} "
    if way == "capitals":
        return f"HTTP://{target.authority}{rest}"
    if way == "tab":
        # Browsers leave out tabs and line ends within a URL: templates wrap long lines.
        half = len(url) // 2
        return f"{url[:half]}\n\t{url[half:]}"
    if way == "root":
        return _readable(rest, rng)
    folder = posixpath.dirname(here.target.partition("?")[0])
    path, mark, query = rest.partition("?")
    relative = posixpath.relpath(path, folder) + mark + query
    return f"./{relative}" if way == "dots" else relative


def _readable(rest: str, rng: random.Random) -> str:
    """Now and then with umlauts in clear, which a browser percent-encodes."""
    if "%" in rest and rng.random() < 0.5:
        plain = unquote(rest)
        if quote(plain, safe="/?&=+,;:@") == rest:
            return plain
    return rest


def with_credentials(url: str) -> str:
    """The URL with a user name and password, which must not get into a dataset."""
    return url.replace("http://", "http://guest:secret@", 1)


def spread_out(text: str, rng: random.Random) -> str:
    """The text with the odd whitespace of templates; cleaning gives the text again."""
    way = rng.randrange(4)
    if way == 0:
        return f"\n      {text}\n    "
    if way == 1:
        return f" {text}"
    words = text.split(" ")
    if way == 2 and len(words) > 1:
        at = rng.randrange(1, len(words))
        return (
            " ".join(words[:at])
            + rng.choice(("  ", "\t", "\r\n  ", " \u00a0"))
            + " ".join(words[at:])
        )
    return f"{text}\t "
