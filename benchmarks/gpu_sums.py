"""Does a GPU give the same bytes again? Sums of embed's .npy files over runs with other processes.

  python benchmarks/gpu_sums.py [--device cuda] [--shards 8] [--samples 512] [--images TAR]
      [--processes 16 8] [--threads 2 4]

Each line is one run of `embed` with ViT-L/14 (random weights) over the same shards. --processes N:
one process talks to the GPU, N - 1 decode for it; --threads N: N processes share the GPU and the
shards, and decode in threads. The first run is made twice. Exits 1 if two runs differ in a byte.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path

import yaml
from clip_inputs import block, captions, jpegs, random_model
from gpu import decoding_team


def main() -> None:
    """Embed the same shards again and again, and compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--model", default="ViT-L-14-quickgelu")
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--samples", type=int, default=512, help="samples per shard")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--images", type=Path, metavar="TAR")
    parser.add_argument("--processes", type=int, nargs="*", default=[16, 8])
    parser.add_argument("--threads", type=int, nargs="*", default=[2, 4])
    options = parser.parse_args()

    from laion_hpc import config as settings
    from laion_hpc.models import feeding
    from laion_hpc.stages.embed.shard import EmbedJob, embed_shard

    runs = [(count, False) for count in options.processes]
    runs += [(count, True) for count in options.threads]
    seen: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        random_model(options.model, work / "model")
        source = block(
            work / "block", jpegs(options.images, 341), captions(), shards=options.shards,
            samples=options.samples,
        )  # fmt: skip
        shards = sorted(path.stem for path in source.glob("*.tar"))
        model = {"name": options.model, "folder": str(work / "model")}
        keys = {"device": options.device, "batch_size": options.batch, "model": model}
        config = settings.parse(yaml.safe_load(yaml.safe_dump({"embed": keys})))
        for count, threads in [*runs[:1], *runs]:
            output = work / "output"
            make = partial(embed_shard, job=EmbedJob(source, output, config.embed, "b", "b"))
            with decoding_team(count, options.device, threads=threads) as team:
                feeding.map_shards(team, make, shards, device=options.device, label="embed")
            sums = hashlib.sha256()
            files = sorted(output.rglob("*.npy"))
            for file in files:
                sums.update(file.read_bytes())
            shutil.rmtree(output)
            what = f"{count} processes" + (", each for itself" if threads else "")
            print(f"{what}: {len(files)} .npy files, SHA-256 {sums.hexdigest()}", flush=True)
            seen.setdefault(sums.hexdigest(), what)
    if len(seen) > 1:
        sys.exit(f"the sums differ: {seen}")
    print("all equal")


if __name__ == "__main__":
    main()
