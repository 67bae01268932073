"""Images and embeddings of the release: subsets re-sharded, and LAION-400M's layout."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from laion_hpc.cli import main
from laion_hpc.files import ledger
from laion_hpc.files.schemas import SCORED_SAMPLE
from laion_hpc.files.shards import Sample, ShardWriter, read_shard
from tests.stages.release.blocks import samples, write_block

BLOCKS, ROWS, PER_SHARD, OUT = 2, 100, 40, 16
"""`write_block` has 40 samples a shard; the release is cut by 16."""


def write_images(root: Path, rows: list[dict[str, Any]], block: int) -> Path:
    """A filtered block with these samples, and their vectors in the embedded one."""
    filtered, embedded = (root / stage / f"{block:04d}" for stage in ("filter", "embed"))
    filtered.mkdir(parents=True)
    files, vectors = [], list(ledger.read(embedded / ledger.MANIFEST).files)
    for shard, start in enumerate(range(0, len(rows), PER_SHARD)):
        part = rows[start : start + PER_SHARD]
        tar, table = (filtered / f"{shard:05d}.{kind}" for kind in ("tar", "parquet"))
        with ShardWriter(tar) as writer:
            for row in part:
                members = {"jpg": f"image {row['key']}".encode(), "txt": row["caption"].encode()}
                writer.add(Sample(row["key"], members | {"json": json.dumps(row).encode()}))
        full = [row | {"status": "success", "error_message": "", "fate": "kept"} for row in part]
        pq.write_table(pa.Table.from_pylist(full, schema=SCORED_SAMPLE), table)
        files += [ledger.describe(path, rows=len(part)) for path in (tar, table)]
        for place, kind in enumerate(("img_emb", "text_emb")):
            path = embedded / kind / f"{kind}_{shard:05d}.npy"
            path.parent.mkdir(exist_ok=True)
            np.save(path, np.stack([vector(row["key"], place) for row in part]))
            vectors.append(ledger.describe(path, rows=len(part), root=embedded))
    ledger.Ledger("filter", "samples", len(rows), len(rows), files=tuple(files)).write(
        filtered / ledger.MANIFEST
    )
    ledger.Ledger("embed", "samples", len(rows), len(rows), files=tuple(vectors)).write(
        embedded / ledger.MANIFEST
    )
    return filtered


def vector(key: str, place: int) -> Any:
    seed = int.from_bytes(hashlib.sha256(f"{key} {place}".encode()).digest()[:4])
    return np.random.default_rng(seed).normal(size=8).astype(np.float16)


def release(root: Path, **keys: Any) -> Path:
    """Blocks, images and the whole of a release by this config."""
    config = root / "config.yaml"
    subsets = [{"name": "wide", "where": "WIDTH >= 500", "images": True}]
    release = {"rows_per_part": 60, "subsets": subsets, "laion400m_layout": True, **keys}
    sizes = {"blocks": BLOCKS, "samples_per_shard": OUT}
    config.write_text(yaml.safe_dump({"dataset": sizes, "release": release}))
    end = ["--config", str(config), "--output", str(root / "release")]
    for block in range(BLOCKS):
        folder = f"{block:04d}"
        embedded, tags = str(root / "embed" / folder), str(root / "tag" / f"{folder}.parquet")
        number = ["--block", folder, *end]
        assert main(["release", "block", embedded, tags, *number]) == 0
        assert main(["release", "images", str(root / "filter" / folder), embedded, *number]) == 0
    assert main(["release", "gather", str(root / "release"), *end]) == 0
    return root / "release"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, list[dict[str, Any]]]]:
    root = tmp_path_factory.mktemp("images")
    rows = []
    for block in range(BLOCKS):
        mine = samples(ROWS, block, duplicates=2)
        write_block(root, mine, block)
        write_images(root, mine, block)
        rows += mine[: ROWS - 2]  # a repeated join key is released once
    release(root)
    yield root / "release", rows


def test_a_subset_has_its_images_and_vectors(made: tuple[Path, list[dict[str, Any]]]) -> None:
    folder = made[0] / "images" / "wide"
    expected = [row for row in made[1] if row["original_width"] >= 500]
    tars = sorted(folder.glob("*.tar"))
    assert [path.stem[:5] for path in tars] == sorted(path.stem[:5] for path in tars)
    found = [sample for tar in tars for sample in read_shard(tar)]
    assert [sample.key for sample in found] == [row["key"] for row in expected]
    assert all(sample.members["jpg"] == f"image {sample.key}".encode() for sample in found)
    for tar in tars:
        keys = [sample.key for sample in read_shard(tar)]
        assert len(keys) <= OUT
        table = pq.read_table(tar.with_suffix(".parquet"))
        assert table.schema.equals(SCORED_SAMPLE) and table["key"].to_pylist() == keys
        for place, kind in enumerate(("img_emb", "text_emb")):
            vectors = np.load(folder / kind / f"{kind}_{tar.stem}.npy")
            assert vectors.dtype == np.float16 and vectors.flags.c_contiguous
            assert np.array_equal(vectors, [vector(key, place) for key in keys])


def test_the_layout_is_what_laion_400m_s_readers_look_for(
    made: tuple[Path, list[dict[str, Any]]],
) -> None:
    layout = made[0] / "laion-400m-layout"
    tars = sorted((layout / "images").glob("*.tar"))
    assert [path.name for path in tars] == [f"{number:05d}.tar" for number in range(len(tars))]
    seen = []
    for number, tar in enumerate(tars):
        table = pq.read_table(tar.with_suffix(".parquet"))
        rows = table.to_pylist()
        assert {"caption", "url", "NSFW", "similarity", "LICENSE"} <= set(table.column_names)
        assert len({name.lower() for name in table.column_names}) == len(table.column_names)
        for place, sample in enumerate(read_shard(tar)):
            assert int(sample.key) == place
            assert set(sample.members) == {"jpg", "txt", "json"}
            assert sample.members["txt"].decode() == rows[place]["caption"]
            assert json.loads(sample.members["json"])["url"] == rows[place]["url"]
            seen.append(sample.members["jpg"].decode().removeprefix("image "))
        keys = seen[-len(rows) :]
        for place, kind in enumerate(("img_emb", "text_emb")):
            path = layout / "embeddings" / kind / f"{kind}_{number}.npy"
            assert np.array_equal(np.load(path), [vector(key, place) for key in keys])
        metadata = layout / "embeddings" / "metadata" / f"metadata_{number}.parquet"
        assert pq.read_table(metadata).equals(table)
    assert seen == [row["key"] for row in made[1]]
    assert len(list((layout / "embeddings" / "img_emb").iterdir())) == len(tars)
    # A link, no copy.
    assert tars[0].samefile(layout / "blocks" / "0000" / "00000.tar")


def test_checksums_and_manifest_list_the_images(made: tuple[Path, list[dict[str, Any]]]) -> None:
    listed = {
        line.split("  ")[1]: line.split("  ")[0]
        for line in (made[0] / "SHA256SUMS").read_text().splitlines()
    }
    files = [
        path.relative_to(made[0]).as_posix()
        for folder in ("images", "laion-400m-layout/images", "laion-400m-layout/embeddings")
        for path in (made[0] / folder).rglob("*.*")
    ]
    assert set(files) <= listed.keys()
    for name in files:
        assert hashlib.sha256((made[0] / name).read_bytes()).hexdigest() == listed[name]


def test_the_same_again_and_less_leaves_nothing_behind(tmp_path: Path) -> None:
    for block in range(BLOCKS):
        rows = samples(ROWS, block)
        write_block(tmp_path, rows, block)
        write_images(tmp_path, rows, block)

    def contents() -> dict[str, bytes]:
        found = sorted(path for path in (tmp_path / "release").rglob("*") if path.is_file())
        return {path.relative_to(tmp_path).as_posix(): path.read_bytes() for path in found}

    release(tmp_path)
    before = contents()
    release(tmp_path)
    assert contents() == before
    strict = [{"name": "wide", "where": "WIDTH >= 3000", "images": True}]
    release(tmp_path, subsets=strict, laion400m_layout=False)
    names = contents()
    assert not any("laion-400m-layout" in name for name in names)
    sizes = [
        pq.read_metadata(io.BytesIO(data)).num_rows
        for name, data in names.items()
        if "images/wide/0" in name and name.endswith(".parquet")
    ]
    wide = sum(r["original_width"] >= 3000 for n in range(BLOCKS) for r in samples(ROWS, n))
    assert sum(sizes) == wide


def test_a_sample_without_an_image_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for block in range(BLOCKS):
        rows = samples(ROWS, block)
        write_block(tmp_path, rows, block)
        write_images(tmp_path, rows[:-1] if block else rows, block)
    with pytest.raises(AssertionError):
        release(tmp_path)
    assert f"released sample {rows[-1]['key']}" in capsys.readouterr().err
