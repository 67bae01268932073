"""Decoder processes: whatever a picture does to one, it costs that picture only."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import trio

from laion_hpc.errors import LaionHpcError
from laion_hpc.stages.download import decoders as module
from laion_hpc.stages.download.decoders import open_decoders
from laion_hpc.stages.download.image import Picture
from tests.stages.download.pictures import RULES, encoded, photo

GOOD = encoded(photo())

# A decoder that some bodies kill, hang, or make greedy, as real ones do.
VICIOUS = """
import os, sys, time
from pathlib import Path
import laion_hpc.stages.download.image as image
real = image.make_picture
def make_picture(body, rules, **options):
    if body.startswith(b"CRASH"):
        os.abort()
    if body.startswith(b"ONCE"):
        marker = Path(body[5:].decode())
        if not marker.exists():
            marker.touch()
            os.abort()
        return image.Picture("not_an_image")
    if body.startswith(b"HANG"):
        time.sleep(60)
    if body.startswith(b"GREEDY"):
        try:
            bytearray(20_000_000_000)
        except MemoryError:
            return image.Picture("undecodable")
    return real(body, rules, **options)
image.make_picture = make_picture
from laion_hpc.stages.download.decoder import main
main()
"""


def decode(bodies: list[bytes], *, number: int = 2, seconds: float = 20) -> list[Picture]:
    results: dict[int, Picture] = {}

    async def main() -> None:
        async with (
            open_decoders(number, RULES, seconds) as decoders,
            trio.open_nursery() as nursery,
        ):

            async def one(place: int, body: bytes) -> None:
                results[place] = await decoders.decode(body)

            for place, body in enumerate(bodies):
                nursery.start_soon(one, place, body)

    trio.run(main)
    return [results[place] for place in range(len(bodies))]


@pytest.fixture
def vicious(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COMMAND", (sys.executable, "-c", VICIOUS))


def test_crashes_cost_one_sample_each(vicious: None, tmp_path: Path) -> None:
    once = b"ONCE " + bytes(tmp_path / "marker")
    bodies = [GOOD, b"CRASH 1", GOOD, once, b"GREEDY", GOOD, b"CRASH 2", GOOD]
    found = [picture.reason for picture in decode(bodies)]
    # Killed by others' hunger, a picture gets a second chance.
    crashed = "decoder_crashed"
    assert found == ["", crashed, "", "not_an_image", "undecodable", "", crashed, ""]


def test_a_hang_costs_one_sample(vicious: None) -> None:
    pictures = decode([b"HANG", GOOD], number=1, seconds=1.5)
    assert [picture.reason for picture in pictures] == ["decoder_crashed", ""]
    assert len(pictures[0].sha256) == 64


def test_who_stands_in_line_behind_a_crash_or_a_hang_is_spared(vicious: None) -> None:
    """One decoder has two bodies at a time, of which it takes the first."""
    long = bytes(3_000_000)  # more than a socket takes at once
    bodies = [GOOD, b"CRASH" + long, GOOD, GOOD + long, b"HANG" + long, GOOD + long, GOOD]
    found = [picture.reason for picture in decode(bodies, number=1, seconds=3)]
    crashed = "decoder_crashed"
    assert found == ["", crashed, "", "", crashed, "", ""]


def test_a_decoder_that_cannot_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COMMAND", (sys.executable, "-c", "raise SystemExit(1)"))
    with pytest.raises(ExceptionGroup) as caught:
        decode([GOOD])
    assert caught.group_contains(LaionHpcError, match="LAION_HPC_TRACEBACK")


def test_no_decoder_outlives_its_owner() -> None:
    processes = []

    async def main() -> None:
        async with open_decoders(2, RULES, 20) as decoders:
            processes.extend(child._process.pid for child in decoders.all)
            await decoders.decode(GOOD)
            raise KeyboardInterrupt

    with pytest.raises(BaseException):  # noqa: B017
        trio.run(main)
    assert len(processes) == 2
    for pid in processes:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
