"""Pictures of a blocklist are found again, whatever was done to their files."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from laion_hpc.cli import main
from laion_hpc.errors import UsageError
from laion_hpc.files import ledger
from laion_hpc.stages.download import perceptual
from laion_hpc.stages.download.image import blocklist, make_picture
from tests.stages.download.pictures import encoded, rules
from tests.stages.download.web import write_config
from tests.web.hostile import Server, response


def scene(seed: int, side: int = 600) -> Image.Image:
    """A picture with structure at all scales, different for each seed."""
    random = np.random.default_rng(seed)
    pixels = np.zeros((side, side, 3), np.float32)
    for step in (4, 8, 16, 32):
        rough = random.integers(0, 256, (step, step, 3), np.uint8)
        pixels += np.asarray(Image.fromarray(rough).resize((side, side), Image.Resampling.BICUBIC))
    return Image.fromarray((pixels / 4).astype(np.uint8))


@given(st.binary(min_size=32, max_size=32), st.sets(st.integers(0, 255)), st.integers(0, 128))
def test_the_distance_is_counted_in_bits(digest: bytes, flips: set[int], distance: int) -> None:
    listed = perceptual.Blocklist((digest.hex(), "ff" * 32), distance)
    bits = np.unpackbits(np.frombuffer(digest, np.uint8))
    bits[list(flips)] ^= 1
    to_ones = int((bits == 0).sum())
    assert listed.matches(np.packbits(bits)) == (min(len(flips), to_ones) <= distance)
    assert not perceptual.Blocklist((), 128).matches(np.packbits(bits))


def test_an_invalid_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "list.txt"
    with pytest.raises(UsageError, match="no such file"):
        perceptual.read(str(path))
    path.write_text("abc")
    with pytest.raises(UsageError, match="expected PDQ hash"):
        perceptual.read(str(path))
    path.write_bytes(b"\xff")
    with pytest.raises(UsageError, match="not a text of hex digits"):
        perceptual.read(str(path))
    path.write_text("A" * 64)
    monkeypatch.setitem(sys.modules, "pdqhash", None)
    with pytest.raises(UsageError, match=r"laion-hpc\[perceptual\]"):
        perceptual.read(str(path))


def hash_of(image: Image.Image) -> str:
    pytest.importorskip("pdqhash", reason="needs laion-hpc[perceptual]")
    bits, quality = perceptual.pdq(image)
    assert quality >= perceptual.LEAST_QUALITY
    return bits.tobytes().hex()


def test_scaled_and_encoded_again(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text(hash_of(scene(1)).upper())
    keep = rules(perceptual_blocklist=str(path), skip_reencode=True)
    blocked = blocklist(keep)
    small = scene(1).resize((330, 330))
    for body in (
        encoded(scene(1), "PNG"),
        encoded(scene(1), "JPEG", quality=60),
        encoded(scene(1).resize((1_500, 1_500)), "JPEG"),
        encoded(small, "WEBP", quality=50),
        encoded(scene(1).resize((200, 200)), "JPEG"),
    ):
        picture = make_picture(body, keep, blocked=blocked)
        assert (picture.reason, picture.image, picture.width) == ("blocked_hash", b"", 0)
        assert picture.sha256 == hashlib.sha256(body).hexdigest()
    for seed in range(2, 6):
        assert not make_picture(encoded(scene(seed)), keep, blocked=blocked).reason
    # One colour has no features: it is never taken for another picture.
    assert not make_picture(encoded(Image.new("RGB", (300, 300))), keep, blocked=blocked).reason


def test_the_command_and_its_ledger(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text(hash_of(scene(1)))
    pages = {"/a": response(encoded(scene(1), "WEBP")), "/b": response(encoded(scene(2)))}
    with Server({**pages, "/robots.txt": response(b"")}) as server:
        data = tmp_path / "u.parquet"
        pq.write_table(pa.table({"url": [f"{server.url}/a", f"{server.url}/b"]}), data)
        config = write_config(tmp_path, perceptual_blocklist=str(path), min_bytes=0)
        arguments = ["download", str(data), "--output", str(tmp_path / "o"), "--config", config]
        assert main(arguments) == 0
        assert dict(ledger.read(tmp_path / "o/manifest.json").dropped) == {"blocked_hash": 1}
        # A longer list is another config: the shard is judged again.
        path.write_text(f"{path.read_text()}\n{hash_of(scene(2))}\n")
        assert main(arguments) == 0
        assert dict(ledger.read(tmp_path / "o/manifest.json").dropped) == {"blocked_hash": 2}
        path.write_text("nonsense")
        assert main(arguments) == 2
