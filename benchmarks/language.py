"""laion_hpc.language beside genuine CLD3 (cld3-py), on one core, in one run: time and answers.

  python benchmarks/language.py WAT... [--rounds 5] [--copies 4]

Reads the alt texts and titles of WATs. `--copies` repeats them with a different number in each, so
that no cache helps. Times are CPU seconds; the rounds take turns. Start-up is measured separately:
the first call in a process loads the compiled code, or compiles it if no process has before.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

import gcld3
import numpy as np
from isal import igzip

from laion_hpc.language import CODES, detect

TEXT = re.compile(rb'"(?:alt|title|text)":("(?:[^"\\]|\\.)+")')
BATCH = 4096
START = (
    "import time; start = time.process_time(); from laion_hpc.language import detect; detect([]);"
    "print(time.process_time() - start)"
)


def texts_of(wats: list[Path]) -> list[str]:
    """The distinct texts, in order."""
    found: dict[str, None] = {}
    for wat in wats:
        data = wat.read_bytes()
        data = igzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
        for match in TEXT.finditer(data):
            try:
                found[json.loads(match[1])] = None
            except ValueError:
                continue
    return list(found)


def genuine(texts: list[str], min_bytes: int, max_bytes: int) -> list[tuple[str, float, bool]]:
    """What CLD3 says, "" for no language."""
    identifier = gcld3.NNetLanguageIdentifier(min_bytes, max_bytes)
    answers = []
    for text in texts:
        found = identifier.FindLanguage(text)
        code = "" if found.language == "und" else found.language
        answers.append((code, found.probability, found.is_reliable))
    return answers


def main() -> None:
    """Measure, compare and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("wat", type=Path, nargs="+")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--copies", type=int, default=1)
    parser.add_argument("--bytes", type=int, nargs=2, default=(5, 2000), metavar=("MIN", "MAX"))
    options = parser.parse_args()
    once = texts_of(options.wat)
    encodable = [text for text in once if not re.search("[\ud800-\udfff]", text)]
    texts = encodable + [f"{text} {n:x}" for n in range(options.copies - 1) for text in encodable]
    starts = []
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", START], check=True, capture_output=True)
        starts.append(float(done.stdout))
    times: dict[str, list[float]] = {"laion_hpc.language": [], "cld3-py": []}
    detect([])
    for _ in range(options.rounds):
        start = time.process_time()
        ours = [detect(texts[n : n + BATCH], *options.bytes) for n in range(0, len(texts), BATCH)]
        times["laion_hpc.language"].append(time.process_time() - start)
        start = time.process_time()
        theirs = genuine(texts, *options.bytes)
        times["cld3-py"].append(time.process_time() - start)
    language = np.array(CODES)[np.concatenate([part.language for part in ours])]
    probability = np.concatenate([part.probability for part in ours])
    reliable = np.concatenate([part.reliable for part in ours])
    size = sum(len(text.encode()) for text in texts) / len(texts)
    print(f"{len(texts)} texts ({len(once)} distinct in the WATs), {size:.0f} bytes on average")
    print(f"start-up once compiled: {statistics.median(starts):.2f} s\n")
    slow = statistics.median(times["cld3-py"])
    print("| what | µs a text | times cld3-py |\n|---|---:|---:|")
    for name, seconds in times.items():
        median = statistics.median(seconds)
        print(f"| {name} | {median / len(texts) * 1e6:.2f} | {slow / median:.1f} |")
    codes, likely, sure = (np.array(column) for column in zip(*theirs, strict=True))
    apart = np.abs(probability - likely)
    print(f"\nother language: {np.count_nonzero(language != codes)}")
    print(f"other reliability: {np.count_nonzero(reliable != sure)}")
    print(f"probability apart by more than 1e-5: {np.count_nonzero(apart > 1e-5)}, ", end="")
    print(f"at most {apart.max():.1e}; the same to the last bit: {np.mean(apart == 0):.1%}")


if __name__ == "__main__":
    main()
