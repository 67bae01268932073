"""Images on a hostile web, and the files that a download from it needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from tests.stages.download.pictures import avif_bomb, encoded, photo, png_bomb
from tests.web.hostile import Server, response

JPEG = encoded(photo(500, 400), quality=97)
IMAGES: dict[str, bytes] = {
    "/image.jpg": response(JPEG, "Content-Type: image/jpeg"),
    "/image.png": response(encoded(photo(), "PNG"), "Content-Type: image/png"),
    "/image-as-html": response(JPEG, "Content-Type: text/html"),
    "/html.jpg": response(b"<html>" + b"no image " * 1_000, "Content-Type: image/jpeg"),
    "/tiny.jpg": response(encoded(photo(20, 20)), "Content-Type: image/jpeg"),
    "/bomb.png": response(png_bomb() + bytes(5_000), "Content-Type: image/png"),
    "/cut.jpg": response(JPEG[:-6_000], "Content-Type: image/jpeg"),
    "/fewer-bytes-declared.jpg": response(JPEG, length=len(JPEG) - 6_000),
    "/bomb.avif": response(avif_bomb() + bytes(5_000), "Content-Type: image/avif"),
    "/blocked.jpg": response(encoded(photo(300, 500), quality=98)),
}


def write_config(folder: Path, **changes: Any) -> str:
    settings = {
        "allow_networks": ["127.0.0.0/8"],
        "deadline_seconds": 3,
        "retries": 0,
        "max_bytes": 2_000_000,
        "connections_per_host": 50,
        "max_pixels": 2_000_000,
        **changes,
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump({"download": settings}))
    return str(path)


def write_urls(path: Path, urls: list[str]) -> str:
    pq.write_table(pa.table({"URL": urls, "TEXT": [f"text {n} é" for n in range(len(urls))]}), path)
    return str(path)


def digests(folder: Path) -> dict[str, bytes]:
    """All outputs that must be the same again; those that tell of time are left out."""
    return {
        path.name: path.read_bytes()
        for path in sorted(folder.iterdir())
        if not path.name.endswith("_stats.json")
    }


def many(server: Server, number: int) -> list[str]:
    paths = ["/image.jpg", "/404", "/image.png", "/html.jpg"]
    return [f"{server.url}{paths[n % 4]}" for n in range(number)]
