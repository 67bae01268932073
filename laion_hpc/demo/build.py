"""Builds the demo's folder: pictures, WARCs, WATs, the server's table and the truth."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from laion_hpc.errors import InputError, UsageError
from laion_hpc.files.atomic import write_bytes

STAMP = "demo.json"
TRUTH_FILE = "truth.parquet"
_PARTS = ("wat", "warc", "images", "files")

_CODE = ("build", "captions*", "faults", "pages", "pictures", "references", "scene*", "sites",
         "table", "truth", "warc", "wat", "web")  # fmt: skip
"""Modules of this package that decide what is built."""


@dataclass(frozen=True)
class Parameters:
    """What a demo's web follows from."""

    pages: int
    seed: int
    port: int
    code: str
    """Digest of the code that builds it."""


def parameters(pages: int, seed: int, port: int) -> Parameters:
    """Check the user's wishes; UsageError says what is possible."""
    from laion_hpc.demo.web import MIN_PAGES

    if pages < MIN_PAGES:
        raise UsageError(f"--pages {pages}: at least {MIN_PAGES}, so that everything occurs")
    if not 1_024 <= port <= 65_535:
        raise UsageError(f"--port {port}: must be between 1024 and 65535")
    digest = hashlib.sha256()
    package = Path(__file__).parent
    for path in sorted(path for pattern in _CODE for path in package.glob(f"{pattern}.py")):
        digest.update(path.read_bytes())
    return Parameters(pages, seed, port, digest.hexdigest()[:16])


def is_built(folder: Path, wanted: Parameters) -> bool:
    """Whether the folder holds the whole demo with these parameters."""
    stamp = folder / STAMP
    try:
        return bool(json.loads(stamp.read_bytes())["parameters"] == asdict(wanted))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return False


def build(folder: Path, wanted: Parameters, processes: int) -> dict[str, int]:
    """Build what `is_built` misses; returns numbers worth telling. The stamp comes last."""
    from laion_hpc.demo import table, truth, warc
    from laion_hpc.demo.pictures import make
    from laion_hpc.demo.web import plan
    from laion_hpc.runtime import work

    _clear(folder)
    web = plan(wanted.pages, wanted.seed, wanted.port)
    rng = random.Random(f"crawl {wanted.seed}")
    pictures = [asset.picture for asset in web.assets if asset.picture is not None]
    with work.team(processes) as team:
        if not team.leads:
            return {}
        team.map(partial(make, folder=folder), pictures, label="draw pictures", unit="pictures")
        crawl = warc.crawl(web.pages, rng)
        write = partial(warc.write, folder=folder, seed=wanted.seed)
        written = team.map(write, crawl, label="write WARCs and WATs", unit="WATs")
    places = [place for part in written for place in part]
    table.write_shared_files(folder, wanted.seed)
    _break_pictures(web.assets, folder)
    served = table.make_table(web.assets, web.sites, wanted.port, wanted.seed)
    table.add_pages(served, places, folder)
    table.write_table(served, folder / table.TABLE)
    rows = truth.make_truth(places)
    truth.write_truth(rows, folder / TRUTH_FILE)
    counts = {
        "hosts": len(web.sites),
        "pages": len(web.pages),
        "pictures": len(pictures),
        "wats": len(crawl),
        "links": len(rows),
        "right": sum(row["stage"] == truth.RELEASED for row in rows),
        "wrong": sum(row["stage"] == "filter" for row in rows),
    }
    stamp = {"parameters": asdict(wanted), "counts": counts}
    write_bytes(folder / STAMP, (json.dumps(stamp, indent=1) + "\n").encode())
    return counts


def _clear(folder: Path) -> None:
    """Remove an older demo, and nothing else: the folder may hold other things."""
    (folder / STAMP).unlink(missing_ok=True)
    for name in _PARTS:
        shutil.rmtree(folder / name, ignore_errors=True)


def _break_pictures(assets: Any, folder: Path) -> None:
    """Cut the files of those pictures that must not be decodable: half of each stays."""
    for asset in assets:
        if asset.behaviour.name == "broken" and asset.picture is not None:
            path = folder / asset.picture.file
            data = path.read_bytes()
            path.write_bytes(data[: len(data) // 2])


def read_stamp(folder: Path) -> dict[str, Any]:
    """Parameters and counts of a demo; InputError if there is none."""
    try:
        stamp: dict[str, Any] = json.loads((folder / STAMP).read_bytes())
    except (FileNotFoundError, ValueError):
        raise InputError(
            f"{folder}: no demo here; make it with `laion-hpc demo build --output {folder}`"
        ) from None
    return stamp


def describe(counts: dict[str, int]) -> str:
    """The numbers of a build as a sentence."""
    return (
        f"{counts['pages']:,} pages on {counts['hosts']} hosts, {counts['pictures']:,} pictures, "
        f"{counts['links']:,} image links in {counts['wats']} WATs; {counts['right']:,} with a "
        f"right caption should pass, {counts['wrong']:,} with a wrong one should not"
    )
