"""Images decoded by other processes: the same results, in the same batches, and no hang."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from laion_hpc.config.sections import ModelConfig
from laion_hpc.errors import InputError, LaionHpcError
from laion_hpc.files.shards import Sample, ShardWriter
from laion_hpc.models import feeding, load, tokens
from laion_hpc.models.batches import embed_images, embed_texts
from laion_hpc.models.pixels import Geometry
from laion_hpc.models.shard_images import Images, images_of
from laion_hpc.models.tar_index import index_tar
from laion_hpc.stages.filter import signatures
from tests.models import tiny

pytestmark = pytest.mark.slow


@pytest.fixture
def forced(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv(feeding.SWITCH, "processes")
    monkeypatch.setattr(feeding._share, "cores", 3)
    monkeypatch.setattr(feeding._share, "interrupted", False)
    yield
    feeding.stop()
    tokens.stop()


def encoded(image: Image.Image, kind: str, **keys: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **keys)
    return stream.getvalue()


def oddities() -> list[bytes]:
    """Images of every kind that comes from the web, and what is none."""
    picture = tiny.picture(1, (90, 70))
    jpeg = encoded(picture, "JPEG", quality=90)
    turned = Image.Exif()
    turned[0x0112] = 6
    deep = Image.fromarray(np.arange(60 * 50, dtype=np.uint16).reshape(50, 60) * 20)
    transparent = picture.copy()
    transparent.putalpha(90)
    return [
        jpeg,
        b"",
        encoded(picture.convert("CMYK"), "JPEG"),
        encoded(picture.quantize(9), "PNG"),
        encoded(picture, "JPEG", exif=turned),
        jpeg[: len(jpeg) // 2],
        encoded(picture.resize((1, 1)), "PNG"),
        encoded(picture.resize((400, 3)), "JPEG"),
        encoded(picture.resize((3, 400)), "WEBP", lossless=True),
        encoded(picture, "GIF"),
        b"<html>not an image</html>" * 9,
        encoded(deep, "PNG"),
        encoded(transparent, "PNG"),
        encoded(picture.convert("L"), "JPEG", progressive=True),
        encoded(picture.convert("1"), "PNG"),
        encoded(picture, "PNG")[:-200],
    ]


def shard(path: Path, images: list[bytes]) -> list[str]:
    keys = [f"k{i:04d}" for i in range(len(images))]
    with ShardWriter(path) as writer:
        for key, data in zip(keys, images, strict=True):
            members = {"jpg": data, "txt": b"text", "json": b"{}"}
            writer.add(Sample(key, members if data else {"txt": b""}))
    return keys


class Recorder:
    """A tower whose embeddings are what it was given; it keeps the batches."""

    device = "cuda:0"
    width = 3 * 24 * 20
    side = 20
    geometry: Geometry | None = Geometry(24, 20, "shortest", 3)

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.batches: list[int] = []

    def preprocess(self, image: Image.Image) -> NDArray[np.uint8]:
        assert self.geometry
        return np.asarray(self.geometry(image)).transpose(2, 0, 1)

    def buffer(self, count: int) -> NDArray[np.uint8]:
        return np.empty((count, 24, 20, 3), np.uint8)

    def begin_frames(self, frames: NDArray[np.uint8]) -> Callable[[], NDArray[np.float32]]:
        return self.begin_pixels(frames.transpose(0, 3, 1, 2))

    def begin_pixels(self, pixels: NDArray[np.uint8]) -> Callable[[], NDArray[np.float32]]:
        self.batches.append(len(pixels))

        def wait() -> NDArray[np.float32]:
            time.sleep(self.seconds)
            return np.ascontiguousarray(pixels).reshape(len(pixels), -1).astype(np.float32)

        return wait


def both(
    monkeypatch: pytest.MonkeyPatch, run: Callable[[], Images[Any]]
) -> tuple[Images[Any], Images[Any]]:
    """What threads of this process make, and what other processes make."""
    monkeypatch.setenv(feeding.SWITCH, "threads")
    plain = run()
    monkeypatch.setenv(feeding.SWITCH, "processes")
    return plain, run()


@pytest.mark.parametrize("size", [1, 7, 16, 256])
def test_same_pixels_in_the_same_batches(
    forced: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    images = [image for _ in range(5) for image in oddities()]
    keys = shard(tmp_path / "s.tar", images)
    tower: Any = Recorder()
    view = signatures.viewer(["exact", "perceptual"])
    plain, fed = both(
        monkeypatch, lambda: embed_images(tmp_path / "s.tar", keys, tower, size, view=view)
    )
    half = len(tower.batches) // 2
    assert tower.batches[:half] == tower.batches[half:]
    assert 40 < len(plain.rows) < len(images)
    assert np.array_equal(plain.rows, fed.rows)
    assert np.array_equal(plain.vectors, fed.vectors)
    for mine, theirs in zip(plain.views, fed.views, strict=True):
        assert all(np.array_equal(mine[kind], theirs[kind]) for kind in mine)


@pytest.mark.parametrize("scaled", [False, True])
def test_same_embeddings_to_the_bit(
    forced: None,
    resnet: ModelConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    scaled: bool,
) -> None:
    images = [*oddities(), *(encoded(tiny.picture(i, (99, 80)), "JPEG") for i in range(20))]
    keys = shard(tmp_path / "s.tar", images)
    tower = load(resnet, device="cpu")
    plain, fed = both(
        monkeypatch, lambda: embed_images(tmp_path / "s.tar", keys, tower, 8, scaled=scaled)
    )
    assert len(plain.rows) > 20
    assert np.array_equal(plain.rows, fed.rows)
    assert np.array_equal(plain.vectors, fed.vectors)


@pytest.mark.parametrize("library", ["resnet", "hugging face", "sentences"])
def test_same_texts_to_the_bit(
    forced: None,
    resnet: ModelConfig,
    sentences: ModelConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    library: str,
) -> None:
    model = {"resnet": resnet, "sentences": sentences}.get(library)
    tower = load(model or tiny.hugging_face_folder(tmp_path / "hf", seed=4), device="cpu")
    texts = ["", "blue", "a red one", "π ≈ 3", *("on in " * n for n in range(20))]
    fed = embed_texts(texts, tower, 7)
    monkeypatch.setenv(feeding.SWITCH, "threads")
    assert np.array_equal(fed, embed_texts(texts, tower, 7))
    assert (tokens._process is None) == (library == "sentences")


def test_shards_in_threads_keep_their_images(forced: None, tmp_path: Path) -> None:
    tower: Any = Recorder(seconds=0.002)
    kinds = oddities()
    shards = []
    for number in range(9):
        data = [kinds[(number * 5 + i) % len(kinds)] for i in range(number * 11 % 40)]
        shards.append((tmp_path / f"{number}.tar", shard(tmp_path / f"{number}.tar", data)))

    def one(item: tuple[Path, list[str]]) -> Images[Any]:
        return embed_images(*item, tower, 8)

    with feeding.team(3, "cpu") as team:
        found = feeding.map_shards(team, one, shards, device="cpu", label="t")
    alone = [one(item) for item in shards]
    assert any(not len(images.rows) for images in alone)
    for together, single in zip(found, alone, strict=True):
        assert np.array_equal(together.rows, single.rows)
        assert np.array_equal(together.vectors, single.vectors)


def test_an_empty_shard(forced: None, tmp_path: Path) -> None:
    shard(tmp_path / "s.tar", [])
    tower: Any = Recorder()
    found: Images[Any] = embed_images(tmp_path / "s.tar", [], tower, 8)
    assert (found.rows.shape, found.vectors.shape) == ((0,), (0, tower.width))
    assert tower.batches == []


@pytest.mark.parametrize("damage", ["missing", "cut", "other", "fewer", "more", "text"])
def test_a_bad_tar_is_refused_in_the_same_words(
    forced: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    path = tmp_path / "s.tar"
    keys = shard(path, oddities())
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:3000])
    elif damage == "text":
        path.write_bytes(b"no tar at all" * 100)
    keys = {"other": ["x", *keys[1:]], "fewer": keys[:-1], "more": [*keys, "z"]}.get(damage, keys)
    tower: Any = Recorder()
    words = []
    for mode in ("threads", "processes"):
        monkeypatch.setenv(feeding.SWITCH, mode)
        with pytest.raises(InputError, match=r"s\.tar") as caught:
            embed_images(path, keys, tower, 8)
        words.append(str(caught.value))
    assert words[0] == words[1]
    # The feeder is as good as before.
    good = shard(path, oddities())
    assert len(embed_images(path, good, tower, 8).rows) > 8


def killer(_image: Image.Image) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fails(_image: Image.Image) -> None:
    raise RuntimeError("of a view")


def test_a_process_that_dies_is_an_error_that_names_the_tar(forced: None, tmp_path: Path) -> None:
    keys = shard(tmp_path / "bomb.tar", oddities())
    tower: Any = Recorder()
    with pytest.raises(LaionHpcError, match=r"killed at .*bomb\.tar .*exit code -9.*memory"):
        embed_images(tmp_path / "bomb.tar", keys, tower, 8, view=killer)
    # The next call starts new ones.
    assert len(embed_images(tmp_path / "bomb.tar", keys, tower, 8).rows) > 8


def test_idle_processes_that_die_are_noticed(forced: None, tmp_path: Path) -> None:
    keys = shard(tmp_path / "s.tar", oddities())
    tower: Any = Recorder()
    embed_images(tmp_path / "s.tar", keys, tower, 8)
    feeder = feeding.feeder(tower, 8)
    assert feeder and len(feeder.decoders.pids) == 2
    for pid in feeder.decoders.pids:
        os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 30
    while feeder.alive and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not feeder.alive
    assert len(embed_images(tmp_path / "s.tar", keys, tower, 8).rows) > 8


def test_an_error_of_a_view_arrives(forced: None, tmp_path: Path) -> None:
    keys = shard(tmp_path / "s.tar", oddities())
    tower: Any = Recorder()
    with pytest.raises(RuntimeError, match="of a view"):
        embed_images(tmp_path / "s.tar", keys, tower, 8, view=fails)
    assert len(embed_images(tmp_path / "s.tar", keys, tower, 8).rows) > 8


INTERRUPTED = """
import sys, threading, time
from pathlib import Path
from laion_hpc.models import feeding
from tests.models.test_feeder import Recorder
from laion_hpc.models.batches import embed_images

if __name__ == "__main__":
    tower = Recorder(seconds=0.05)
    tar = Path(sys.argv[1])
    keys = [f"k{i:04d}" for i in range(16)]

    def one(number):
        found = embed_images(tar, keys, tower, 1)
        if number == 0:
            pids = feeding.feeder(tower, 1).decoders.pids
            print(*pids, flush=True)
        return len(found.rows)

    with feeding.team(3, "cpu") as team:
        feeding.map_shards(team, one, range(10000), device="cpu", label="t")
"""


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_parent_leaves_nothing(tmp_path: Path, by: signal.Signals) -> None:
    shard(tmp_path / "s.tar", oddities())
    script = tmp_path / "interrupted.py"
    script.write_text(INTERRUPTED)
    environment = os.environ | {
        feeding.SWITCH: "processes",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    with subprocess.Popen(
        [sys.executable, str(script), str(tmp_path / "s.tar")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        assert process.stdout and process.stderr
        pids = [int(pid) for pid in process.stdout.readline().split()]
        assert len(pids) == 2, process.stderr.read()
        # Their memory is in no folder: it goes with the last of them.
        assert all("/memfd:laion-hpc" in Path(f"/proc/{pid}/maps").read_text() for pid in pids)
        process.send_signal(by)
        errors = process.stderr.read()
        assert process.wait(30) == (-by if by != signal.SIGINT else process.returncode)
    assert "resource_tracker" not in errors
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{pid}").exists() for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_an_index_finds_what_reading_finds(tmp_path: Path) -> None:
    path = tmp_path / "s.tar"
    images = oddities()
    keys = shard(path, images)
    found = index_tar(path, ("jpg",))
    data = path.read_bytes()
    assert found.keys == keys
    assert [data[at : at + size] for at, size in found.spans] == list(images_of(path, keys))
    # Long names and folders are read by tarfile.
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        folder = tarfile.TarInfo("folder")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for name, data in (("é" * 90 + ".png", b"image"), ("b.txt", b"text"), ("b.jpg", b"jpeg")):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    found = index_tar(path, ("jpg", "png"))
    assert found.keys == ["é" * 90, "b"]
    data = path.read_bytes()
    assert [data[at : at + size] for at, size in found.spans] == [b"image", b"jpeg"]
