"""clip-retrieval's ClipClient asks `clip-retrieval back` and `laion-hpc search`: same answers.

Both serve one and the same index, of a block of the demo, with one small untrained open_clip
model: what it finds makes no sense, but must be the same.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path

import faiss
import pandas as pd
from peer import make_model  # first: it mends what torch and clip lack

from clip_retrieval.clip_client import ClipClient  # isort: skip

HERE = Path(__file__).resolve().parent
OURS = os.environ.get("LAION_HPC_PYTHON") or str(HERE.parents[2] / ".venv" / "bin" / "python")
CELLS = 8
TEXTS = ("a red mushroom", "ein blaues Herz im Schnee", "🦊", "caption, with punctuation!")


def laion_hpc(*arguments: object) -> None:
    command = [OURS, "-m", "laion_hpc", *map(str, arguments)]
    subprocess.run(command, check=True, capture_output=True, cwd=HERE.parents[2])


def make_index(results: Path, folder: Path, model: Path) -> Path:
    """The index of the demo's first block; ids are 0 … n - 1, as they expect."""
    block, index = results / "embed" / "0000", folder / "index"
    config = folder / "config.yaml"
    named = {"library": "open_clip", "name": "tiny", "folder": str(model)}
    settings = {"embed": {"model": named}, "index": {"key": f"IVF{CELLS},Flat"}}
    config.write_text(json.dumps(settings))
    added = index / "blocks" / "0000.index"
    with_config = ("--config", config, "--output")
    laion_hpc("index", "train", block, *with_config, index / "trained.index")
    laion_hpc("index", "add", index / "trained.index", block, "--block", 0, *with_config, added)
    tags, table = results / "tag" / "0000.parquet", index / "metadata" / "0000.arrow"
    laion_hpc("index", "metadata", block, tags, "--block", 0, *with_config, table)
    laion_hpc("index", "merge", index / "trained.index", added, *with_config, index)
    # Both visit all cells: which ones are visited is no part of the contract.
    (index / "evaluation.json").write_text(json.dumps({"nprobe": CELLS}))
    return index


def make_theirs(index: Path, results: Path, folder: Path) -> None:
    """Their folder: the same index and lists, and the metadata as parquet."""
    (folder / "metadata").mkdir()
    opened = faiss.read_index(str(index / "image.index"), faiss.IO_FLAG_ONDISK_SAME_DIR)
    faiss.extract_index_ivf(opened).nprobe = CELLS
    faiss.write_index(opened, str(folder / "image.index"))
    parts = sorted((results / "embed" / "0000" / "metadata").glob("*.parquet"))
    whole = pd.concat(pd.read_parquet(part, columns=["key", "url", "caption"]) for part in parts)
    whole.to_parquet(folder / "metadata" / "metadata_0.parquet")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def start(stack: ExitStack, command: list[str], port: int, cwd: Path) -> str:
    """Start a service and wait until it answers; its address."""
    log = stack.enter_context((cwd / f"{port}.log").open("w+"))
    process = subprocess.Popen(command, stdout=log, stderr=log, cwd=cwd)
    stack.callback(lambda: (process.terminate(), process.wait()))
    address = f"http://127.0.0.1:{port}"
    while process.poll() is None:
        try:
            with urllib.request.urlopen(f"{address}/indices-list", timeout=60):
                return address
        except OSError:
            time.sleep(0.1)
    log.seek(0)
    raise SystemExit(f"{command} does not serve: {log.read()[-2_000:]}")


def rows(found: list[dict]) -> list[tuple]:
    """What must agree, best first; equal similarities in the order of ids."""
    kept = [(-round(row["similarity"], 4), row["id"], row["url"], row["caption"]) for row in found]
    return sorted(kept)


def same(theirs: list[dict], ours: list[dict]) -> None:
    assert len(theirs) == len(ours), (len(theirs), len(ours))
    for one, other in zip(rows(theirs), rows(ours), strict=True):
        assert abs(one[0] - other[0]) < 2e-4, (one, other)
    # The last ones may tie with what the other left out.
    ties = {row[1:] for row in rows(theirs) if row[0] < rows(theirs)[-1][0] - 2e-4}
    assert ties <= {row[1:] for row in rows(ours)}, ties


def main(results: Path) -> str:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        theirs = folder / "theirs"
        theirs.mkdir()
        make_model(theirs / "model")
        index = make_index(results, folder, theirs / "model")
        make_theirs(index, results, theirs)
        shutil.copy(index / "image.ivfdata", theirs)
        ports = free_port(), free_port()
        peer = [sys.executable, str(HERE / "peer.py"), str(theirs), str(ports[0])]
        peer_at = start(stack, peer, ports[0], theirs)
        service = [OURS, "-m", "laion_hpc", "search", str(index), "--port", str(ports[1])]
        name = json.loads(urllib.request.urlopen(f"{peer_at}/indices-list").read())[0]
        ours_at = start(stack, service, ports[1], folder)
        own = json.loads(urllib.request.urlopen(f"{ours_at}/indices-list").read())[0]

        def clients(**settings: object) -> tuple[ClipClient, ClipClient]:
            common = {"use_safety_model": False, "num_images": 40} | settings
            return (
                ClipClient(f"{peer_at}/knn-service", name, **common),
                ClipClient(f"{ours_at}/knn-service", own, **common),
            )

        queries: list[dict] = [{"text": text} for text in TEXTS]
        queries += [{"image": str(picture)} for picture in make_pictures(folder)]
        opened = faiss.read_index(str(index / "image.index"), faiss.IO_FLAG_ONDISK_SAME_DIR)
        opened.make_direct_map()
        queries += [{"embedding_input": opened.reconstruct(i).tolist()} for i in range(0, 100, 20)]
        for query in queries:
            one, other = clients(deduplicate=False)
            same(one.query(**query), other.query(**query))
        filled = 0
        for query in queries:
            # They remove duplicates from 40 results, we fill up with what comes next.
            one, other = clients(deduplicate=True)
            kept, full = one.query(**query), other.query(**query)
            assert {row["id"] for row in kept} <= {row["id"] for row in full}, query
            assert len(full) == 40
            filled += 40 - len(kept)
        told = []
        for at, index_name in ((peer_at, name), (ours_at, own)):
            body = json.dumps({"ids": [3, 1], "indice_name": index_name}).encode()
            told.append(json.loads(urllib.request.urlopen(f"{at}/metadata", body).read()))
        for one, other in zip(*told, strict=True):
            assert one["id"] == other["id"]
            assert one["metadata"].items() <= other["metadata"].items()
    return (
        f"{len(queries)} queries by text, image and embedding, 40 results each: the same; without "
        f"duplicates {filled} results more from ours"
    )


def make_pictures(folder: Path) -> list[Path]:
    from PIL import Image

    made = []
    for number, size in enumerate([(64, 64), (90, 60), (200, 300)]):
        picture = Image.effect_noise(size, 80).convert("RGB")
        picture.paste((200, 40 * number, 30), (10, 10, 40, 50))
        made.append(folder / f"{number}.png")
        picture.save(made[-1])
    return made


if __name__ == "__main__":
    print(main(Path(sys.argv[1])))
