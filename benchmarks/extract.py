"""extract beside cc2dataset, a LAION-like scan and plain decompression, on one core, in one run.

  python benchmarks/extract.py WAT [--copies 8] [--rounds 3] [--cc2dataset PYTHON] [--laion PYTHON]
  python benchmarks/extract.py WAT --ranks 2

WAT: a gzipped WAT. It is copied, and every alt text in a copy is made different, so that no cache
helps; --copies 0 takes it as it is. PYTHON: an interpreter that has cc2dataset (`pip install
cc2dataset==1.5.0` in an environment of its own), or ftfy, cld3-py, ujson and django for --laion.

Times are CPU seconds of the work alone, without starting interpreters, imports and loading of
compiled code. The programs take turns, so that a change in the machine's speed affects all.
--ranks N instead compares the wall-clock time of one process and of N processes on 4·N WATs, and of
N runs at once that share nothing: the most that the machine can give. Start-up is also measured
alone, on WATs of one record.
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
from laion_hpc.stages.extract.job import SegmentJob, run
wat, small, folder = sys.argv[1:4]
def work(wat=wat, name='big'):
    output = Path(folder) / f'{name}.parquet'
    for path in (output, output.with_suffix('.ledger.json')): path.unlink(missing_ok=True)
    return run(SegmentJob((wat,), output, 'C', 'S', parse({'dataset': {'blocks': 16}})), 1).kept
work(small, 'small')
"""
CC2DATASET = """
import sys, time, json; from io import BytesIO
from cc2dataset.main import extract_documents_from_wat
def work():
    return len(extract_documents_from_wat(BytesIO(open(sys.argv[1], 'rb').read()), 'image'))
"""
# What LAION's workers did to a WAT, in our words: line by line, the last Creative Commons link seen
# so far, ftfy, a few extensions, and CLD3 on each text between 5 and 2000 bytes, taken where it is
# reliable. The worker of LAION-5B asked Django's validator about every link, images or not, found
# its host, left unprintable characters out and took an MD5; that of LAION-400M asked pycld3, which
# makes an identifier for each text.
LAION = """
import sys, time, json, gzip, hashlib, ftfy, gcld3, ujson
from urllib.parse import urlsplit
WHOLE, ANEW = %r, %r
if WHOLE:
    from django.core.exceptions import ValidationError
    from django.core.validators import URLValidator
KEPT = gcld3.NNetLanguageIdentifier(5, 2000)
def refused(url):
    try: URLValidator()(url)
    except ValidationError: return True
    return not 0 < len(urlsplit(url).hostname or '') <= 60
def work():
    found, seen = [], set()
    with gzip.open(sys.argv[1], 'rt', encoding='utf-8', errors='replace') as lines:
        for line in lines:
            if 'IMG@' not in line: continue
            try: links = (ujson.loads(line)['Envelope']['Payload-Metadata']
                ['HTTP-Response-Metadata']['HTML-Metadata']['Links'])
            except (ValueError, KeyError): continue
            licence = '?'
            for link in links:
                url = link.get('url', '')[:2000]
                if 'creativecommons.org/licenses/' in url: licence = url
                if WHOLE and (not url or refused(url)): continue
                if any(part in url for part in ('.svg', '.gif', 'data:image', 'javascript:')):
                    continue
                if not WHOLE and not url.startswith('http'): continue
                alt = ftfy.fix_text(link.get('alt', '').replace('\\n', ' ')).strip()
                if WHOLE: alt = ''.join(c for c in alt if c.isprintable())
                if not alt: continue
                cld3 = gcld3.NNetLanguageIdentifier(5, 2000) if ANEW else KEPT
                result = cld3.FindLanguage(alt)
                if len(alt) < 5: continue
                digest = hashlib.md5((url + alt).encode()).hexdigest() if WHOLE else ''
                if url not in seen:
                    seen.add(url)
                    language = result.language if result.is_reliable else ''
                    found.append((url, alt, licence, language, digest))
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
        for name, whole, anew in (
            ("LAION's text scan, its CLD3", False, False),
            ("LAION's text scan, an identifier per text as pycld3", False, True),
            ("LAION-5B's worker, every step but its servers", True, False),
        ):
            sides[name] = (options.laion, LAION % (whole, anew), ())
    times: dict[str, list[float]] = {name: [] for name in sides}
    found: dict[str, int | None] = {}
    for number in range(options.rounds):
        for name, (python, code, more) in sides.items():
            if number and "LAION" in name:
                continue  # long; its ratio needs no median
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
    """One process, N processes and N runs at once on the same WATs, in turns; prints all."""
    number = 4 * options.ranks
    wats, empty = (
        [Path(folder) / f"{name}{n}.warc.wat.gz" for n in range(number)] for name in "we"
    )
    for path in wats:
        path.hardlink_to(wat)
    for path in empty:
        path.write_bytes(gzip.compress(b"WARC/1.0\r\nContent-Length: 2\r\n\r\n{}\r\n\r\n"))
    shares = [wats[n :: options.ranks] for n in range(options.ranks)]
    runs = {
        "1 process": ([wats], 1),
        f"{options.ranks} processes": ([wats], options.ranks),
        f"{options.ranks} runs at once": (shares, 1),
        "start-up of 1 process": ([empty[:1]], 1),
        f"start-up of {options.ranks} processes": ([empty], options.ranks),
    }
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(options.rounds):
        for name, (each, processes) in runs.items():
            times[name].append(at_once(each, processes, folder))
    best = {name: min(seconds) for name, seconds in times.items()}
    print(f"{number} WATs of {wat.stat().st_size / 1e6:.0f} MB, best of {options.rounds} rounds\n")
    print("| what | seconds | times 1 process |\n|---|--:|--:|")
    for name, seconds in best.items():
        ratio = "" if "start" in name else f"{best['1 process'] / seconds:.2f}"
        print(f"| {name} | {seconds:.2f} | {ratio} |")


def at_once(shares: list[list[Path]], processes: int, folder: str) -> float:
    """Wall-clock seconds of runs of the command started together, one for each share."""
    start = time.perf_counter()
    running = []
    for n, wats in enumerate(shares):
        output = Path(folder) / f"out{n}.parquet"
        output.with_suffix(".ledger.json").unlink(missing_ok=True)
        command = [sys.executable, "-m", "laion_hpc", "extract", *map(str, wats)]
        command += ["--blocks", "16", "--output", str(output), "--processes", str(processes)]
        quiet = subprocess.DEVNULL
        running.append(subprocess.Popen(command, stdout=quiet, stderr=quiet))
    if any(run.wait() for run in running):
        raise SystemExit("a run failed")
    return time.perf_counter() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("wat", type=Path)
    parser.add_argument("--copies", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cc2dataset", metavar="PYTHON")
    parser.add_argument("--laion", metavar="PYTHON")
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
