"""The embeddings checked: scores of the heads, recall of the index, queries by text."""

from __future__ import annotations

import json
import os
import random
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from laion_hpc.config.sections import EmbedConfig
from laion_hpc.demo import captions
from laion_hpc.demo.check_outcomes import Row, Rows, by_place, read_rows
from laion_hpc.demo.scenes import Scene
from laion_hpc.demo.truth import scene_of
from laion_hpc.demo.verdict import Finding, share
from laion_hpc.errors import InputError
from laion_hpc.files.index_folder import EVALUATION, INDEX, block_and_row
from laion_hpc.files.tables import read_parquet

QUERIES = 200
NEAREST = 5
FOUND = 0.8
RECALL = 0.95
HEADS_RIGHT = 0.9
_SEED = 20


def known_samples(crawl: Path, truth: Rows) -> dict[int, list[Row]]:
    """The truth of every embedded sample: block -> its rows, in the order of the vectors."""
    samples: dict[int, list[Row]] = {}
    for folder in sorted((crawl / "embed").glob("[0-9]*")):
        rows = read_rows(sorted((folder / "metadata").glob("*.parquet")), ())
        try:
            samples[int(folder.name)] = [truth[place] for place in by_place(rows)]
        except KeyError as error:
            raise InputError(f"{folder}: {error} is not in the truth: of another demo?") from None
    if not any(samples.values()):
        raise InputError(f"{crawl}/embed: not a single embedding; has the whole demo run?")
    return samples


def of_heads(crawl: Path, truth: Rows) -> list[Finding]:
    """How often the two heads say of a picture what is true, at 0.5."""
    samples = known_samples(crawl, truth)
    findings = []
    for column, fact in (("punsafe", "hazard"), ("pwatermark", "watermark")):
        right = whole = 0
        for block, rows in samples.items():
            table = read_parquet(crawl / "tag" / f"{block:04d}.parquet", columns=[column])
            told = table[column].to_numpy() > 0.5
            right += int(np.sum(told == np.array([row[fact] for row in rows], np.bool_)))
            whole += len(rows)
        findings.append(share(f"tag: {column} right at 0.5", right, whole, HEADS_RIGHT))
    return findings


def of_index(crawl: Path) -> Finding:
    """recall@10 with the parameters that `search` will use; the worse of image and text queries."""
    path = crawl / "index" / EVALUATION
    try:
        data = json.loads(path.read_bytes())
        chosen = next(row for row in data["recall"] if row["nprobe"] == data["nprobe"])
        measured = {kind: float(chosen[kind]["10"]) for kind in data["queries"]}
    except FileNotFoundError:
        raise InputError(f"{path}: no evaluation; has the whole demo run?") from None
    kind = min(measured, key=lambda name: measured[name])
    value, number = measured[kind], data["queries"][kind]
    what = "index: recall@10, image and text"
    met = value >= RECALL
    places = () if met else (f"{kind} queries at nprobe {data['nprobe']}",)
    return Finding(what, f"{value:.1%} of {number:,}", f"{RECALL:.0%}", met, places)


def of_queries(crawl: Path, truth: Rows, config: EmbedConfig) -> Finding:
    """Type a new caption of a scene that is in the index: is such a picture among the nearest?

    A right one shows the very scene: the same objects, colours, layout and background.
    """
    from laion_hpc.models import load

    samples = known_samples(crawl, truth)
    rng = random.Random(_SEED)
    scenes = [scene_of(row["picture"]) for rows in samples.values() for row in rows if row["right"]]
    asked = ask(scenes, rng)
    tower = load(config.model, device=config.device, precision="fp32")
    found = _search(crawl / "index", tower.embed_texts([text for _, text in asked]))
    missed = []
    for (scene, text), ids in zip(asked, found, strict=True):
        shown = [_scene_at(samples, number) for number in ids]
        if scene not in shown:
            missed.append(f"query {text!r}: nearest {shown[:2]}")
    return share(
        f"search: the right picture in the top {NEAREST}",
        len(asked) - len(missed),
        len(asked),
        FOUND,
        missed,
    )


def ask(scenes: Sequence[Scene], rng: random.Random) -> list[tuple[Scene, str]]:
    """`QUERIES` scenes with a query each: all languages in turn, and names in no language."""
    speeches = (*captions.LANGUAGES, "")
    asked = []
    for number in range(QUERIES):
        scene, speech = rng.choice(scenes), speeches[number % len(speeches)]
        text = captions.caption(scene, speech, rng) if speech else captions.name_only(scene)
        asked.append((scene, text))
    return asked


def _search(folder: Path, queries: Any) -> list[list[int]]:
    """Ids of the nearest vectors, by the index and with its own search parameters."""
    import faiss

    if not (folder / INDEX).exists():
        raise InputError(f"{folder / INDEX}: no index; has the whole demo run?")
    with _silence():
        flags = faiss.IO_FLAG_ONDISK_SAME_DIR | faiss.IO_FLAG_READ_ONLY
        index = faiss.read_index(str(folder / INDEX), flags)
    nprobe = json.loads((folder / EVALUATION).read_bytes())["nprobe"]
    faiss.extract_index_ivf(index).nprobe = nprobe
    faiss.omp_set_num_threads(1)
    _, ids = index.search(queries, NEAREST)
    return [[int(number) for number in row if number >= 0] for row in ids]


def _scene_at(samples: dict[int, list[Row]], number: int) -> Scene:
    block, row = block_and_row(number)
    return scene_of(samples[block][row]["picture"])


@contextmanager
def _silence() -> Iterator[None]:
    """No standard output, not even from C: faiss tells how it finds its lists."""
    sys.stdout.flush()
    kept = os.dup(1)
    nothing = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nothing)
