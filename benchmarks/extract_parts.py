"""What each compiled part of extract saves: the stage with one part after the other switched off.

  python benchmarks/extract_parts.py WAT [--copies 4] [--rounds 3]

A part that is switched off is replaced by its readable twin, with the same result. Times are CPU
seconds of the work alone, each in an interpreter of its own, the median of rounds that take turns.
A part saves `time without it / time with all - 1`. Remove a part that saves less than 3%.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

from extract import EXTRACT, measure, replicate

LANGUAGE = """
import gcld3, numpy as np
from laion_hpc.language import CODES, Detections
from laion_hpc.stages.extract import language_class
def detect_column(texts, least, most):
    known = gcld3.NNetLanguageIdentifier(least, most)
    found = [known.FindLanguage(text) for text in texts.to_pylist()]
    codes = {code: n for n, code in enumerate(CODES)}
    return Detections(np.array([codes.get(one.language, codes['']) for one in found], np.uint8),
        np.array([one.probability for one in found], np.float32),
        np.array([one.is_reliable for one in found], np.bool_))
language_class.detect_column = detect_column
"""
WINDOWS = """
from laion_hpc.stages.extract import fast, records
fast.read_windows = records.read_records
"""
LINKS = """
import msgspec
from collections import Counter
from laion_hpc.stages.extract import batch, fast, pages
decoded = msgspec.json.Decoder(list[pages.Link]).decode
def decide(self, outlines, window=None):
    found = []
    for one in outlines:
        images = [link for link in decoded(one.links) if link.path == pages.IMAGE]
        if one.old: any(map(pages._decode_entities, images))
        found.append(pages.Page(one.url, one.base, one.language, one.license, images))
    return batch._links(found, self._rules)
fast.Decider.__call__ = decide
"""
TEXTS = """
import numpy as np
from laion_hpc.stages.extract.fast import find
find.characters = lambda: np.zeros(1 << 17, np.uint8)
"""
REFERENCES = """
from laion_hpc.stages.extract.fast import decide
from laion_hpc.stages.extract.fast.judge import ODD
found = decide.find
def find(*arguments):
    links = found(*arguments)
    links.url_status[links.url_status == 0] = ODD
    return links
decide.find = find
"""
OUTLINES = """
from laion_hpc.stages.extract import fast, pages
fast.read_outline = lambda data, begin=0, end=None, *, licensed=None: (
    pages.whole_outline(data, begin, end))
"""
LICENCES = """
from laion_hpc.stages.extract import fast, pages
fast.read_outline = lambda data, begin=0, end=None, *, licensed=None: (
    pages.read_outline(data, begin, end))
"""
HOSTS = """
import pyarrow as pa
from laion_hpc.stages.extract.fast import decide
from laion_hpc.web.url import host_of
decide.hosts_of = lambda urls: pa.array([host_of(url) for url in urls.to_pylist()], pa.string())
"""
PARTS = {
    "language: CLD3 in compiled code": LANGUAGE,
    "windows: many members inflated at once, records found in them": WINDOWS,
    "outlines: a page's links are left as JSON": OUTLINES,
    "links: found and decided on in JSON": LINKS,
    "of these, texts with spaces or beyond ASCII": TEXTS,
    "of these, references": REFERENCES,
    "licences: looked for in windows": LICENCES,
    "hosts": HOSTS,
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("wat", type=Path)
    parser.add_argument("--copies", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    times: dict[str, list[float]] = {name: [] for name in ("all parts", *PARTS)}
    kept = set()
    with tempfile.TemporaryDirectory() as folder:
        wat = Path(folder) / "replicated.warc.wat.gz"
        replicate(options.wat, options.copies, wat)
        for _ in range(options.rounds):
            for name, each in times.items():
                code = PARTS.get(name, "") + EXTRACT
                seconds, links = measure(sys.executable, code, str(wat), str(options.wat), folder)
                each.append(seconds)
                kept.add(links)
    if len(kept) != 1:
        raise SystemExit(f"not the same result: {sorted(kept, key=str)}")
    whole = statistics.median(times["all parts"])
    print("| without | CPU seconds | the part earns |\n|---|--:|--:|")
    for name, each in times.items():
        seconds = statistics.median(each)
        earned = f"{seconds / whole - 1:+.0%}" if name in PARTS else ""
        print(f"| {name} | {seconds:.2f} | {earned} |")


if __name__ == "__main__":
    main()
