"""A whole block of embeddings: the right vectors, in the right layout, again and again."""

from __future__ import annotations

import io
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from laion_hpc.cli import main
from laion_hpc.config import Config, parse
from laion_hpc.errors import InputError
from laion_hpc.files import ledger
from laion_hpc.files.ledger import Ledger
from laion_hpc.files.schemas import EMBEDDED_SAMPLE
from laion_hpc.files.shards import read_shard
from laion_hpc.models.shard_images import decode
from laion_hpc.runtime import work
from laion_hpc.stages.embed import shard as embed_shard
from laion_hpc.stages.embed.block import embed_block
from tests import patience
from tests.models import tiny
from tests.stages.embed.blocks import filtered_block

pytestmark = pytest.mark.slow


def encoded(seed: int) -> bytes:
    stream = io.BytesIO()
    tiny.picture(seed).save(stream, "JPEG")
    return stream.getvalue()


def samples(count: int, seed: int) -> list[tuple[str, bytes]]:
    return [(f"text {seed + i} of many", encoded(seed + i)) for i in range(count)]


@pytest.fixture(scope="module")
def block(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three shards; the first has a broken image, the second nothing but one."""
    first = samples(9, 0)
    first[4] = ("half", first[4][1][:300])
    return filtered_block(
        tmp_path_factory.mktemp("filter") / "0000",
        [first, [("no image at all", b"GIF89a")], samples(6, 50)],
    )


@pytest.fixture(scope="module")
def config_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("embed")
    model = tiny.open_clip_folder(folder / "model", seed=4)
    path = folder / "config.yaml"
    path.write_text(
        yaml.safe_dump({"embed": {"model": model.model_dump(mode="json"), "batch_size": 4}})
    )
    return path


@pytest.fixture(scope="module")
def config(config_file: Path) -> Config:
    return parse(yaml.safe_load(config_file.read_text()))


def run(source: Path, output: Path, config: Config) -> Ledger:
    with work.team(1) as team:
        return embed_block(source, output, config, team)


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory, block: Path, config: Config) -> Path:
    output = tmp_path_factory.mktemp("embedded") / "0000"
    run(block, output, config)
    return output


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_vectors_equal_a_plain_open_clip_loop(block: Path, embedded: Path, config: Config) -> None:
    import open_clip
    import torch

    folder = config.embed.model.folder
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}", bpe_path=f"{folder}/bpe.txt.gz")
    model.eval()
    for name in ("00000", "00002"):
        images, texts = [], []
        for sample in read_shard(block / f"{name}.tar"):
            image = decode(sample.members["jpg"])
            if image is not None:
                images.append(preprocess(image))
                texts.append(sample.members["txt"].decode())
        with torch.no_grad():
            expected = model.encode_image(torch.stack(images), normalize=True).numpy()
            expected_texts = model.encode_text(tokenizer(texts), normalize=True).numpy()
        for kind, right in (("img", expected), ("text", expected_texts)):
            found = np.load(embedded / f"{kind}_emb" / f"{kind}_emb_{name}.npy")
            assert found.dtype == np.float16
            assert found.flags["C_CONTIGUOUS"]
            # half of the last bit of fp16 below 1 is 2.4e-4
            np.testing.assert_allclose(found, right, atol=2.5e-4)
            np.testing.assert_allclose(
                np.linalg.norm(found.astype(np.float32), axis=1), 1, atol=1e-3
            )


def test_layout_and_ledger(block: Path, embedded: Path) -> None:
    manifest = ledger.read(embedded / "manifest.json")
    assert (manifest.inputs, manifest.kept) == (16, 14)
    assert manifest.dropped == {"undecodable": 2}
    assert {entry.name for entry in manifest.files} == {
        name for shard in ("00000", "00002") for name in embed_shard.files_of(shard)
    }, "a shard without rows must have no files"
    for entry in manifest.files:
        path = embedded / entry.name
        assert ledger.describe(path, rows=entry.rows, root=embedded) == entry
    table = pq.read_table(embedded / "metadata" / "metadata_00000.parquet")
    assert table.schema.equals(EMBEDDED_SAMPLE)
    rows = pq.read_table(block / "00000.parquet").to_pylist()
    del rows[4]
    assert table["image_path"].to_pylist() == [row["key"] for row in rows]
    for name in ("caption", "similarity", "nsfw", "url"):
        assert table[name].to_pylist() == [row[name] for row in rows]


def test_goes_on_where_it_was_stopped(
    block: Path, embedded: Path, config: Config, tmp_path: Path
) -> None:
    again = tmp_path / "0000"
    shutil.copytree(embedded, again)
    for name in ("manifest.json", "00000.ledger.json", "text_emb/text_emb_00002.npy"):
        (again / name).unlink()
    (again / "img_emb" / "img_emb_00009.npy").write_bytes(b"of a run on more shards")
    (again / "00009.ledger.json").write_bytes(b"{}")
    run(block, again, config)
    assert contents(again) == contents(embedded)


def test_finished_shards_need_no_model(
    block: Path, embedded: Path, config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = tmp_path / "0000"
    shutil.copytree(embedded, again)
    embed_shard._tower.cache_clear()
    monkeypatch.setattr(embed_shard, "load", None)
    run(block, again, config)
    assert contents(again) == contents(embedded)


ENVIRONMENT = os.environ | {
    "CUDA_VISIBLE_DEVICES": "",
    "PYTHONPATH": str(Path(__file__).parents[3]),
}


def mpiexec() -> list[str]:
    beside = Path(sys.executable).with_name("mpiexec")
    launcher = str(beside) if beside.exists() else shutil.which("mpiexec")
    if launcher is None:
        pytest.skip("needs mpiexec")
    return [launcher]


def test_two_ranks_give_the_same_bytes(
    block: Path, embedded: Path, config_file: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "mpi4py", "-m", "laion_hpc", "embed", str(block)]
    command += ["--output", str(tmp_path / "0000"), "--config", str(config_file)]
    done = patience.run([*mpiexec(), "-n", "2", *command], env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "0000") == contents(embedded)


DYING = """
import os, signal, sys
from laion_hpc.cli import main
from laion_hpc.stages.embed import shard

plain = shard.embed_images

def dies(tar, *arguments, **more):
    if tar.name == "00002.tar":
        os.kill(os.getpid(), signal.SIGKILL)
    return plain(tar, *arguments, **more)

shard.embed_images = dies
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_rank_that_dies_loses_its_running_shard_only(
    block: Path,
    embedded: Path,
    config: Config,
    config_file: Path,
    tmp_path: Path,
    ranks: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    script = tmp_path / "dying.py"
    script.write_text(DYING)
    output = tmp_path / "0000"
    launcher = [*mpiexec(), "-n", "2"] if ranks == 2 else []
    command = [sys.executable, *(["-m", "mpi4py"] if ranks == 2 else []), str(script), "embed"]
    command += [str(block), "--output", str(output), "--config", str(config_file)]
    done = patience.run([*launcher, *command], env=ENVIRONMENT)
    assert done.returncode != 0
    assert not (output / "manifest.json").exists()
    # Each rank may have been at a shard when the last of the three killed one of them.
    finished = {path.name.partition(".")[0] for path in output.glob("*.ledger.json")}
    assert "00002" not in finished
    assert len(finished) >= 3 - ranks
    again: list[str] = []
    plain = embed_shard.embed_images

    def watched(tar: Path, *arguments: Any, **more: Any) -> Any:
        again.append(tar.name)
        return plain(tar, *arguments, **more)

    monkeypatch.setattr(embed_shard, "embed_images", watched)
    run(block, output, config)
    assert again == [f"{s:05d}.tar" for s in range(3) if f"{s:05d}" not in finished]
    assert contents(output) == contents(embedded)


def test_empty_block(config: Config, tmp_path: Path) -> None:
    done = run(filtered_block(tmp_path / "f", []), tmp_path / "e", config)
    assert (done.inputs, done.kept, done.stage, done.unit) == (0, 0, "embed", "samples")
    assert ledger.read(tmp_path / "e" / "manifest.json") == done


def test_damaged_input_is_named(config: Config, tmp_path: Path) -> None:
    source = filtered_block(tmp_path / "f", [samples(4, 0)])
    tar = source / "00000.tar"
    data = tar.read_bytes()
    tar.write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"00000\.tar"):
        run(source, tmp_path / "e", config)
    tar.write_bytes(data)
    (source / "00000.parquet").unlink()
    with pytest.raises((InputError, OSError), match=r"00000\.parquet"):
        run(source, tmp_path / "e", config)
    assert not (tmp_path / "e" / "manifest.json").exists()


def test_a_model_that_overflows_stops_the_job(
    block: Path, config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from laion_hpc.errors import LaionHpcError
    from laion_hpc.models.open_clip_tower import OpenClipTower

    def overflow(self: OpenClipTower, pixels: torch.Tensor) -> torch.Tensor:
        return torch.full((len(pixels), 24), torch.inf)

    monkeypatch.setattr(OpenClipTower, "_encode_pixels", overflow)
    embed_shard._tower.cache_clear()
    with pytest.raises(LaionHpcError, match=r"00000\.tar: .*not finite"):
        run(block, tmp_path / "e", config)


def test_usage(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    block: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    command = ["embed", str(tmp_path), "--output", str(tmp_path / "out")]
    assert main(command) == 1
    assert "has `filter` finished?" in capsys.readouterr().err
    config = tmp_path / "c.yaml"
    config.write_text("embed: {model: {name: ViT-L-14-quickgelu, pretrained: none-such}}")
    command = ["embed", str(block), "--output", str(tmp_path / "out"), "--config", str(config)]
    monkeypatch.setenv("LAION_HPC_MODELS", str(tmp_path / "models"))
    assert main(command) == 1
    assert f"laion-hpc models fetch --config {config}" in capsys.readouterr().err
