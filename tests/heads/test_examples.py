"""Embeddings meet their labels: by key or row for row, and nothing is lost in silence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from laion_hpc.errors import InputError
from laion_hpc.heads.examples import Columns, read_examples
from tests.heads.labelled import write_labels
from tests.stages.tag.blocks import embedded_block, unit_vectors

SHARDS = [unit_vectors(6, 4, seed=1), unit_vectors(4, 4, seed=2)]
KEYS = [f"CC-TEST-0000-{s:05d}-{row:05d}" for s, n in ((0, 6), (1, 4)) for row in range(n)]


@pytest.fixture
def block(tmp_path: Path) -> Path:
    return embedded_block(tmp_path / "embed" / "0000", SHARDS)


def test_by_key_over_shards(block: Path, tmp_path: Path) -> None:
    # In another order than the embeddings; two keys are unknown, one label is missing.
    labels = write_labels(
        tmp_path / "labels.csv",
        key=[KEYS[9], KEYS[2], "none", KEYS[0], KEYS[6], "nowhere", KEYS[5]],
        label=[1, 0, 1, 1, 0, 0, None],
    )
    for source in (block, block.parent):
        found = read_examples(source, labels, Columns())
        vectors = np.concatenate(SHARDS)
        np.testing.assert_array_equal(found.embeddings, vectors[[0, 2, 6, 9]])
        assert found.embeddings.dtype == np.float16
        assert found.labels.tolist() == [1, 0, 0, 1]
        assert (found.inputs, found.unlabelled) == (7, 6)
        assert found.dropped == {"no_embedding": 2, "no_label": 1}


def test_odd_labels_cost_themselves_alone(block: Path, tmp_path: Path) -> None:
    bad = SHARDS[1].copy()
    bad[1, 2] = np.nan
    bad[3] = SHARDS[0][1]  # the same embedding under another key
    np.save(block / "img_emb" / "img_emb_00001.npy", bad)
    rows = [(KEYS[1], 1), (KEYS[1], 1), (KEYS[2], 0), (KEYS[2], 1), (KEYS[3], 0), (KEYS[7], 1)]
    rows += [(KEYS[9], 0), (KEYS[4], None)]
    labels = write_labels(
        tmp_path / "l.parquet", key=[key for key, _ in rows], label=[label for _, label in rows]
    )
    found = read_examples(block, labels, Columns())
    assert found.labels.tolist() == [1, 0]
    assert found.dropped == {
        "conflicting_labels": 2,
        "duplicate_embedding": 1,
        "no_label": 1,
        "not_finite": 1,
        "repeated_key": 1,
    }
    assert found.inputs == len(found.labels) + sum(found.dropped.values()) == 8


def test_row_for_row_and_other_names(tmp_path: Path) -> None:
    vectors = np.concatenate(SHARDS)
    np.save(tmp_path / "e.npy", vectors)
    part = ["train"] * 7 + ["held-out"] * 3
    flags = [row % 2 == 0 for row in range(10)]
    labels = write_labels(tmp_path / "l.parquet", meme=flags, part=part)
    found = read_examples(tmp_path / "e.npy", labels, Columns(label="meme", split="part"))
    np.testing.assert_array_equal(found.embeddings, vectors)
    assert found.labels.tolist() == [1, 0] * 5
    assert found.held_out is not None
    assert found.held_out.tolist() == [False] * 7 + [True] * 3
    lists = pa.table({"id": list(range(10)), "embedding": list(vectors.astype(np.float32))})
    pq.write_table(lists, tmp_path / "e.parquet")
    labels = write_labels(tmp_path / "m.csv", id=[8, 3], label=[0.5, 7])
    found = read_examples(tmp_path / "e.parquet", labels, Columns(key="id"))
    np.testing.assert_array_equal(found.embeddings, vectors[[3, 8]].astype(np.float32))
    assert found.labels.tolist() == [7, 0.5]


def test_what_does_not_fit(block: Path, tmp_path: Path) -> None:
    def refused(message: str, source: Path, labels: Path, **columns: Any) -> None:
        with pytest.raises(InputError, match=message):
            read_examples(source, labels, Columns(**columns))

    good = write_labels(tmp_path / "good.csv", key=KEYS, label=[0, 1] * 5)
    rows = write_labels(tmp_path / "rows.csv", label=[0, 1])
    texts = write_labels(tmp_path / "texts.csv", key=KEYS, label=["yes", "no"] * 5)
    parts = write_labels(tmp_path / "parts.csv", key=KEYS, label=[0, 1] * 5, part=["a"] * 10)
    others = write_labels(tmp_path / "others.csv", key=["a", "b"], label=[0, 1])
    nothing = write_labels(tmp_path / "nothing.parquet", key=KEYS, label=pa.nulls(10, pa.int8()))
    np.save(tmp_path / "e.npy", np.concatenate(SHARDS))
    np.save(tmp_path / "flat.npy", np.arange(10))
    refused(r"no column score; it has key, label", block, good, label="score")
    refused("rows.csv: 2 rows for the 10 embeddings", block, rows)
    refused("label is string; labels are numbers", block, texts)
    refused("part is a, not train or held-out", block, parts, split="part")
    refused("keys such as a, the embeddings such as CC-TEST-0000-00000-00000", block, others)
    refused("no label can be used: 10 no_label", tmp_path / "e.npy", nothing, key="id")
    refused("has the column key, but .* has no keys", tmp_path / "e.npy", good)
    refused("no such file", block, tmp_path / "none.csv")
    refused("labels are a .parquet or .csv file", block, tmp_path / "e.npy")
    refused("flat.npy: int64 .* embeddings are a 2-D float array", tmp_path / "flat.npy", rows)
    refused("holds no img_emb", tmp_path / "embed" / "0000" / "metadata", good)
    refused("no folder of embeddings", tmp_path / "none", good)
    np.save(block / "img_emb" / "img_emb_00001.npy", unit_vectors(4, 5))
    refused(r"00001\.npy: embeddings of 5 numbers, but in .*00000\.npy they have 4", block, good)
    np.save(block / "img_emb" / "img_emb_00001.npy", unit_vectors(3, 4))
    refused("3 embeddings for 4 rows of", block, good)
