"""Fetching published heads, from a server on loopback."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from laion_hpc.config import Config, parse
from laion_hpc.config.sections.base import ModelConfig
from laion_hpc.errors import InputError, LaionHpcError
from laion_hpc.heads import published
from laion_hpc.heads.head import load_head
from laion_hpc.heads.import_published import KINDS


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    """The address of what lies in the test's folder."""
    serve = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def config(tmp_path: Path, site: str, monkeypatch: pytest.MonkeyPatch) -> Config:
    """A violence head published for the embeddings of the model m."""
    np.save(tmp_path / "v.npy", np.eye(2, 6, dtype=np.float32))
    url = f"{site}/v.npy"
    digest = hashlib.sha256((tmp_path / "v.npy").read_bytes()).hexdigest()
    monkeypatch.setattr(
        published, "HEADS", {("pviolence", "m/tag"): published.Published("violence", url, digest)}
    )
    heads = [str(tmp_path / "heads" / "pviolence")]
    model = {"name": "m-quickgelu", "pretrained": "tag"}
    return parse({"embed": {"model": model}, "tag": {"heads": heads}})


def test_only_what_is_missing_is_fetched(config: Config) -> None:
    assert published.fetch_heads(config) == list(config.tag.heads)
    assert load_head(config.tag.heads[0]).description.column == "pviolence"
    assert published.fetch_heads(config) == []


def test_another_file_than_the_published_is_refused(config: Config, tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.ones((2, 6), np.float32))
    with pytest.raises(LaionHpcError, match="no longer the published file"):
        published.fetch_heads(config)
    (tmp_path / "v.npy").unlink()
    with pytest.raises(LaionHpcError, match="laion-hpc heads import violence"):
        published.fetch_heads(config)
    assert published.missing_heads(config) == list(config.tag.heads)


def test_an_unknown_head_is_named(config: Config, tmp_path: Path) -> None:
    tag = config.tag.model_copy(update={"heads": (str(tmp_path / "heads" / "pretty"),)})
    with pytest.raises(InputError, match="none is published as pretty for embeddings of m/tag"):
        published.fetch_heads(config.model_copy(update={"tag": tag}))
    # LAION's are for the embeddings of some models, not for all of the same width.
    other = config.embed.model_copy(update={"model": ModelConfig(name="m", pretrained="other")})
    with pytest.raises(InputError, match="none is published as pviolence for embeddings of m/oth"):
        published.fetch_heads(config.model_copy(update={"embed": other}))


def test_table() -> None:
    for head in published.HEADS.values():
        assert head.kind in KINDS
        assert head.url.startswith("https://")
        assert len(head.sha256) in (0, 64)
    names = {name for name, _ in published.HEADS}
    assert {Path(head).name for head in Config().tag.heads} <= names


def test_checksums_are_of_the_published_files(testdata: Path) -> None:
    files = {path.name: path for path in (testdata / "heads").rglob("*.*")}
    known = [head for head in published.HEADS.values() if head.sha256]
    for head in known:
        name = head.url.rpartition("/")[2].replace("%2B", "+")
        assert hashlib.sha256(files[name].read_bytes()).hexdigest() == head.sha256
    assert len(known) == 6
