"""Seconds and memory of `snakemake -n` on one crawl, by the number of jobs.

python benchmarks/dry_run.py                        # the table of docs/scaling.md; two minutes
python benchmarks/dry_run.py --blocks 500
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]


def main() -> None:
    """Print a line for each number of blocks."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--blocks", type=int, nargs="+", default=[112, 500, 612, 1237])
    print("blocks    jobs  wall s   CPU s  peak MB")
    for blocks in parser.parse_args().blocks:
        with tempfile.TemporaryDirectory() as folder:
            jobs, wall, cpu, peak = dry_run(Path(folder), blocks)
        print(f"{blocks:>6} {jobs:>7,} {wall:>7.1f} {cpu:>7.1f} {peak:>8.0f}", flush=True)


def dry_run(site: Path, blocks: int) -> tuple[int, float, float, float]:
    """Jobs, wall and CPU seconds, and peak MB of a dry run of 100 segments of 900 WATs."""
    crawls = site / "config/crawls"
    crawls.mkdir(parents=True)
    segments = {f"{n}.{n}": [f"wat/{n}-[00000-00899].warc.wat.gz"] for n in range(100)}
    lock = {"name": "WHOLE", "prefix": "https://data.example/", "segments": segments}
    (crawls / "WHOLE.json").write_text(json.dumps(lock))
    (site / "config/config.yaml").write_text(f"crawls: [WHOLE]\ndataset: {{blocks: {blocks}}}\n")
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
    output = site / "output"
    began = time.monotonic()
    with output.open("w") as stream:
        process = subprocess.Popen(
            [*command, "-n", "--quiet", "rules", "--cores", "2"],
            cwd=site,
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
        _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    found = re.search(r"^total +(\d+)$", output.read_text(), re.MULTILINE)
    if process.returncode or not found:
        sys.exit(output.read_text())
    return int(found[1]), wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e6


if __name__ == "__main__":
    main()
