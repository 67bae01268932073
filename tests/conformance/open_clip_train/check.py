"""open_clip_train takes some steps on the released shards, read by its own webdataset loader."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import torch

# A CPU build of torch does not load the compiled operators of torchvision's wheel.
library = torch.library.Library("torchvision", "FRAGMENT")
for operator in ("nms", "qnms"):
    library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

import open_clip  # noqa: E402
from open_clip_train.main import main as train  # noqa: E402

TINY = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 64, "layers": 1, "width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 1},
}


def main(results: Path) -> str:
    shards = sorted((results / "filter").glob("*/*.tar"))
    samples = sum(
        json.loads(path.read_text())["kept"]
        for path in (results / "filter").glob("*/manifest.json")
    )
    steps = samples // 32
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "tiny.json").write_text(json.dumps(TINY))
        open_clip.add_model_config(Path(folder, "tiny.json"))
        train(
            [
                f"--train-data={'::'.join(str(shard) for shard in shards)}",
                f"--train-num-samples={steps * 32}",
                "--dataset-type=webdataset",
                "--model=tiny",
                "--batch-size=32",
                "--epochs=1",
                "--workers=1",
                "--device=cpu",
                "--precision=fp32",
                "--log-every-n-steps=1",
                f"--logs={folder}/logs",
                "--name=run",
            ]
        )
        log = Path(folder, "logs", "run", "out.log").read_text()
        assert Path(folder, "logs", "run", "checkpoints", "epoch_1.pt").is_file()
    losses = [line for line in log.splitlines() if "Loss: " in line or "loss: " in line.lower()]
    assert losses, log[-2_000:]
    assert "nan" not in losses[-1].lower()
    assert "Handling webdataset error" not in log
    return f"{steps} steps of 32 on {len(shards)} shards, {samples:,} samples"


if __name__ == "__main__":
    print(main(Path(sys.argv[1])))
