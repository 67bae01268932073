"""--retry-failed: what may heal is asked for again, in place; the rest is left as it is."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from laion_hpc.cli import main
from laion_hpc.files import ledger
from laion_hpc.web import retry
from tests.stages.download.web import IMAGES, digests, write_config, write_urls
from tests.web.hostile import BROKEN, Server, pages, response

pytestmark = pytest.mark.slow

HEALS = {
    "/500": response(b"", status=BROKEN),
    "/late": response(b"", status="503 Service Unavailable"),
    "/cut": pages()["/declared-long"],
    "/drips": pages()["/slow-body"],
}
LASTS = ["/image.jpg", "/404", "/noai", "/html.jpg", "/image.png", "/private/x", "/bomb.png"]
PATHS = [*LASTS[:3], *HEALS, *LASTS[3:], "/late", "/image.jpg"]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_PAUSE", 0.01)


def run(server: Server, folder: Path, *options: str, processes: str = "1") -> dict[str, bytes]:
    data = write_urls(folder.parent / "u.parquet", [server.url + path for path in PATHS])
    config = write_config(folder.parent, deadline_seconds=1)
    arguments = ["download", data, "--output", str(folder), "--config", config]
    arguments += ["--samples-per-shard", "5", "--processes", processes]
    assert main([*arguments, *options]) == 0
    return digests(folder)


@pytest.mark.parametrize("processes", ["1", "2"])
def test_the_same_bytes_as_if_all_had_come_at_first(
    tmp_path: Path, server: Server, quick: None, processes: str
) -> None:
    # One address for the bad day and the good one: the rows hold it.
    broken = {**server.pages, **HEALS}
    healed = {**server.pages, **dict.fromkeys(HEALS, IMAGES["/image.jpg"])}
    server.pages = healed
    whole = run(server, tmp_path / "whole")
    server.pages = broken
    failed = run(server, tmp_path / "out")
    before = ledger.read(tmp_path / "out" / "manifest.json")
    assert before.dropped["http_500"] == before.dropped["truncated"] == 1
    assert before.dropped["http_503"] == 2 and before.dropped["timeout"] == 1

    # Without the option all is done; with it, but nothing healed, all stays as it was.
    assert run(server, tmp_path / "out") == failed
    assert run(server, tmp_path / "out", "--retry-failed") == failed

    server.pages = healed
    server.seen.clear()
    assert run(server, tmp_path / "out", "--retry-failed", processes=processes) == whole
    assert not set(server.seen) - set(HEALS) - {"/robots.txt"}
    after = ledger.read(tmp_path / "out" / "manifest.json")
    assert after.balanced and after.kept == before.kept + 5
    assert after.counts["formats"] == {"JPEG": 7, "PNG": 1}
    assert after.counts["opt_outs"] == {"noai": 1}
    stats = [json.loads(p.read_text()) for p in sorted((tmp_path / "out").glob("*_stats.json"))]
    assert sum(one["successes"] for one in stats) == after.kept
    assert sum(one["attempts"] for one in stats) > len(PATHS)

    # And there is nothing left to ask for.
    server.seen.clear()
    assert run(server, tmp_path / "out", "--retry-failed") == whole
    assert not server.seen


def test_a_shard_that_is_missing_is_made_beside_one_that_is_retried(
    tmp_path: Path, server: Server, quick: None
) -> None:
    server.pages = {**server.pages, **dict.fromkeys(HEALS, IMAGES["/image.jpg"])}
    whole = run(server, tmp_path / "whole")
    good, server.pages = server.pages, {**server.pages, **HEALS}
    run(server, tmp_path / "out")
    (tmp_path / "out" / "00000.tar").unlink()
    server.pages = good
    assert run(server, tmp_path / "out", "--retry-failed") == whole


def test_images_removed_on_purpose(
    tmp_path: Path, server: Server, quick: None, capsys: pytest.CaptureFixture[str]
) -> None:
    server.pages = {**server.pages, **HEALS}
    output = tmp_path / "out"
    run(server, output)
    manifest = ledger.read(output / "manifest.json")
    tars = [file for file in manifest.files if file.name.endswith(".tar")]
    (output / ledger.REMOVED).write_text(json.dumps({"files": [vars(tar) for tar in tars]}))
    for tar in tars:
        (output / tar.name).unlink()
    arguments = ["download", str(tmp_path / "u.parquet"), "--output", str(output)]
    arguments += ["--config", str(tmp_path / "config.yaml"), "--samples-per-shard", "5"]
    assert main(arguments) == 0
    assert main([*arguments, "--retry-failed"]) == 2
    assert "was removed on purpose" in capsys.readouterr().err
    assert pq.read_table(output / "00000.parquet").num_rows == 5
