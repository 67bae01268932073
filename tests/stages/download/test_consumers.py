"""The shards in other people's hands: webdataset, and tools made for img2dataset's output."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from laion_hpc.cli import main
from tests.stages.download.web import many, write_config, write_urls
from tests.web.hostile import Server

# Columns of img2dataset 1.47 with their types (save_caption, extract_exif, compute_hash=sha256).
IMG2DATASET = {
    "url": pa.string(),
    "caption": pa.string(),
    "key": pa.string(),
    "status": pa.string(),
    "error_message": pa.string(),
    "width": pa.int32(),
    "height": pa.int32(),
    "original_width": pa.int32(),
    "original_height": pa.int32(),
    "exif": pa.string(),
    "sha256": pa.string(),
}
STATS = {
    "count": int,
    "successes": int,
    "failed_to_download": int,
    "failed_to_resize": int,
    "duration": float,
    "start_time": float,
    "end_time": float,
    "status_dict": dict,
}


def test_webdataset_reads_the_shards(tmp_path: Path, server: Server) -> None:
    import webdataset

    data = write_urls(tmp_path / "u.parquet", many(server, 8))
    output = tmp_path / "out"
    assert (
        main(["download", data, "--output", str(output), "--config", write_config(tmp_path)]) == 0
    )
    dataset = webdataset.WebDataset(str(output / "00000.tar"), shardshuffle=False).decode("pil")
    samples = list(dataset)
    assert len(samples) == 4
    assert samples[0]["jpg"].size == (320, 256) and samples[0]["txt"] == "text 0 é"
    assert samples[0]["json"]["key"] == samples[0]["__key__"] == "0000000000"


def test_tools_for_img2dataset_read_the_shards(tmp_path: Path, server: Server) -> None:
    """Names, columns, types and members that its users' scripts rely on, with nothing of ours."""
    data = write_urls(tmp_path / "u.parquet", many(server, 8))
    output = tmp_path / "out"
    config = write_config(tmp_path)
    assert main(["download", data, "--output", str(output), "--config", config]) == 0
    table = pq.read_table(output / "00000.parquet")
    found = {name: table.schema.field(name).type for name in IMG2DATASET}
    assert found == IMG2DATASET
    success = table.filter(pa.compute.field("status") == "success")
    samples: dict[str, dict[str, bytes]] = {}
    with tarfile.open(output / "00000.tar") as tar:
        for member in tar:
            key, _, extension = member.name.partition(".")
            stream = tar.extractfile(member)
            assert stream is not None
            samples.setdefault(key, {})[extension] = stream.read()
    assert list(samples) == success["key"].to_pylist()
    for row in success.to_pylist():
        members = samples[row["key"]]
        assert set(members) == {"jpg", "txt", "json"}
        assert Image.open(io.BytesIO(members["jpg"])).size == (row["width"], row["height"])
        meta = json.loads(members["json"])
        assert {name: meta[name] for name in IMG2DATASET} == {n: row[n] for n in IMG2DATASET}
        assert members["txt"].decode() == row["caption"]
    stats = json.loads((output / "00000_stats.json").read_text())
    assert {name: type(stats[name]) for name in STATS} == STATS
    assert stats["status_dict"]["success"] == stats["successes"] == len(samples)
