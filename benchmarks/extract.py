"""extract beside cc2dataset, a LAION-like scan and plain decompression, on one core, in one run.

  python benchmarks/extract.py WAT [--copies 8] [--rounds 3] [--cc2dataset PYTHON] [--laion]
  python benchmarks/extract.py WAT --ranks 2

WAT: a gzipped WAT, replicated with every alt text made different so that no cache flatters;
--copies 0 takes it as it is. PYTHON: an interpreter that has cc2dataset (`pip install
cc2dataset==1.5.0` in an environment of its own). --laion needs cld3-py.

Times are CPU seconds of the work alone: interpreters, imports and the loading of compiled code
come before, on all sides. The rounds take turns, so that a machine whose speed drifts is fair to
all. --ranks N instead compares the wall-clock time of one and of N processes on 4·N WATs.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ALT = re.compile(rb'"alt":"((?:[^"\\]|\\.)+)"')

INFLATE = """
import sys, time, json; from isal import igzip
def work():
    with igzip.open(sys.argv[1]) as f:
        while f.read(1 << 20): pass
"""
EXTRACT = """
import sys, time, json; from pathlib import Path
from laion_hpc.config import parse
from laion_hpc.extract.job import Job, run
wat, small, folder = sys.argv[1:4]
def work(wat=wat, name='big'):
    output = Path(folder) / f'{name}.parquet'
    for path in (output, output.with_suffix('.ledger.json')): path.unlink(missing_ok=True)
    return run(Job((wat,), output, 'C', 'S', parse({'dataset': {'blocks': 16}})), 1).kept
work(small, 'small')
"""
CC2DATASET = """
import sys, time, json; from io import BytesIO
from cc2dataset.main import extract_documents_from_wat
def work():
    return len(extract_documents_from_wat(BytesIO(open(sys.argv[1], 'rb').read()), 'image'))
"""
# What LAION's workers did to a WAT: line by line, the last Creative Commons link seen so far, ftfy,
# a few extensions, and CLD3 on each text between 5 and 2000 bytes, taken where it is reliable.
LAION = """
import sys, time, json, gzip, ftfy, gcld3
KEPT = gcld3.NNetLanguageIdentifier(5, 2000)
def work(new_each_time=%r):
    found, seen = [], set()
    with gzip.open(sys.argv[1], 'rt', encoding='utf-8', errors='replace') as lines:
        for line in lines:
            if 'IMG@' not in line: continue
            try: links = (json.loads(line)['Envelope']['Payload-Metadata']
                ['HTTP-Response-Metadata']['HTML-Metadata']['Links'])
            except (ValueError, KeyError): continue
            licence = '?'
            for link in links:
                url = link.get('url', '')
                if 'creativecommons.org/licenses/' in url: licence = url
                alt = ftfy.fix_text(link.get('alt', '').replace('\\n', ' ')).strip()
                if not alt or len(alt) < 5 or not url.startswith('http'): continue
                if any(part in url for part in ('.svg', '.gif', 'data:image', 'javascript:')):
                    continue
                cld3 = gcld3.NNetLanguageIdentifier(5, 2000) if new_each_time else KEPT
                result = cld3.FindLanguage(alt)
                if url not in seen:
                    seen.add(url)
                    found.append((url, alt, licence, result.language if result.is_reliable else ''))
    return len(found)
"""
TIMED = """
start = time.process_time(); kept = work()
print(json.dumps([time.process_time() - start, kept]))
"""


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


def measure(python: str, code: str, *arguments: str) -> tuple[float, int | None]:
    """CPU seconds of `work()` in a fresh interpreter, and what it returns."""
    command = [python, "-c", code + TIMED, *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds, kept = json.loads(done.stdout.splitlines()[-1])
    return seconds, kept


def compare(options: argparse.Namespace, wat: Path, folder: str) -> None:
    """All sides in turns; prints the table."""
    sides = {
        "decompression (isal)": (sys.executable, INFLATE, ()),
        "laion-hpc extract": (sys.executable, EXTRACT, (str(options.wat), folder)),
    }
    if options.cc2dataset:
        sides["cc2dataset's extraction (no language)"] = (options.cc2dataset, CC2DATASET, ())
    if options.laion:
        one, new = "one identifier", "an identifier per text, as pycld3 has it"
        sides[f"LAION-like scan, {one}"] = (sys.executable, LAION % False, ())
        sides[f"LAION-like scan, {new}"] = (sys.executable, LAION % True, ())
    times: dict[str, list[float]] = {name: [] for name in sides}
    found: dict[str, int | None] = {}
    for number in range(options.rounds):
        for name, (python, code, more) in sides.items():
            if number and "LAION" in name:
                continue  # minutes each; its ratio needs no median
            seconds, found[name] = measure(python, code, str(wat), *more)
            times[name].append(seconds)
    megabytes = wat.stat().st_size / 1e6
    ours = statistics.median(times["laion-hpc extract"])
    print(f"{megabytes:.0f} MB gzipped, median of {options.rounds} rounds\n")
    print("| what | links | CPU seconds | MB/s | its time over ours |\n|---|--:|--:|--:|--:|")
    for name, seconds_each in times.items():
        median = statistics.median(seconds_each)
        links = "" if found[name] is None else str(found[name])
        print(
            f"| {name} | {links} | {median:.2f} | {megabytes / median:.1f} | {median / ours:.2f} |"
        )


def scale(options: argparse.Namespace, wat: Path, folder: str) -> None:
    """One and N processes on the same WATs, in turns; prints both and the speed-up."""
    number = 4 * options.ranks
    wats = [Path(folder) / f"{n}.warc.wat.gz" for n in range(number)]
    for path in wats:
        path.hardlink_to(wat)
    times: dict[int, list[float]] = {1: [], options.ranks: []}
    for turn in range(options.rounds):
        for processes, measured in times.items():
            output = str(Path(folder) / f"{turn}-{processes}.parquet")
            command = [sys.executable, "-m", "laion_hpc", "extract", *map(str, wats)]
            command += ["--blocks", "16", "--output", output, "--processes", str(processes)]
            start = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            measured.append(time.perf_counter() - start)
    one, several = (min(measured) for measured in times.values())
    print(f"{number} WATs of {wat.stat().st_size / 1e6:.0f} MB, best of {options.rounds} rounds")
    print(f"1 process {one:.2f} s, {options.ranks} processes {several:.2f} s: {one / several:.2f}×")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("wat", type=Path)
    parser.add_argument("--copies", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cc2dataset", metavar="PYTHON")
    parser.add_argument("--laion", action="store_true")
    parser.add_argument("--ranks", type=int, metavar="N")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        wat = options.wat
        if options.copies:
            wat = Path(folder) / "replicated.warc.wat.gz"
            replicate(options.wat, options.copies, wat)
        (scale if options.ranks else compare)(options, wat, folder)


if __name__ == "__main__":
    main()
