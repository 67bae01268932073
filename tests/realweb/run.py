"""The real-web corpus through the whole workflow, its images replayed on loopback.

  LAION_HPC_TESTDATA=/path/to/data python -m tests.realweb.run FOLDER

The pages, links and images are real; the CLIP model is the demo's tiny one, which knows nothing of
real pictures. The thresholds are therefore -1: every pair is scored and none is dropped for it.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import yaml

from laion_hpc.files import ledger
from tests.realweb.proxy import ReplayProxy

ROOT = Path(__file__).parents[2]
SNAKEMAKE = (sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile")
STAGES = ("extract", "shuffle", "download", "filter", "embed", "tag", "index", "release")


def config(proxy_port: int) -> dict[str, object]:
    """The config of the run: real settings but for sizes, thresholds, models and the proxy."""
    demo = yaml.safe_load((ROOT / "config/demo.yaml").read_text())
    keep_all = {"en": -1, "multi": -1, "nolang": -1}
    return {
        "crawls": ["realweb"],
        "dataset": {"blocks": 2, "samples_per_shard": 500},
        "download": {
            "proxy": f"http://127.0.0.1:{proxy_port}",
            "user_agent": "laion-hpc-tests/0.1 (loopback only)",
            "respect_robots_txt": False,  # the corpus holds images only
        },
        "filter": demo["filter"] | {"thresholds": keep_all, "zero_shot": "off"},
        "embed": demo["embed"],
        "tag": demo["tag"],
        "release": {"title": "Real pages, replayed", "subsets": demo["release"]["subsets"]},
    }


def run(folder: Path, data: Path) -> Path:
    """Run the workflow in `folder`; return the results of the crawl."""
    crawls = folder / "config/crawls"
    crawls.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "laion_hpc", "crawl", "realweb"]
    wats = data / "realweb/wat"
    subprocess.run([*command, "--folder", wats, "--output", crawls / "realweb.json"], check=True)
    proxy = ReplayProxy(data / "realweb/images.tar")
    try:
        (folder / "config/config.yaml").write_text(yaml.safe_dump(config(proxy.port)))
        subprocess.run(
            [*SNAKEMAKE, "--profile", ROOT / "profiles/local", "--directory", folder],
            check=True,
            cwd=folder,
        )
    finally:
        proxy.close()
    return folder / "results/realweb"


def manifests(results: Path, stage: str) -> list[ledger.Ledger]:
    """The ledgers of a stage's segments or blocks."""
    paths = [*results.glob(f"{stage}/*/manifest.json"), *results.glob(f"{stage}/*.ledger.json")]
    return [ledger.read(path) for path in sorted(paths)]


def seconds(results: Path, stage: str) -> float:
    """Wall time of a stage's jobs, added up."""
    total = 0.0
    for path in (results / "benchmarks" / stage).glob("*.tsv"):
        with path.open() as stream:
            total += sum(float(row["s"]) for row in csv.DictReader(stream, delimiter="\t"))
    return total


def report(results: Path) -> str:
    """What came of the corpus, as Markdown."""
    extracted = ledger.total(manifests(results, "extract"))
    downloads = pq.read_table(
        sorted(results.glob("download/*/*.parquet")), columns=["error_message", "content_type"]
    ).to_pydict()
    fates = Counter(reason or "success" for reason in downloads["error_message"])
    formats = Counter(
        kind
        for kind, reason in zip(downloads["content_type"], downloads["error_message"], strict=True)
        if not reason
    )
    rows = [
        ("links", extracted.inputs),
        ("candidates", extracted.kept),
        *((f"candidates, {name}", n) for name, n in extracted.counts["kept_by_class"].items()),
        *((f"download: {name}", n) for name, n in fates.most_common()),
        *((f"images, {name}", n) for name, n in formats.most_common()),
        *((f"seconds, {stage}", round(seconds(results, stage), 1)) for stage in STAGES),
    ]
    return "\n".join(["| what | number |", "|---|---:|", *(f"| {k} | {v} |" for k, v in rows)])


def main() -> int:
    """Run and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder.resolve()
    results = run(folder, Path(os.environ["LAION_HPC_TESTDATA"]))
    print(report(results))
    print(f"\nreport: {results / 'report.html'}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
