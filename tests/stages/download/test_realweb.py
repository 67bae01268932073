"""The images of real pages, replayed by a proxy: all arrive, and all have a fate of their own."""

from __future__ import annotations

import io
import tarfile
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import webdataset
from PIL import Image

from laion_hpc.cli import main
from laion_hpc.files import ledger
from laion_hpc.stages.download import outcomes
from tests.realweb.proxy import ReplayProxy
from tests.stages.download.web import write_config, write_urls


def test_the_corpus_downloads_whole(tmp_path: Path, testdata: Path) -> None:
    images = testdata / "realweb" / "images.tar"
    with tarfile.open(images) as tar:
        urls = [f"http://{member.name}" for member in tar if member.isfile()]
    data = write_urls(tmp_path / "u.parquet", urls)
    proxy = ReplayProxy(images)
    try:
        config = write_config(
            tmp_path,
            proxy=f"http://127.0.0.1:{proxy.port}",
            respect_robots_txt=False,  # the corpus holds images only
            deadline_seconds=60,
            min_bytes=0,
            max_bytes=25_000_000,
            max_pixels=50_000_000,
        )
        output = tmp_path / "out"
        arguments = ["download", data, "--output", str(output), "--config", config]
        assert main([*arguments, "--processes", "2", "--samples-per-shard", "400"]) == 0
    finally:
        proxy.close()
    manifest = ledger.read(output / "manifest.json")
    assert manifest.inputs == len(urls) == 1095 and manifest.balanced
    # What the network can do has not happened, and no decoder died.
    lost = Counter(manifest.dropped)
    assert set(lost) <= outcomes.IMAGE_REASONS - {"decoder_crashed"}, lost
    assert set(manifest.counts["formats"]) >= {"JPEG", "PNG", "GIF"}
    tables = sorted(output.glob("*.parquet"))
    rows = pq.read_table(tables, columns=["key", "width", "height"]).to_pylist()
    sizes = {row["key"]: (row["width"], row["height"]) for row in rows}
    shards = sorted(map(str, output.glob("*.tar")))
    read = 0
    for sample in webdataset.WebDataset(shards, shardshuffle=False):
        read += 1
        assert Image.open(io.BytesIO(sample["jpg"])).size == sizes[sample["__key__"]]
    assert read == manifest.kept > 1_000
