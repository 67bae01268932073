"""The watermark head: EfficientNet on the stored images, against plain timm and torch."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from laion_hpc.config import parse
from laion_hpc.errors import InputError, UsageError
from laion_hpc.files.shards import Sample, ShardWriter
from laion_hpc.heads.import_published import import_head
from laion_hpc.runtime import work
from laion_hpc.stages.tag.block import tag_block
from tests.models.tiny import picture
from tests.stages.tag.blocks import embedded_block, unit_vectors

SIDE = 64
"""Of the images in these tests; with LAION's 256 they would take 16 times as long."""


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights in the file and architecture of LAION's watermark detector."""
    import torch
    from torch import nn

    from laion_hpc.models.torchvision_shim import ensure_torchvision

    ensure_torchvision()
    import timm

    torch.manual_seed(0)
    model = timm.create_model("efficientnet_b3", pretrained=False, num_classes=2)
    model.classifier = nn.Sequential(
        nn.Linear(1536, 625), nn.ReLU(), nn.Dropout(0.3), nn.Linear(625, 256), nn.ReLU(),
        nn.Linear(256, 2),
    )  # fmt: skip
    path = tmp_path_factory.mktemp("watermark") / "watermark_model_v1.pt"
    torch.save(model.state_dict(), path)
    return path


def jpeg(seed: int) -> bytes:
    stream = io.BytesIO()
    picture(seed, (90, 60)).save(stream, "JPEG")
    return stream.getvalue()


def filtered(folder: Path, keys: list[str]) -> Path:
    folder.mkdir()
    with ShardWriter(folder / "00000.tar") as writer:
        for seed, key in enumerate(keys):
            writer.add(Sample(key, {"jpg": jpeg(seed), "json": b"{}"}))
    return folder


def test_watermark_equals_plain_timm(published: Path, tmp_path: Path) -> None:
    import timm
    import torch
    from PIL import Image
    from torch import nn
    from torchvision import transforms

    model = timm.create_model("efficientnet_b3", pretrained=False, num_classes=2)
    model.classifier = nn.Sequential(
        nn.Linear(1536, 625), nn.ReLU(), nn.Dropout(0.3), nn.Linear(625, 256), nn.ReLU(),
        nn.Linear(256, 2),
    )  # fmt: skip
    model.load_state_dict(torch.load(published, weights_only=True))
    preprocess = transforms.Compose(
        [
            transforms.Resize((SIDE, SIDE)),
            transforms.ToTensor(),
            transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ]
    )
    # The second image was dropped by `embed`: it is in the tar, but not among the embeddings.
    in_tar = [f"CC-TEST-0000-00000-{row:05d}" for row in (0, 9, 1, 2)]
    images = [preprocess(Image.open(io.BytesIO(jpeg(seed)))) for seed in (0, 2, 3)]
    with torch.no_grad():
        expected = model.eval()(torch.stack(images)).softmax(dim=1)[:, 0].numpy()

    head = tmp_path / "pwatermark"
    description = import_head("watermark", published, head)
    assert description.image is not None
    assert (description.image.size, description.threshold) == (256, 0.8)
    text = (head / "head.json").read_text()
    (head / "head.json").write_text(text.replace('"size": 256', f'"size": {SIDE}'))
    source = embedded_block(tmp_path / "e", [unit_vectors(3, 8)])
    config = parse({"tag": {"heads": [str(head)], "batch_size": 2}})
    with work.team(1) as team:
        tag_block(
            source, tmp_path / "t.parquet", config, team, images=filtered(tmp_path / "f", in_tar)
        )
        found = pq.read_table(tmp_path / "t.parquet")["pwatermark"].to_numpy()
        np.testing.assert_allclose(found, expected, atol=1e-5)
        assert found.std() > 0
        with pytest.raises(UsageError, match="give --images"):
            tag_block(source, tmp_path / "u.parquet", config, team)
        other = filtered(tmp_path / "g", in_tar[:2])
        with pytest.raises(InputError, match=r"00000\.tar: does not hold CC-TEST-0000-00000-00001"):
            tag_block(source, tmp_path / "v.parquet", config, team, images=other)
