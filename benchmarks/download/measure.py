"""Run a command and measure its whole process tree; measure the bare costs of its work."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import tarfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from PIL import Image

from laion_hpc.stages.download.scale import scaled

PHASES = ("fetch", "decode", "resize", "encode", "write")


@dataclass
class Result:
    """What a download came to."""

    images: int = 0
    rows: int = 0
    seconds: float = 0.0
    """From the start of the first shard to the end of the last: no start-up, no imports."""
    cpu_seconds: float = 0.0
    """Of the whole tree, start-up included."""
    peak_bytes: int = 0
    """Largest sum of resident sets: memory shared by two processes counts twice."""
    hung: bool = False
    fates: Counter[str] = field(default_factory=Counter)
    phases: dict[str, float] = field(default_factory=dict)
    """CPU milliseconds per row; ours only."""

    @property
    def rate(self) -> float:
        """Images per second."""
        return self.images / self.seconds if self.seconds else 0.0

    @property
    def cost(self) -> float:
        """CPU seconds per image."""
        return self.cpu_seconds / self.images if self.images else float("nan")


def run(command: list[str], output: Path, *, environment: dict[str, str], limit: float) -> Result:
    """Run a downloader until it ends or `limit` seconds are over; read its `*_stats.json`."""
    log = output.with_suffix(".log")
    with log.open("wb") as stream:
        child = subprocess.Popen(
            command, stdout=stream, stderr=stream, env={**os.environ, **environment}
        )
    result, root, started = Result(), psutil.Process(child.pid), time.monotonic()
    while True:
        # wait4 by hand: it tells the CPU time of the child and of all it has waited for.
        ended, status, usage = os.wait4(child.pid, os.WNOHANG)
        if ended:
            break
        tree = [root, *root.children(recursive=True)]
        result.peak_bytes = max(result.peak_bytes, sum(map(_resident, tree)))
        if time.monotonic() - started > limit and not result.hung:
            result.hung = True
            for process in tree:
                process.kill()
        time.sleep(0.2)
    child.returncode = os.waitstatus_to_exitcode(status)
    result.cpu_seconds = usage.ru_utime + usage.ru_stime
    if child.returncode and not result.hung:
        raise SystemExit(f"{' '.join(command[:4])} failed:\n{log.read_text()[-3000:]}")
    _read_stats(output, result)
    return result


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def _read_stats(output: Path, result: Result) -> None:
    stats = [json.loads(path.read_text()) for path in sorted(output.glob("*_stats.json"))]
    if not stats:
        return
    result.images = sum(one["successes"] for one in stats)
    result.rows = sum(one["count"] for one in stats)
    result.seconds = max(s["end_time"] for s in stats) - min(s["start_time"] for s in stats)
    for one in stats:
        result.fates.update(one["status_dict"])
    if "cpu_ms" in stats[0]:
        result.phases = {
            phase: sum(one["cpu_ms"][phase] for one in stats) / result.rows for phase in PHASES
        }


def bare(files: tuple[Path, ...], port: int) -> dict[str, float]:
    """CPU ms per image of each phase alone: a blocking socket, the same calls, a tar writer."""
    spent = dict.fromkeys(PHASES, 0.0)
    out = tarfile.open(fileobj=io.BytesIO(), mode="w")  # noqa: SIM115
    for path in files:
        at = time.process_time()

        def lap(phase: str) -> None:
            nonlocal at
            now = time.process_time()
            spent[phase] += now - at
            at = now

        body = _get(port, path.name)
        lap("fetch")
        image = Image.open(io.BytesIO(body))
        width, height = image.size
        scale = 256 / min(width, height)
        size = (round(width * scale), round(height * scale))
        image.draft("RGB", size)
        image.load()
        lap("decode")
        image = scaled(image, size)
        lap("resize")
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=95)
        lap("encode")
        info = tarfile.TarInfo(path.name)
        info.size = buffer.tell()
        buffer.seek(0)
        out.addfile(info, buffer)
        lap("write")
    return {phase: 1000 * seconds / len(files) for phase, seconds in spent.items()}


def _get(port: int, name: str) -> bytes:
    parts = []
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(f"GET /{name} HTTP/1.0\r\n\r\n".encode())
        while part := connection.recv(1 << 18):
            parts.append(part)
    return b"".join(parts).partition(b"\r\n\r\n")[2]
