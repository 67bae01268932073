"""What the server answers to which URL, and the few files that many URLs share."""

from __future__ import annotations

import io
import json
import random
import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from laion_hpc.demo.faults import OPT_OUTS, OTHER_AGENTS
from laion_hpc.demo.scenes import random_scene, render
from laion_hpc.demo.sites import DEAD_HOST, HOSTS, Site
from laion_hpc.demo.warc import Place
from laion_hpc.demo.web import Asset
from laion_hpc.files.atomic import write_bytes
from laion_hpc.web.url import Url

TABLE = "server.json"

_BOMB_SIDE = 20_000  # 400 million pixels in 50 KB
_CHAIN = 3


@dataclass(frozen=True)
class Entry:
    """How one URL is answered."""

    behaviour: str
    file: str = ""
    """Body, relative to the demo's folder."""
    content_type: str = ""
    value: str = ""
    """What the behaviour needs besides: a Location, an X-Robots-Tag."""


@dataclass(frozen=True)
class Table:
    """All that the server knows."""

    port: int
    entries: dict[str, Entry] = field(default_factory=dict)
    """By `HOST /path?query`."""
    pages: dict[str, tuple[str, int]] = field(default_factory=dict)
    """WARC (relative to the demo's folder) and offset of the record of a page."""
    robots: dict[str, str] = field(default_factory=dict)
    """robots.txt by host."""


def make_table(assets: Iterable[Asset], sites: Iterable[Site], port: int, seed: int) -> Table:
    """The table for the assets; pages are added by `add_pages`."""
    rng = random.Random(f"table {seed}")
    table = Table(port, robots={site.host: site.robots for site in sites if site.robots})
    for asset in assets:
        host, path = _split(asset.url)
        if host in HOSTS:
            for place, entry in _entries(asset, host, path, port, rng):
                if place in table.entries:
                    raise AssertionError(f"two images at {place}")
                table.entries[place] = entry
        elif asset.behaviour.name not in ("refused", "private"):
            raise AssertionError(f"{asset.url}: nobody would serve it ({DEAD_HOST} is dead)")
    return table


def add_pages(table: Table, places: Sequence[Place], folder: Path) -> None:
    """Let the server serve the crawled pages, from their WARCs."""
    for place in places:
        host, path = _split(place.page.url)
        warc = place.wat.warc(folder).relative_to(folder).as_posix()
        table.pages[f"{host} {path}"] = (warc, place.warc_offset)


def _split(url: str) -> tuple[str, str]:
    found = Url.parse(url)
    return found.host, found.target


def _entries(
    asset: Asset, host: str, path: str, port: int, rng: random.Random
) -> Iterable[tuple[str, Entry]]:
    """The entry of an asset, and those that its redirects lead to."""
    name, picture = asset.behaviour.name, asset.picture
    file = picture.file if picture else _SHARED.get(name, "")
    kind = picture.content_type if picture else "image/jpeg"
    here = f"{host} {path}"
    if asset.behaviour.redirects:
        steps = _CHAIN if name == "redirect_chain" else 1
        for step in range(steps):
            next_host = rng.choice(HOSTS)
            next_path = f"/moved/{step}/{asset.number:05d}"
            target = f"http://{next_host}:{port}{next_path}"
            if next_host == host and rng.random() < 0.5:
                target = next_path
            yield here, Entry("redirect", value=target)
            host, here = next_host, f"{next_host} {next_path}"
        yield here, Entry("plain", file, kind)
        return
    value = ""
    if name == "opted_out":
        value = rng.choice(OPT_OUTS)
    elif name == "other_agent":
        value = rng.choice(OTHER_AGENTS)
    elif name == "loop":
        value = f"http://{host}:{port}{path}"
    elif name == "redirect_private":
        value = rng.choice(("http://10.0.0.1/", "http://169.254.169.254/latest/meta-data/"))
    elif name == "redirect_scheme":
        value = "ftp://files.example.org/photo.jpg"
    yield here, Entry(name, file, kind, value)


_SHARED = {"html": "files/page.html", "bomb": "files/bomb.png", "banner": "files/banner.jpg",
           "too_small": "files/small.jpg", "brotli": "files/sample.jpg",
           "too_large": "files/sample.jpg", "declared_too_large": "files/sample.jpg"}  # fmt: skip


def write_shared_files(folder: Path, seed: int) -> None:
    """The bodies that many URLs share."""
    rng = random.Random(f"shared files {seed}")
    sample = render(random_scene(rng), size=400, seed=seed)
    paragraph = "<p>Sorry, this picture has moved. Please look for it on our new site.</p>\n"
    page = f"<!DOCTYPE html><html><title>Oops</title><body>{paragraph * 120}</body></html>"
    files = {
        "page.html": page.encode(),
        "bomb.png": _bomb(),
        "banner.jpg": _jpeg(sample.resize((2_400, 80)), 95),
        "small.jpg": _jpeg(sample.resize((64, 64)), 70),
        "sample.jpg": _jpeg(sample, 90),
    }
    target = folder / "files"
    target.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (target / name).write_bytes(data)


def _jpeg(image: Image.Image, quality: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def _bomb() -> bytes:
    """A PNG of 400 million black pixels, written without ever holding them."""

    def chunk(name: bytes, data: bytes) -> bytes:
        crc = zlib.crc32(name + data)
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", crc)

    packer = zlib.compressobj(9)
    row = bytes(1 + _BOMB_SIDE // 8)
    pixels = b"".join(packer.compress(row) for _ in range(_BOMB_SIDE)) + packer.flush()
    header = struct.pack(">IIBBBBB", _BOMB_SIDE, _BOMB_SIDE, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        chunk(name, data) for name, data in ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
    )


def write_table(table: Table, path: Path) -> None:
    """Write the table as JSON."""
    data = {
        "port": table.port,
        "robots": table.robots,
        "pages": table.pages,
        "entries": {
            place: [entry.behaviour, entry.file, entry.content_type, entry.value]
            for place, entry in table.entries.items()
        },
    }
    write_bytes(path, (json.dumps(data, indent=0) + "\n").encode())


def read_table(path: Path) -> Table:
    """Read what `write_table` wrote."""
    data = json.loads(path.read_bytes())
    return Table(
        port=data["port"],
        entries={place: Entry(*values) for place, values in data["entries"].items()},
        pages={place: (warc, offset) for place, (warc, offset) in data["pages"].items()},
        robots=data["robots"],
    )
