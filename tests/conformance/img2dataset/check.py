"""img2dataset downloads the released parquet again, from the web of the demo.

The server runs for the time of the check: the pictures are those the run was made of.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from img2dataset import download

ROOT = Path(__file__).resolve().parents[3]


def serve() -> subprocess.Popen[str]:
    command = [str(ROOT / ".venv" / "bin" / "laion-hpc"), "demo", "serve"]
    server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    line = server.stdout.readline()
    assert line.startswith("serving"), line
    return server


def main(results: Path) -> str:
    release = results / "release" / "laion-en"
    rows = pq.read_table(sorted(release.glob("*.parquet")), columns=["URL", "TEXT"])
    server = serve()
    try:
        with tempfile.TemporaryDirectory() as folder:
            download(
                url_list=str(release),
                input_format="parquet",
                url_col="URL",
                caption_col="TEXT",
                output_format="webdataset",
                output_folder=f"{folder}/again",
                processes_count=1,
                thread_count=8,
                image_size=256,
                resize_mode="keep_ratio",
                timeout=20,
                save_additional_columns=["similarity", "hash"],
            )
            parts = [pq.read_table(part) for part in Path(folder, "again").glob("*.parquet")]
    finally:
        server.terminate()
        server.wait()
    again = pa.concat_tables(parts)
    ours, theirs = set(rows["URL"].to_pylist()), set(again["url"].to_pylist())
    assert ours == theirs, f"{len(ours ^ theirs)} URLs differ"
    assert set(again["caption"].to_pylist()) == set(rows["TEXT"].to_pylist())
    good = pc.sum(pc.equal(again["status"], "success")).as_py()
    # The demo's servers include some that answer only every third time.
    assert good >= 0.97 * len(again), again["error_message"].value_counts().to_pylist()
    return f"{len(again):,} rows of laion-en read, {good:,} images downloaded again"


if __name__ == "__main__":
    print(main(Path(sys.argv[1])))
