"""Images per second that reach a model's process: decoded by other processes, and by its threads.

  python benchmarks/feeder.py [--workers 1 2] [--side 341] [--model-side 224] [--images TAR]
      [--batch-ms 0 568]

No model and no GPU: the device is a stub that takes `--batch-ms` milliseconds per batch and leaves
the interpreter free meanwhile (568 ms for 256 images: 450 a second; 0: as fast as images come).
Busy: the stub's share of the time between its first batch and its last. Images/s include the time
before the first batch. CPU: per image, of all processes; "here": of the process that would talk to
the GPU.
Shards are made of photographs of a tar, or of made-up pictures, `--side` pixels on the longer side.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from clip_inputs import block, captions, jpegs
from numpy.typing import NDArray
from PIL import Image


class Stub:
    """A tower on a device that takes its time, one batch after the other."""

    device = "cuda:0"
    width = 4

    def __init__(self, side: int, seconds: float) -> None:
        from laion_hpc.models.pixels import Geometry

        self.side, self._seconds = side, seconds
        self.geometry = Geometry(side, side, "shorter", Image.Resampling.BICUBIC)
        self._lock = Lock()
        self.restart()

    def restart(self) -> None:
        """Forget the batches so far."""
        self._free = self._busy = 0.0
        self._first: float | None = None

    def preprocess(self, image: Image.Image) -> NDArray[np.uint8]:
        return np.asarray(self.geometry(image.convert("RGB"))).transpose(2, 0, 1)

    def buffer(self, count: int) -> NDArray[np.uint8]:
        return np.empty((count, self.side, self.side, 3), np.uint8)

    def begin_frames(self, frames: NDArray[np.uint8]) -> Callable[[], NDArray[np.float32]]:
        return self.begin_pixels(frames)

    def begin_pixels(self, pixels: NDArray[np.uint8]) -> Callable[[], NDArray[np.float32]]:
        with self._lock:
            now = time.monotonic()
            self._first = self._first or now
            begun = max(now, self._free)
            self._free = begun + self._seconds
            self._busy += self._seconds
            done = self._free

        def wait() -> NDArray[np.float32]:
            time.sleep(max(0.0, done - time.monotonic()))
            return np.zeros((len(pixels), self.width), np.float32)

        return wait

    def busy(self) -> float:
        assert self._first is not None
        return self._busy / max(1e-9, self._free - self._first)


def one(tar: Path, tower: Any, batch: int, keys: dict[Path, list[str]], scaled: bool) -> int:
    from laion_hpc.models.batches import embed_images

    return len(embed_images(tar, keys[tar], tower, batch, scaled=scaled).rows)


def spent(pids: list[int]) -> float:
    """CPU seconds of these processes, so far."""
    total = 0.0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def measure(
    options: argparse.Namespace, tars: list[Path], keys: dict[Path, list[str]],
    workers: int | None, batch_ms: float,
) -> str:  # fmt: skip
    from laion_hpc.models import feeding

    os.environ[feeding.SWITCH] = "processes" if workers else "threads"
    tower = Stub(options.model_side, batch_ms / 1000)
    work = partial(one, tower=tower, batch=options.batch, keys=keys, scaled=options.scaled)
    pids: list[int] = []
    if workers:
        feeding._share.cores = workers + 1
        work(tars[0])  # the processes have started
        feeder = feeding.feeder(tower, options.batch)
        assert feeder
        pids = feeder.decoders.pids
    tower.restart()
    own = [os.getpid()]
    before, before_here, start = spent(pids), spent(own), time.monotonic()
    if workers:
        with feeding.team(workers + 1, "cuda") as team:
            done = sum(feeding.map_shards(team, work, tars, device="cuda", label="feed"))
    else:
        done = sum(map(work, tars))
    seconds = time.monotonic() - start
    here = spent(own) - before_here
    used = here + spent(pids) - before
    feeding.stop()
    what = f"{workers} processes" if workers else "threads of one process"
    busy = f"{tower.busy():.1%}" if batch_ms else ""
    aim = f"{options.batch / batch_ms * 1000:,.0f}" if batch_ms else ""
    return (
        f"| {what} | {aim} | {done / seconds:,.0f} | {busy} | "
        f"{1000 * used / done:.2f} | {1000 * here / done:.2f} | {done / used:,.0f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--batch-ms", type=float, nargs="+", default=[0.0])
    parser.add_argument("--side", type=int, default=341)
    parser.add_argument("--model-side", type=int, default=224)
    parser.add_argument("--images", type=Path, metavar="TAR")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--samples", type=int, default=1024, help="samples per shard")
    parser.add_argument(
        "--scaled", action="store_true", help="decode large JPEGs at a smaller size"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        pictures = jpegs(options.images, options.side)
        source = block(
            Path(folder) / "block", pictures, captions(), shards=options.shards,
            samples=options.samples,
        )  # fmt: skip
        tars = sorted(source.glob("*.tar"))
        from laion_hpc.models.tar_index import index_tar

        keys = {tar: index_tar(tar, ("jpg",)).keys for tar in tars}
        print(
            "| decoded by | the stub takes | images/s | stub busy | CPU ms an image | here | "
            "images/s and core |"
        )
        print("|---|---:|---:|---:|---:|---:|---:|")
        for batch_ms in options.batch_ms:
            for workers in [None, *options.workers]:
                print(measure(options, tars, keys, workers, batch_ms), flush=True)


if __name__ == "__main__":
    main()
