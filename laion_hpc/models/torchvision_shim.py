"""Lets torchvision be imported beside a CPU-only torch."""

from __future__ import annotations

from typing import Any

import torch

# torchvision from PyPI is a CUDA build: beside a CPU build of torch its compiled operators do not
# load, and its import stops at the first one that it cannot find. Only the PIL transforms are used
# here, so the names are enough.
_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)

_libraries: list[Any] = []  # a schema lives as long as its library object


def ensure_torchvision() -> None:
    """Import torchvision; if this fails, declare its missing operators first.

    Call it before the first import of open_clip or timm. If torch and torchvision match (a GPU
    machine, a conda environment), nothing changes.
    """
    try:
        import torchvision
    except RuntimeError as error:
        if "does not exist" not in str(error) or _libraries:
            raise
        library: Any = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
        for schema in _SCHEMAS:
            library.define(schema)
        _libraries.append(library)
        import torchvision  # noqa: F401
