"""Statistics of a release beside a plain DuckDB scan of the same columns of the same parquet.

    python benchmarks/release.py                             1 and 10 million rows
    python benchmarks/release.py --rows 100000000 --folder /scratch/bench   (8 GB of disk)

Makes synthetic joined parts (en and multi, hosts as unevenly spread as on the web), then runs in
fresh processes, each of them twice in turn: the scan, which reads every column that the statistics
read and adds up numbers and lengths of strings, and `statistics.compute`. Prints the faster time
of each, CPU time, peak memory and the ratio.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb

ROOT = Path(__file__).resolve().parents[1]
HEADS = ["pwatermark", "punsafe", "aesthetic"]
PART_ROWS = 5_000_000

ROWS = """SELECT
  'https://' || ['www', 'cdn', 'img', 'static'][1 + host % 4] || '.site' || host
    || '.example.org/images/' || h % 1000000007 || '/' || i || '.jpg' AS URL,
  ['a red boat on the lake', 'House by the sea at sunset, oil on canvas', 'blue vase',
   'Männer Schuhe schwarz Größe 42', 'Sony wireless headphones black'][1 + (h // 8 % 5)::INT]
    || ' ' || h // 1048576 % 100000 AS TEXT,
  (100 + h // 32 % 3900)::INT AS WIDTH, (100 + h // 8192 % 2900)::INT AS HEIGHT,
  0.26 + (h // 128 % 100000) / 500000.0::DOUBLE AS similarity,
  {language}
  (h // 2)::BIGINT AS hash,
  ((h // 512 % 65536) / 65536.0)::FLOAT AS pwatermark,
  ((h // 33554432 % 65536) / 65536.0)::FLOAT AS punsafe,
  (2 + (h // 2147483648 % 65536) / 10000.0)::FLOAT AS aesthetic,
  ['UNLIKELY', 'UNSURE', 'NSFW'][1 + (h // 16384 % 3)::INT] AS nsfw,
  'CC-MAIN-2022-40-' || lpad((i // 1000000)::VARCHAR, 4, '0') || '-00000-'
    || lpad((i % 1000000)::VARCHAR, 6, '0') AS key,
  '?' AS license, 'CC-MAIN-2022-40' AS crawl
FROM (SELECT i, h, (pow((h // 256 % 1000003) / 1000003.0, 4) * 300000)::INT AS host
      FROM (SELECT i, hash(i) AS h FROM range({start}, {stop}) AS t(i)))"""
LANGUAGE = "['de', 'fr', 'es', 'ru', 'ja', 'zh', 'it'][1 + (h // 2048 % 7)::INT] AS LANGUAGE,"


def generate(folder: Path, rows: int) -> None:
    """Parts of at most PART_ROWS; every other one is of laion-multi."""
    size = min(PART_ROWS, -(-rows // 2))
    with duckdb.connect() as connection:
        connection.execute("SET threads = 2; SET memory_limit = '4GB'")
        for part, start in enumerate(range(0, rows, size)):
            split = ("laion-en", "laion-multi")[part % 2]
            sql = ROWS.format(
                language=LANGUAGE if split == "laion-multi" else "",
                start=start,
                stop=min(rows, start + size),
            )
            (folder / split).mkdir(parents=True, exist_ok=True)
            connection.execute(
                f"COPY ({sql}) TO '{folder}/{split}/part-{part:04d}-000.parquet' "
                "(FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 500000)"
            )


def scan(folder: Path) -> None:
    """Read all columns that the statistics read."""
    numbers = ["WIDTH", "HEIGHT", "similarity", *HEADS]
    strings = ["URL", "TEXT", "LANGUAGE", "license", "crawl", "nsfw"]
    sums = [f"sum({name})" for name in numbers] + [f"sum(strlen({name}))" for name in strings]
    with duckdb.connect() as connection:
        connection.execute("SET threads = 2; SET memory_limit = '4GB'")
        connection.execute(
            f"SELECT {', '.join(sums)} FROM read_parquet('{folder}/*/*.parquet', "
            "union_by_name = true)"
        ).fetchall()


def statistics(folder: Path) -> None:
    """What `release gather` does with the data."""
    from laion_hpc.release.statistics import compute

    datasets = {
        f"laion-{name}": {f"laion-{name}": sorted((folder / f"laion-{name}").glob("*.parquet"))}
        for name in ("en", "multi", "nolang")
    }
    compute(datasets, heads=HEADS, has_nsfw=True, threads=2, memory="4GB", scratch=folder)


def measured(what: str, folder: Path) -> dict[str, float]:
    """Seconds, CPU seconds and peak MB of one of the functions in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--only", what, "--folder", str(folder)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return dict(json.loads(done.stdout))


def only(what: str, folder: Path) -> None:
    started, cpu = time.monotonic(), time.process_time()
    {"scan": scan, "statistics": statistics}[what](folder)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_000
    seconds = {"wall": time.monotonic() - started, "cpu": time.process_time() - cpu}
    print(json.dumps(seconds | {"peak_mb": peak}))


def compare(folder: Path, rows: int) -> None:
    """Print the line of one size."""
    runs = [(measured("scan", folder), measured("statistics", folder)) for _ in range(2)]
    plain, ours = (min(side, key=lambda one: one["wall"]) for side in zip(*runs, strict=True))
    cpu = [min(one["cpu"] for one in side) for side in zip(*runs, strict=True)]
    print(
        f"{rows:>11,} {plain['wall']:7.1f} {cpu[0]:6.1f} {ours['wall']:13.1f} "
        f"{cpu[1]:6.1f} {ours['peak_mb']:8.0f} {rows / ours['wall']:9.0f} "
        f"{ours['wall'] / plain['wall']:6.1f} {cpu[1] / cpu[0]:7.1f}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--folder", type=Path, help="where the parquet goes (a temporary one)")
    parser.add_argument("--only", choices=["scan", "statistics"], help=argparse.SUPPRESS)
    parser.add_argument("--generate", action="store_true", help="only make the parquet in FOLDER")
    parser.add_argument("--measure", action="store_true", help="use the parquet made in FOLDER")
    options = parser.parse_args()
    if options.only:
        only(options.only, options.folder)
        return
    if options.generate:
        generate(options.folder, options.rows[0])
        return
    print("       rows  scan s  cpu s  statistics s  cpu s  peak MB    rows/s  ratio  of CPU")
    if options.measure:
        compare(options.folder, options.rows[0])
        return
    for rows in options.rows:
        with tempfile.TemporaryDirectory(dir=options.folder, prefix="release-") as name:
            generate(Path(name), rows)
            compare(Path(name), rows)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
