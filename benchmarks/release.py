"""`release block` and the statistics of a release, beside DuckDB on the same parquet.

    python benchmarks/release.py                                  1 and 3 million rows
    python benchmarks/release.py --rows 100000000 --folder /scratch/bench --minutes 4

Makes synthetic embedded and tagged samples (hosts as unevenly spread as on the web) block by block.
For each block it runs these, each in a fresh process:
- `release block` with the default config: its splits and subsets hold every row about three times;
- a plain DuckDB scan of the joined splits and subsets: it reads the columns that the statistics
  count, and adds up numbers and lengths of strings;
- DuckDB's COPY of the same files, all columns, to parquet with zstd.
At the end it adds up the counts of all blocks to the statistics. It prints CPU seconds, rows per
second, peak memory and ratios.

A block's files are removed after it is measured: 10 GB of disk are enough for any number of rows.
With --minutes a call finishes its current block after that time and stops; the next call with the
same --folder goes on.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import duckdb

ROOT = Path(__file__).resolve().parents[1]
HEADS = ["pwatermark", "punsafe", "aesthetic"]
SHARD_ROWS = 10_000

SAMPLES = """SELECT *, 'https://' || ['www', 'cdn', 'img', 'static'][1 + host % 4] || '.site'
    || host || '.example.org/images/' || h % 1000000007 || '/' || i || '.jpg' AS url,
  ['a red boat on the lake', 'House by the sea at sunset, oil on canvas', 'blue vase',
   'Männer Schuhe schwarz Größe 42', 'Sony wireless headphones black'][1 + (h // 8 % 5)::INT]
    || ' ' || h // 1048576 % 100000 AS caption
FROM (SELECT 'CC-MAIN-2022-40-' || lpad('{block}', 4, '0') || '-'
      || lpad((i // 10000)::VARCHAR, 5, '0') || '-' || lpad((i % 10000)::VARCHAR, 5, '0') AS key,
  i, h, (pow((h // 256 % 1000003) / 1000003.0, 4) * 300000)::INT AS host,
  ['en', 'en', 'de', 'fr', 'es', 'ru', 'ja', ''][1 + (h // 2048 % 8)::INT] AS language
  FROM (SELECT i, hash(i + {block}::BIGINT * 1000000000) AS h FROM range({rows}) AS t(i)))"""
COLUMNS = {
    "image_path": "key",
    "http_status": "200::INT",
    "final_url": "url",
    "content_type": "'image/jpeg'",
    "bytes": "(5000 + h % 90000)::BIGINT",
    "width": "256::INT",
    "height": "200::INT",
    "original_width": "(100 + h // 32 % 3900)::INT",
    "original_height": "(100 + h // 8192 % 2900)::INT",
    "sha256": "lpad(to_hex(h), 64, to_hex(h))",
    "md5": "lpad(to_hex(h), 32, to_hex(h))",
    "language_probability": "0.9::FLOAT",
    "language_reliable": "language <> ''",
    "language_class": "CASE language WHEN 'en' THEN 'en' WHEN '' THEN 'nolang' ELSE 'multi' END",
    "license": "'?'",
    "page_url": "'https://www.site' || host || '.example.org/' || h % 1000003",
    "page_language": "language",
    "crawl": "'CC-MAIN-2022-40'",
    "segment": "'1664030331677.90'",
    "wat": "'CC-MAIN-20220924151538-20220924181538-00000.warc.wat.gz'",
    "record_offset": "(h % 300000000)::BIGINT",
    "link_position": "(h % 40)::INT",
    "similarity": "(0.26 + (h // 128 % 100000) / 500000.0)::FLOAT",
    "hash": "(h // 2)::BIGINT",
    "pwatermark": "((h // 512 % 65536) / 65536.0)::FLOAT",
    "punsafe": "((h // 33554432 % 65536) / 65536.0)::FLOAT",
    "aesthetic": "(2 + (h // 2147483648 % 65536) / 10000.0)::FLOAT",
    "nsfw": "['UNLIKELY', 'UNSURE', 'NSFW'][1 + (h // 16384 % 3)::INT]",
}
"""Where the columns of both tables come from; those of strings that are not here are empty."""


def generate(folder: Path, block: int, rows: int) -> None:
    """Tables as `embed` and `tag` leave them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from laion_hpc.files.schemas import EMBEDDED_SAMPLE, TAGS

    tags = pa.schema([*TAGS, *(pa.field(h, pa.float32()) for h in HEADS), ("nsfw", pa.string())])
    known = {**COLUMNS, **{name: name for name in ("key", "url", "caption", "language")}}
    names = dict.fromkeys([*EMBEDDED_SAMPLE.names, *tags.names])
    listed = ", ".join(f"{known.get(name, repr(''))} AS {name}" for name in names)
    sql = f"SELECT {listed} FROM ({SAMPLES.format(block=block, rows=rows)})"
    metadata = folder / "embed" / "metadata"
    metadata.mkdir(parents=True)
    with duckdb.connect() as connection, pq.ParquetWriter(folder / "tags.parquet", tags) as writer:
        connection.execute("SET threads = 2")
        for number, batch in enumerate(connection.sql(sql).to_arrow_reader(SHARD_ROWS)):
            table = pa.Table.from_batches([batch])
            path = metadata / f"metadata_{number:05d}.parquet"
            pq.write_table(
                table.select(EMBEDDED_SAMPLE.names).cast(EMBEDDED_SAMPLE), path, compression="zstd"
            )
            writer.write_table(table.select(tags.names).cast(tags))


def block(folder: Path, number: int) -> dict[str, float]:
    """`release block` with two threads; also the CPU time that counting took of it."""
    from laion_hpc.config import Config, digest
    from laion_hpc.stages.release import block_counts
    from laion_hpc.stages.release.block import TableBlock, make_block

    spent = []
    counts, write = block_counts.Counting.of, block_counts.Counting.write

    def timed(function: Any) -> Any:
        def run(*arguments: Any) -> None:
            started = time.thread_time()
            function(*arguments)
            spent.append(time.thread_time() - started)

        return run

    block_counts.Counting.of = lambda self, split: timed(counts(self, split))  # type: ignore[method-assign]
    block_counts.Counting.write = timed(write)  # type: ignore[method-assign]
    release = folder / "release"
    make_block(
        folder / "embed",
        folder / "tags.parquet",
        TableBlock(
            number,
            release,
            release / "blocks" / f"{number:04d}.ledger.json",
            Config().release,
            digest(Config(), "release"),
            threads=2,
        ),
    )
    return {"counting": sum(spent)}


def scan(folder: Path, _: int) -> dict[str, float]:
    """Read all columns that the statistics are of."""
    numbers = ["WIDTH", "HEIGHT", "similarity", *HEADS]
    strings = ["URL", "TEXT", "LANGUAGE", "license", "crawl", "nsfw"]
    sums = [f"sum({name})" for name in numbers] + [f"sum(strlen({name}))" for name in strings]
    with _duckdb() as connection:
        for name in _folders(folder):
            sql = f"SELECT {', '.join(sums)} FROM '{name}/*.parquet'"
            if name.name in ("laion-en-joined", "laion-nolang-joined"):
                sql = sql.replace("sum(strlen(LANGUAGE))", "0")
            connection.execute(sql).fetchall()
    return {}


def _folders(folder: Path) -> list[Path]:
    release = folder / "release"
    return [*release.glob("laion-*-joined"), *release.glob("subsets/*")]


def copy(folder: Path, _: int) -> dict[str, float]:
    """Read and write all columns of these files."""
    with _duckdb() as connection:
        for name in _folders(folder):
            connection.execute(
                f"COPY (FROM '{name}/*.parquet') "
                f"TO '{folder}/copy.parquet' (FORMAT parquet, COMPRESSION zstd)"
            )
    return {}


def statistics(folder: Path, _: int) -> dict[str, float]:
    """What `release gather` does with the counts of all blocks."""
    from laion_hpc.config import Config
    from laion_hpc.stages.release.statistics import compute

    tables = folder / "counts"
    counts, hosts = (sorted(tables.glob(f"*.{kind}.parquet")) for kind in ("counts", "hosts"))
    subsets = [f"subsets/{subset.name}" for subset in Config().release.subsets]
    datasets = ["laion-en", "laion-multi", "laion-nolang", *subsets]
    compute(counts, hosts, datasets, heads=HEADS, threads=2, scratch=folder)
    return {}


def _duckdb() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("SET threads = 2; SET memory_limit = '4GB'")
    return connection


STEPS = {"block": block, "scan": scan, "copy": copy, "statistics": statistics}


def measured(what: str, folder: Path, number: int = 0) -> dict[str, float]:
    """Seconds, CPU seconds and peak MB of one of the steps in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--only", what, "--folder", str(folder), "--block", str(number)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def only(what: str, folder: Path, number: int) -> None:
    started, cpu = time.monotonic(), time.process_time()
    more = STEPS[what](folder, number)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_000
    seconds = {"wall": time.monotonic() - started, "cpu": time.process_time() - cpu}
    print(json.dumps(seconds | {"peak": peak} | more))


def measure_block(
    folder: Path, number: int, rows: int, copied: bool
) -> dict[str, dict[str, float]]:
    """Make a block, run all steps on it, keep nothing of it but its counts."""
    work = folder / "work"
    shutil.rmtree(work, ignore_errors=True)
    generate(work, number, rows)
    found = {"block": measured("block", work, number)}
    (work / "embed").rename(work / "read")
    for step in ("scan", *(["copy"] if copied else [])):
        found[step] = measured(step, work)
    (folder / "counts").mkdir(exist_ok=True)
    for path in (work / "release" / "blocks").glob("*.parquet"):
        path.rename(folder / "counts" / path.name)
    sizes = [path.stat().st_size for path in (work / "release").rglob("*.parquet")]
    found["written"] = {"bytes": sum(sizes)}
    shutil.rmtree(work)
    return found


def benchmark(folder: Path, rows: int, options: argparse.Namespace) -> None:
    """Measure what is left of `rows`, then print the line of this size."""
    started = time.monotonic()
    each = options.block_rows
    sizes = [min(each, rows - first) for first in range(0, rows, each)]
    done = folder / "measured.jsonl"
    lines = done.read_text().splitlines() if done.exists() else []
    for number in range(len(lines), len(sizes)):
        if time.monotonic() - started > 60 * options.minutes:
            print(f"{number} of {len(sizes)} blocks are measured: call it again to go on")
            return
        lines.append(json.dumps(measure_block(folder, number, sizes[number], options.copy)))
        done.write_text("\n".join(lines) + "\n")
    blocks = [json.loads(line) for line in lines]

    def total(step: str, what: str) -> float:
        return float(sum(one[step][what] for one in blocks if step in one))

    put = measured("statistics", folder)
    peak = max(put["peak"], *(one["block"]["peak"] for one in blocks))
    plain, counted = total("scan", "cpu"), total("block", "counting") + put["cpu"]
    print(
        f"{rows:>11,} {plain:7.1f} {total('block', 'counting'):8.1f} {put['cpu']:6.1f} "
        f"{counted / plain:6.2f}x {total('copy', 'cpu'):7.1f} {total('block', 'cpu'):8.1f} "
        f"{total('block', 'wall'):8.1f} {rows / total('block', 'wall'):9,.0f} "
        f"{total('written', 'bytes') / rows:7.0f} {peak:8,.0f}",
        flush=True,
    )


HEAD = (
    "            | statistics, CPU s             | writing, s\n"
    "       rows    scan counting  merge   /scan    copy     CPU     wall    rows/s  B/row  peak MB"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 3_000_000])
    parser.add_argument("--block-rows", type=int, default=10_000_000)
    parser.add_argument(
        "--folder", type=Path, help="where the parquet goes (default: a temporary folder)"
    )
    parser.add_argument("--minutes", type=float, default=1e9)
    parser.add_argument("--no-copy", dest="copy", action="store_false", help="leave out COPY")
    parser.add_argument("--only", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--block", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        only(options.only, options.folder, options.block)
        return
    print(HEAD)
    for rows in options.rows:
        if options.folder:
            folder = options.folder / str(rows)
            folder.mkdir(parents=True, exist_ok=True)
            benchmark(folder, rows, options)
        else:
            with tempfile.TemporaryDirectory(prefix="release-") as name:
                benchmark(Path(name), rows, options)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
