"""shuffle beside DuckDB doing the same deduplication and a random order in one SQL statement.

  python benchmarks/shuffle.py [--rows 1000000 10000000 50000000] [--folder DIR]
      [--sides shuffle duckdb]

Makes a block of candidates in files of a million rows (over a third of them duplicates, hosts as
uneven as on the web), lets both deduplicate it by URL (longest text, then earliest), put it in
order and write it as zstd parquet in shards. Prints wall-clock and CPU time, microseconds a row
and peak memory. Both may use two cores; DuckDB is given 4 GB. shuffle does more: hosts
interleaved, keys, ledger, Bloom filter. --folder keeps the block for another run. 50 million rows
take 10 GB of disk and ten minutes of one core for everything.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from laion_hpc.files.schemas import CANDIDATE

PART_ROWS = 1_000_000
HOSTS = 200_000
WORDS_TEXT = (
    "a red boat on the lake near old house with garden white dog cat man woman child street city "
    "photo of image new black summer winter beautiful view mountain sea sky tree flower car bike "
    "vintage poster logo product front back side small large set kitchen table chair lamp"
)
WORDS = np.array(WORDS_TEXT.split())

DUCKDB = """
import duckdb, sys
parts, output, scratch = sys.argv[1:4]
duckdb.sql("SET memory_limit='4GB'; SET threads=2; SET enable_progress_bar=false")
duckdb.sql(f"SET temp_directory='{scratch}'")
duckdb.sql(f'''
COPY (
  SELECT * EXCLUDE (rank) FROM (
    SELECT *, row_number() OVER (
      PARTITION BY url ORDER BY length(text) DESC, segment, wat, record_offset, link_position
    ) AS rank FROM '{parts}/*.parquet'
  ) WHERE rank = 1 ORDER BY hash(url, 7)
) TO '{output}' (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 10000)
''')
"""


def make(rows: int, folder: Path) -> None:
    """Write the block: files of PART_ROWS rows, one row group each."""
    for number in range(-(-rows // PART_ROWS)):
        path = folder / f"{number:03d}.parquet"
        if path.exists():
            continue
        draw = np.random.default_rng(number)
        n = min(PART_ROWS, rows - number * PART_ROWS)
        # Each file has its own numbers and some of its neighbours', whatever the block's size.
        image = draw.integers(number * PART_ROWS, number * PART_ROWS + int(1.6 * PART_ROWS), n)
        mixed = (image.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(11)
        host = ((mixed / 2.0**53) ** 4 * HOSTS).astype(np.int64)
        word = [pa.array(WORDS).take(pa.array(draw.integers(0, len(WORDS), n))) for _ in range(7)]
        code = pc.cast(pa.array(mixed.astype(np.int64)), pa.string())
        site = pc.cast(pa.array(host), pa.string())
        page = pc.cast(pa.array(np.sort(draw.integers(0, n // 10, n))), pa.string())
        join = pc.binary_join_element_wise
        columns = {
            "url": join("https://img", site, ".example.org/uploads/", code, ".jpg", ""),
            "host": join("img", site, ".example.org", ""),
            "text": join(*word, " "),
            "language": pa.repeat("en", n),
            "language_probability": pa.array(draw.random(n, np.float32)),
            "language_reliable": pa.repeat(True, n),
            "language_class": pa.repeat("en", n),
            "license": pa.repeat("?", n),
            "page_url": join("https://www", site, ".example.org/articles/", page, ".html", ""),
            "page_language": pa.repeat("en-GB", n),
            "title": pc.if_else(pa.array(draw.random(n) < 0.3), word[0], ""),
            "crawl": pa.repeat("CC-MAIN-2022-40", n),
            "segment": pa.repeat(f"16640303316{number:02d}.90", n),
            "wat": join("CC-MAIN-", pc.cast(pa.array(np.arange(n) // 5000), pa.string()), ""),
            "record_offset": pa.array(np.arange(n) * 700),
            "link_position": pa.array(draw.integers(0, 20, n), pa.int32()),
        }
        table = pa.Table.from_arrays([columns[name] for name in CANDIDATE.names], schema=CANDIDATE)
        pq.write_table(table, path, compression="zstd", row_group_size=n)


def measure(command: list[str]) -> dict[str, float]:
    """Wall-clock and CPU seconds of a command, and its peak memory in GB."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"failed: {' '.join(command)[:300]}")
    return {
        "wall": time.perf_counter() - start,
        "cpu": usage.ru_utime + usage.ru_stime,
        "peak": usage.ru_maxrss / 1e6,
    }


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[10**6, 10**7, 5 * 10**7])
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--sides", nargs="+", default=["shuffle", "duckdb"])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as scratch:
        print("| rows | what | kept | wall s | CPU s | CPU µs/row | peak GB |")
        print("|--:|---|--:|--:|--:|--:|--:|")
        for rows in options.rows:
            parts = (options.folder or Path(scratch)) / f"block-{rows}"
            parts.mkdir(parents=True, exist_ok=True)
            make(rows, parts)
            output = Path(scratch) / "0000.parquet"
            files = [str(path) for path in sorted(parts.glob("*.parquet"))]
            commands = {
                "shuffle": [
                    *(sys.executable, "-m", "laion_hpc", "shuffle", *files, "--block", "0"),
                    *("--output", str(output), "--seen-after", f"{scratch}/0000.seen"),
                ],
                "duckdb": [sys.executable, "-c", DUCKDB, str(parts), str(output), scratch],
            }
            for side in options.sides:
                found = measure(commands[side])
                kept = pq.read_metadata(output).num_rows
                each = found["cpu"] / rows * 1e6
                print(
                    f"| {rows} | {side} | {kept} | {found['wall']:.1f} | {found['cpu']:.1f} "
                    f"| {each:.2f} | {found['peak']:.2f} |",
                    flush=True,
                )
                for path in (output, output.with_suffix(".ledger.json")):
                    path.unlink(missing_ok=True)
            if options.folder is None:
                shutil.rmtree(parts)


if __name__ == "__main__":
    main()
