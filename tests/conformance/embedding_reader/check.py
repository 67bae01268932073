"""embedding-reader reads a block's embeddings with their metadata; autofaiss builds an index."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from autofaiss import build_index
from embedding_reader import EmbeddingReader


def main(results: Path) -> str:
    blocks = sorted((results / "embed").glob("*/manifest.json"))
    total = 0
    for block in (manifest.parent for manifest in blocks):
        own = np.concatenate([np.load(part) for part in sorted(block.glob("img_emb/*.npy"))])
        table = pq.read_table(sorted(block.glob("metadata/*.parquet"))).to_pylist()
        reader = EmbeddingReader(
            embeddings_folder=str(block / "img_emb"),
            metadata_folder=str(block / "metadata"),
            meta_columns=["key", "caption"],
            file_format="parquet_npy",
        )
        assert reader.count == len(own) == len(table), (reader.count, len(own), len(table))
        read, keys = [], []
        for batch, metadata in reader(batch_size=100):
            read.append(batch)
            keys += metadata["key"].tolist()
        assert np.array_equal(np.concatenate(read), own)
        assert keys == [row["key"] for row in table]
        total += len(own)
    with tempfile.TemporaryDirectory() as folder:
        index, _ = build_index(
            embeddings=str(blocks[0].parent / "img_emb"),
            index_path=f"{folder}/knn.index",
            index_infos_path=f"{folder}/infos.json",
            index_key="Flat",
            save_on_disk=True,
            nb_cores=1,
        )
        first = np.load(sorted((blocks[0].parent / "img_emb").glob("*.npy"))[0])[:20]
        _, found = index.search(first.astype(np.float32), 1)
    # Two samples may have the same picture: the vector counts, not its number.
    own = np.concatenate([np.load(p) for p in sorted(blocks[0].parent.glob("img_emb/*.npy"))])
    assert np.allclose(own[found[:, 0]], first)
    return f"{total:,} embeddings and keys read in order; autofaiss finds each of 20 itself"


if __name__ == "__main__":
    print(main(Path(sys.argv[1])))
