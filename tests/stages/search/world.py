"""A small served index of rendered scenes, with a model that knows their words."""

from __future__ import annotations

import io
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from laion_hpc.config.sections import ModelConfig, SearchConfig
from laion_hpc.demo.scenes import Scene, random_scene, render
from laion_hpc.files.shards import Sample, ShardWriter
from laion_hpc.stages.search.knn.collection import open_collections
from laion_hpc.stages.search.service import Service
from laion_hpc.stages.search.thumbnails import Thumbnails
from laion_hpc.web.settings import Settings
from tests.stages.index.blocks import build, config, samples, unit, write_block, write_tags

WIDTH = 48
ROWS = {3: 70, 12: 50}
SHAPES = (1.0, 1.5, 0.75, 1.33, 1.0)
LANGUAGES = (("en", "en"), ("en", "en"), ("de", "multi"), ("ja", "multi"), ("", "nolang"))


def words(scene: Scene) -> list[str]:
    return [w for thing in scene.things for w in (thing.colour, thing.shape)] + [scene.background]


def caption(scene: Scene) -> str:
    things = " and ".join(f"a {thing.colour} {thing.shape}" for thing in scene.things)
    return f"{things}, {scene.background}"


def word_vector(word: str) -> np.ndarray:
    return np.random.default_rng(list(word.encode())).standard_normal(WIDTH)


def thumbnail(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB").resize((8, 8)), np.float32).ravel()


@dataclass
class FakeTower:
    """Texts are the sum of their words; images are recognised by their looks."""

    known: np.ndarray
    vectors: np.ndarray
    name: str = "fake"
    width: int = WIDTH
    device: str = "cpu"

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        known = [[w for w in re.findall(r"\w+", text) if w not in ("a", "and")] for text in texts]
        sums = [sum((word_vector(w) for w in said), np.zeros(WIDTH)) for said in known]
        return unit(np.stack(sums) + 1e-9).astype(np.float32)

    def embed_images(self, images: Sequence[Image.Image]) -> np.ndarray:
        looks = np.stack([thumbnail(image) for image in images])
        nearest = ((self.known[None] - looks[:, None]) ** 2).sum(2).argmin(1)
        return self.vectors[nearest].astype(np.float32)


@dataclass
class World:
    index: Path
    shards: list[Path]
    embeddings: list[Path]
    scenes: dict[int, list[Scene]]
    pictures: dict[int, list[bytes]]
    tower: FakeTower
    vectors: np.ndarray

    def load(self, _model: ModelConfig) -> FakeTower:
        return self.tower

    def service(
        self,
        *,
        images: bool = True,
        embeddings: bool = False,
        shards: Sequence[Path] | None = None,
        web: Settings | str = "image URLs are switched off",
        **settings: object,
    ) -> Service:
        return Service(
            open_collections([self.index], self.embeddings if embeddings else ()),
            SearchConfig.model_validate({"rate_limit": 0} | settings),
            load=self.load,  # type: ignore[arg-type]
            images=Thumbnails(shards or self.shards) if images else None,
            web=web,
        )


def make_world(root: Path, *, rows: dict[int, int] | None = None, size: int = 64) -> World:
    """Two blocks of pictures, embedded, tagged, indexed, and their shards."""
    rng = random.Random(5)
    scenes, pictures, blocks, tags, shards = {}, {}, {}, {}, []
    looks, everything = [], []
    for block, count in (rows or ROWS).items():
        scenes[block] = [random_scene(rng) for _ in range(count)]
        # The last two of a block show what the first two do: duplicates.
        scenes[block][-2:] = scenes[block][:2]
        images = [render(s, size=size, seed=i % (count - 2)) for i, s in enumerate(scenes[block])]
        images = [_cut(image, SHAPES[i % (count - 2) % 5]) for i, image in enumerate(images)]
        pictures[block] = [_jpeg(image) for image in images]
        vectors = unit(np.stack([sum(word_vector(w) for w in words(s)) for s in scenes[block]]))
        noise = np.random.default_rng(block).standard_normal(vectors.shape) * 0.02
        vectors = unit(vectors + noise)
        table = samples(
            block,
            count,
            original_width=[200 + i for i in range(count)],
            original_height=[round((200 + i) / SHAPES[i % (count - 2) % 5]) for i in range(count)],
            caption=[caption(scene) for scene in scenes[block]],
            language=[LANGUAGES[i % 5][0] for i in range(count)],
            language_class=[LANGUAGES[i % 5][1] for i in range(count)],
            license=[
                "https://creativecommons.org/licenses/by/4.0/" if i % 4 == 0 else "?"
                for i in range(count)
            ],
            url=[f"https://h{i % 7}.example.invalid/{block}/{i}.jpg" for i in range(count)],
            page_url=[f"https://h{i % 7}.example.invalid/page{i}.html" for i in range(count)],
        )
        blocks[block] = write_block(root / "embed" / f"{block:04d}", vectors, table, shard=40)
        tags[block] = write_tags(root / "tag" / f"{block:04d}.parquet", table)
        shards.append(_write_shards(root / "filter" / f"{block:04d}", table, pictures[block]))
        looks += [thumbnail(Image.open(io.BytesIO(data))) for data in pictures[block]]
        everything.append(vectors)
    index = build(root / "demo" / "index", blocks, config(key="IVF8,SQfp16"), tags=tags)
    vectors = np.concatenate(everything)
    tower = FakeTower(np.stack(looks), vectors)
    return World(index, shards, list(blocks.values()), scenes, pictures, tower, vectors)


def _cut(image: Image.Image, ratio: float) -> Image.Image:
    """The middle of a square picture, `ratio` times as wide as high."""
    side = image.width
    width, height = (side, round(side / ratio)) if ratio > 1 else (round(side * ratio), side)
    left, top = (side - width) // 2, (side - height) // 2
    return image.crop((left, top, left + width, top + height))


def _jpeg(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=88)
    return stream.getvalue()


def _write_shards(folder: Path, table: pa.Table, pictures: Sequence[bytes]) -> Path:
    folder.mkdir(parents=True)
    keys = table["key"].to_pylist()
    for number, first in enumerate(range(0, len(keys), 30)):
        part = slice(first, first + 30)
        with ShardWriter(folder / f"{number:05d}.tar") as shard:
            for key, picture in zip(keys[part], pictures[part], strict=True):
                shard.add(Sample(key, {"jpg": picture, "txt": b"text", "json": b"{}"}))
        pq.write_table(table.slice(first, 30), folder / f"{number:05d}.parquet")
    return folder
