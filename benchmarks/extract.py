"""extract beside cc2dataset's extraction and plain decompression, on one core, in one run.

  python benchmarks/extract.py WAT [--copies 4] [--rounds 3] [--cc2dataset PYTHON]

WAT: a gzipped WAT, replicated with every alt text made different so that no cache flatters.
PYTHON: an interpreter that has cc2dataset (`pip install cc2dataset==1.5.0` in an environment of
its own); without it that row is left out. Times are CPU seconds; the rounds take turns, so that a
machine whose speed drifts is fair to all.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ALT = re.compile(rb'"alt":"((?:[^"\\]|\\.)+)"')

INFLATE = "import sys, zlib; from isal import igzip\nwith igzip.open(sys.argv[1]) as f:\n while f.read(1 << 20): pass"  # noqa: E501
PEER = (
    "import sys, time, json; from io import BytesIO\n"
    "from cc2dataset.main import extract_documents_from_wat\n"
    "data = open(sys.argv[1], 'rb').read(); start = time.process_time()\n"
    "found = extract_documents_from_wat(BytesIO(data), 'image')\n"
    "print(json.dumps([time.process_time() - start, len(found)]))"
)


def replicate(wat: Path, copies: int, output: Path) -> None:
    """Write `copies` of a WAT one after the other, each alt text with a number of its own."""
    members = re.split(rb"(?=WARC/1\.0\r\n)", gzip.decompress(wat.read_bytes()))
    with output.open("wb") as stream:
        number = 0
        for _ in range(copies):
            for member in members:
                head, blank, body = member.partition(b"\r\n\r\n")
                if not blank:
                    continue
                pieces = ALT.split(body)
                for n in range(1, len(pieces), 2):
                    pieces[n] = b'"alt":"%s %x"' % (pieces[n], number)
                    number += 1
                varied = b"".join(pieces)
                length = len(varied.rstrip(b"\r\n"))
                head = re.sub(rb"Content-Length: \d+", b"Content-Length: %d" % length, head)
                record = head + b"\r\n\r\n" + varied.rstrip(b"\r\n") + b"\r\n\r\n"
                stream.write(gzip.compress(record, 6))


def cpu_seconds(command: list[str]) -> float:
    """User and system time of a command and its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime - before.ru_utime) + (after.ru_stime - before.ru_stime)


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("wat", type=Path)
    parser.add_argument("--copies", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cc2dataset", metavar="PYTHON")
    options = parser.parse_args()
    times: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        wat = Path(folder) / "replicated.warc.wat.gz"
        replicate(options.wat, options.copies, wat)
        part = str(Path(folder) / "part.parquet")
        extract = [sys.executable, "-m", "laion_hpc", "extract", "--blocks", "16", "--output", part]
        for _ in range(options.rounds):
            times.setdefault("decompress (isal)", []).append(
                cpu_seconds([sys.executable, "-c", INFLATE, str(wat)])
            )
            Path(part).unlink(missing_ok=True)
            Path(part).with_name("part.ledger.json").unlink(missing_ok=True)
            times.setdefault("laion-hpc extract", []).append(cpu_seconds([*extract, str(wat)]))
            if options.cc2dataset:
                done = subprocess.run(
                    [options.cc2dataset, "-c", PEER, str(wat)], check=True, capture_output=True
                )
                seconds, _ = json.loads(done.stdout.splitlines()[-1])
                times.setdefault("cc2dataset extraction", []).append(seconds)
        megabytes = wat.stat().st_size / 1e6
    ours = statistics.median(times["laion-hpc extract"])
    print(f"{megabytes:.0f} MB gzipped, median of {options.rounds} rounds\n")
    print("| what | CPU seconds | MB/s | times extract |\n|---|---:|---:|---:|")
    for name, seconds in times.items():
        median = statistics.median(seconds)
        print(f"| {name} | {median:.2f} | {megabytes / median:.1f} | {median / ours:.2f} |")


if __name__ == "__main__":
    main()
