"""Starts `clip-retrieval back` on loopback: PYTHON peer.py FOLDER PORT.

FOLDER holds `image.index`, `metadata/` and `model/`, an open_clip model; if there is no such
model, a small untrained one is made.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import sys
import types
from pathlib import Path

import packaging.version
import torch

# A CPU build of torch does not load the compiled operators of torchvision's wheel.
library = torch.library.Library("torchvision", "FRAGMENT")
for operator in ("nms", "qnms"):
    library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
# It takes two things from a module that setuptools no longer has.
former = sys.modules.setdefault("pkg_resources", types.ModuleType("pkg_resources"))
former.packaging = packaging
former.resource_filename = lambda package, name: str(
    Path(importlib.util.find_spec(package).origin).parent / name
)


import open_clip  # noqa: E402 (after what it needs is mended)
import safetensors.torch  # noqa: E402

MODEL = {
    "embed_dim": 64,
    "vision_cfg": {"image_size": 64, "layers": 2, "width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
}


def make_model(folder: Path) -> None:
    """The model twice: as a folder that we load, as config and weights that they load."""
    folder.mkdir()
    (folder / "tiny.json").write_text(json.dumps(MODEL))
    open_clip.add_model_config(folder / "tiny.json")
    torch.manual_seed(7)
    state = open_clip.create_model("tiny").state_dict()
    tensors = {name: tensor.contiguous() for name, tensor in state.items()}
    safetensors.torch.save_file(tensors, folder / "open_clip_model.safetensors")
    looks = {
        "mean": open_clip.OPENAI_DATASET_MEAN,
        "std": open_clip.OPENAI_DATASET_STD,
        "interpolation": "bicubic",
        "resize_mode": "shortest",
    }
    both = {"model_cfg": MODEL, "preprocess_cfg": looks}
    (folder / "open_clip_config.json").write_text(json.dumps(both))


def main(folder: Path, port: int) -> None:
    import flask
    from clip_retrieval.clip_back import clip_back

    if not (folder / "model").exists():
        make_model(folder / "model")
    open_clip.add_model_config(folder / "model" / "tiny.json")
    # It listens on all addresses otherwise.
    plain = flask.Flask.run
    flask.Flask.run = functools.wraps(plain)(
        lambda app, host, port, debug: plain(app, host="127.0.0.1", port=port, debug=debug)
    )
    paths = folder / "indices_paths.json"
    paths.write_text(json.dumps({"demo": str(folder)}))
    clip_back(
        indices_paths=str(paths),
        port=port,
        clip_model=f"open_clip:tiny/{folder / 'model' / 'open_clip_model.safetensors'}",
        use_jit=False,
        enable_mclip_option=False,
        provide_aesthetic_embeddings=False,
        enable_faiss_memory_mapping=False,
        use_arrow=bool(list((folder / "metadata").glob("*.arrow"))),
        columns_to_return=["key", "url", "caption", "similarity", "language", "width", "height"],
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
