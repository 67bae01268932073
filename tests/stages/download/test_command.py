"""The command as a user runs it, against a hostile web on loopback."""

from __future__ import annotations

import io
import json
import os
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from laion_hpc.cli import main
from laion_hpc.files import ledger
from laion_hpc.files.schemas import SAMPLE
from laion_hpc.files.shards import read_shard
from laion_hpc.stages.download import outcomes
from tests.stages.download.pictures import encoded, photo
from tests.stages.download.test_inputs import keyed
from tests.stages.download.web import JPEG, digests, many, write_config, write_urls
from tests.web.hostile import Server, pages

pytestmark = pytest.mark.slow

EXPECTED = {
    "/image.jpg": "",
    "/image.png": "",
    "/image-as-html": "",
    "/html.jpg": "not_an_image",
    "/tiny.jpg": "too_small",
    "/bomb.png": "too_many_pixels",
    "/bomb.avif": "too_many_pixels",
    "/cut.jpg": "undecodable",
    "/fewer-bytes-declared.jpg": "undecodable",
    "/blocked.jpg": "",
    "/empty": "too_small",
    "/404": "http_404",
    "/slow-body": "timeout",
    "/to-private": "forbidden_address",
    "/to-file": "bad_redirect",
    "/gzip-bomb": "too_large",
    "/noai": "opted_out",
    "/private/x": "robots_txt",
    "/declared-long": "truncated",
    "/garbage-status": "protocol",
    "/good": "not_an_image",
}


def test_each_sample_has_its_fate(
    tmp_path: Path, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    urls = [server.url + path for path in EXPECTED] + ["nonsense", ""]
    expected = [*EXPECTED.values(), "bad_url", "bad_url"]
    config = write_config(tmp_path)
    output = tmp_path / "out"
    data = write_urls(tmp_path / "u.parquet", urls)
    assert main(["download", data, "--output", str(output), "--config", config]) == 0

    table = pq.read_table(output / "00000.parquet")
    assert table.schema.equals(SAMPLE)
    rows = table.to_pylist()
    assert [row["url"] for row in rows] == urls
    assert [row["error_message"] for row in rows] == expected
    assert [row["status"] for row in rows] == [outcomes.status_of(reason) for reason in expected]
    assert all(value is not None for row in rows for value in row.values())
    kept = [row for row in rows if not row["error_message"]]

    samples = list(read_shard(output / "00000.tar"))
    assert [sample.key for sample in samples] == [row["key"] for row in kept]
    for sample, row in zip(samples, kept, strict=True):
        assert list(sample.members) == ["jpg", "txt", "json"]
        assert Image.open(io.BytesIO(sample.members["jpg"])).size == (row["width"], row["height"])
        assert sample.members["txt"].decode() == row["caption"]
        assert json.loads(sample.members["json"]) == row
    first = rows[0]
    assert (first["width"], first["height"]) == (320, 256)
    assert (first["original_width"], first["original_height"]) == (500, 400)
    assert (first["http_status"], first["content_type"]) == (200, "image/jpeg")
    assert first["final_url"] == urls[0] and first["bytes"] == len(JPEG)
    assert first["sha256"] and first["md5"] and first["license"] == "?"

    stats = json.loads((output / "00000_stats.json").read_text())
    assert stats["count"] == len(urls) and stats["successes"] == len(kept)
    assert stats["failed_to_resize"] == 6
    assert stats["successes"] + stats["failed_to_download"] + stats["failed_to_resize"] == len(urls)
    assert stats["status_dict"]["success"] == len(kept)
    assert set(stats["cpu_ms"]) == {"fetch", "decode", "resize", "encode", "write"}

    manifest = ledger.read(output / "manifest.json")
    assert (manifest.stage, manifest.unit) == ("download", "samples")
    assert (manifest.inputs, manifest.kept) == (len(urls), len(kept)) and manifest.balanced
    assert manifest.dropped["bad_url"] == 2 and manifest.dropped["http_404"] == 1
    assert manifest.counts["formats"] == {"JPEG": 3, "PNG": 1}
    assert manifest.counts["opt_outs"] == {"noai": 1}
    for entry in manifest.files:
        assert ledger.describe(output / entry.name, rows=entry.rows) == entry
    names = {path.name for path in output.iterdir()}
    assert names == {
        "00000.tar",
        "00000.parquet",
        "00000_stats.json",
        "00000.ledger.json",
        "manifest.json",
    }
    assert f"{len(kept)} of {len(urls)} images" in capsys.readouterr().err


def test_same_bytes_for_any_number_of_processes_and_after_a_loss(
    tmp_path: Path, server: Server
) -> None:
    config = write_config(tmp_path)
    data = write_urls(tmp_path / "u.parquet", many(server, 70))
    found = []
    for processes in ("1", "2"):
        output = tmp_path / processes
        arguments = ["download", data, "--output", str(output), "--config", config]
        arguments += ["--samples-per-shard", "20", "--processes", processes]
        assert main(arguments) == 0
        found.append(digests(output))
    arguments = arguments[:-2]
    assert found[0] == found[1]
    assert len(found[0]) == 4 * 3 + 1

    # Again: nothing to do, and nobody is asked.
    before = server.seen.total()
    stamp = (output / "manifest.json").stat().st_mtime_ns
    assert main(arguments) == 0
    assert server.seen.total() == before
    assert (output / "manifest.json").stat().st_mtime_ns == stamp

    # One shard lost, one cut short: these two are made again.
    (output / "00001.ledger.json").unlink()
    os.truncate(output / "00002.tar", 100)
    assert main(arguments) == 0
    assert server.seen.total() - before == 40 + 1
    assert digests(output) == found[0]

    # Another config makes all of them again; a shorter input leaves nothing behind.
    write_config(tmp_path, image_size=128)
    write_urls(tmp_path / "u.parquet", many(server, 30))
    assert main(arguments) == 0
    assert sorted(path.name for path in output.glob("*.tar")) == ["00000.tar", "00001.tar"]
    assert ledger.read(output / "manifest.json").inputs == 30
    sample = next(read_shard(output / "00000.tar"))
    assert min(Image.open(io.BytesIO(sample.members["jpg"])).size) == 128


def test_shards_of_shuffle(tmp_path: Path, server: Server) -> None:
    path = keyed(tmp_path / "0007.parquet", [3, 0, 2])
    table = pq.read_table(path)
    place = table.schema.get_field_index("url")
    table = table.set_column(place, "url", pa.array([f"{server.url}/image.jpg"] * 5))
    with pq.ParquetWriter(path, table.schema) as writer:
        for start, size in ((0, 3), (3, 0), (3, 2)):
            writer.write_table(table.slice(start, size), row_group_size=3)
    output = tmp_path / "out"
    config = write_config(tmp_path)
    assert main(["download", str(path), "--output", str(output), "--config", config]) == 0
    groups = pq.ParquetFile(path).num_row_groups
    assert len(list(output.glob("*.tar"))) == groups
    keys = [sample.key for tar in sorted(output.glob("*.tar")) for sample in read_shard(tar)]
    assert keys == table.column("key").to_pylist()
    row = pq.read_table(output / "00000.parquet").to_pylist()[1]
    assert row["language"] == "language-0-1" and row["link_position"] == 1


def test_blocked_hashes(tmp_path: Path, server: Server) -> None:
    import hashlib

    body = encoded(photo(300, 500), quality=98)
    blocklist = tmp_path / "blocked.txt"
    blocklist.write_text(hashlib.md5(body).hexdigest().upper() + "\n")
    config = write_config(tmp_path, hash_blocklist=str(blocklist))
    data = write_urls(
        tmp_path / "u.parquet", [f"{server.url}/blocked.jpg", f"{server.url}/image.jpg"]
    )
    output = tmp_path / "out"
    arguments = ["download", data, "--output", str(output), "--config", config]
    assert main(arguments) == 0
    assert dict(ledger.read(output / "manifest.json").dropped) == {"blocked_hash": 1}
    assert len(list(read_shard(output / "00000.tar"))) == 1
    # A longer list is another config: the shard is judged again.
    blocklist.write_text(blocklist.read_text() + hashlib.sha256(JPEG).hexdigest())
    assert main(arguments) == 0
    assert dict(ledger.read(output / "manifest.json").dropped) == {"blocked_hash": 2}
    blocklist.write_text("nonsense")
    assert main(arguments) == 2


def test_an_empty_input(tmp_path: Path) -> None:
    data = write_urls(tmp_path / "u.parquet", [])
    output = tmp_path / "out"
    assert (
        main(["download", data, "--output", str(output), "--config", write_config(tmp_path)]) == 0
    )
    manifest = ledger.read(output / "manifest.json")
    assert (manifest.inputs, manifest.kept, manifest.files) == (0, 0, ())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"allow_networks": []}, "download.user_agent"),
        ({"user_agent": "bot/1", "allow_networks": ["10.0.0.0/8"]}, "download.user_agent"),
        ({"allow_networks": ["127.0.0.1/8"]}, "download.allow_networks"),
        ({"formats": ["JPEG", "EPS"]}, "download.formats: 'EPS'"),
        ({"formats": ["HEIF?"]}, "download.formats"),
        ({"proxy": "gopher://x"}, "download.proxy"),
        ({"hash_blocklist": "/no/such/file"}, "download.hash_blocklist"),
        ({"retries": -1}, "download.retries"),
    ],
)
def test_wrong_configs_are_named(
    tmp_path: Path, changes: dict[str, Any], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_urls(tmp_path / "u.parquet", ["http://127.0.0.1:1/x"])
    config = write_config(tmp_path, **changes)
    output = tmp_path / "out"
    assert main(["download", data, "--output", str(output), "--config", config]) == 2
    assert message in capsys.readouterr().err
    assert not output.exists()


def test_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = ["--config", write_config(tmp_path)]
    data = write_urls(tmp_path / "u.parquet", ["x"])
    output = str(tmp_path / "out")
    for arguments, code in (
        ([str(tmp_path / "none.parquet"), "--output", output], 1),
        ([config[1], "--output", output], 1),
        ([data, "--output", data], 2),
        ([data, "--output", output, "--samples-per-shard", "0"], 2),
        ([data, "--output", output, "--url-column", "nope"], 2),
    ):
        assert main(["download", *arguments, *config]) == code
        assert "laion-hpc: error:" in capsys.readouterr().err


def test_progress_tells_rate_share_and_reasons(
    tmp_path: Path, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_urls(tmp_path / "u.parquet", many(server, 8))
    output = str(tmp_path / "out")
    assert main(["download", data, "--output", output, "--config", write_config(tmp_path)]) == 0
    line = capsys.readouterr().err
    assert "8/8 samples" in line and "50% success" in line
    assert "http_404 25.0%" in line and "not_an_image 25.0%" in line


def test_the_deadline_holds_for_the_whole_command(tmp_path: Path) -> None:
    """Twelve servers that drip for ever cost one deadline, not twelve."""
    with Server({**pages()}) as server:
        data = write_urls(
            tmp_path / "u.parquet", [f"{server.url}/slow-body?{n}" for n in range(12)]
        )
        server.pages["*"] = pages()["/slow-body"]
        config = write_config(tmp_path, deadline_seconds=1, respect_robots_txt=False)
        before = time.monotonic()
        assert main(["download", data, "--output", str(tmp_path / "o"), "--config", config]) == 0
        # Far from the twelve seconds of one after the other, for any machine's load.
        assert time.monotonic() - before < 9
    assert dict(ledger.read(tmp_path / "o" / "manifest.json").dropped) == {"timeout": 12}
