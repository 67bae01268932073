"""TensorFlow Datasets' own laion400m builders read the release in LAION-400M's layout.

Their counts and shapes are written into their code for LAION-400M itself, and their embeddings
are downloaded from its site: the number of shards, the width and the address are those of this
run instead. Nothing else of them is changed.
"""

from __future__ import annotations

import functools
import http.server
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import tensorflow_datasets as tfds
from apache_beam.options.pipeline_options import PipelineOptions
from tensorflow_datasets.vision_language.laion400m import laion400m


def settings(manual: Path) -> tfds.download.DownloadConfig:
    return tfds.download.DownloadConfig(
        manual_dir=str(manual), beam_runner="DirectRunner", beam_options=PipelineOptions([])
    )


def images(layout: Path, folder: Path) -> int:
    shards = sorted(layout.glob("*.tar"))
    laion400m.LAION400M_IMAGES_CONFIG.num_shards = len(shards)
    builder = tfds.builder("laion400m/images", data_dir=str(folder))
    builder.download_and_prepare(download_config=settings(layout))
    table = pq.read_table([shard.with_suffix(".parquet") for shard in shards])
    captions = sorted(table["caption"].to_pylist())
    dataset = builder.as_dataset(split="train")
    found = []
    for sample in tfds.as_numpy(dataset):
        assert sample["image"].ndim == 3
        found.append(sample["caption"].decode())
    assert sorted(found) == captions, (len(found), len(captions))
    return len(found)


def embeddings(layout: Path, folder: Path) -> int:
    """The builder downloads them: a server on this machine gives them to it."""
    images = sorted((layout / "img_emb").glob("*.npy"))
    first = np.load(images[0], mmap_mode="r")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(layout))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    laion400m.LAION400M_EMBEDDINGS_CONFIG.num_shards = len(images)
    laion400m._EMBEDDINGS_URL = f"http://127.0.0.1:{server.server_port}/"
    laion400m._CLIP_EMBEDDING_SHAPE = (first.shape[1],)
    try:
        builder = tfds.builder("laion400m/embeddings", data_dir=str(folder))
        builder.download_and_prepare(download_config=settings(layout))
    finally:
        server.shutdown()
    own = np.concatenate([np.load(part) for part in images])
    read = [sample["image_embedding"] for sample in tfds.as_numpy(builder.as_dataset("train"))]
    assert np.array_equal(rows_sorted(np.stack(read)), rows_sorted(own))
    return len(read)


def rows_sorted(matrix: np.ndarray) -> np.ndarray:
    """The builder shuffles: what counts is that the same rows are there."""
    return matrix[np.lexsort(matrix.T)]


def main(results: Path) -> str:
    layout = results / "release" / "laion-400m-layout"
    with tempfile.TemporaryDirectory() as folder:
        pictures = images(layout / "images", Path(folder))
        vectors = embeddings(layout / "embeddings", Path(folder))
    return f"{pictures:,} images and {vectors:,} pairs of embeddings through its two builders"


if __name__ == "__main__":
    print(main(Path(sys.argv[1])))
