import json
from pathlib import Path

import numpy as np
import pytest

from laion_hpc import cli
from laion_hpc.errors import InputError
from laion_hpc.stages.index.evaluate import evaluate
from tests.stages.index.blocks import (
    build,
    clustered,
    config,
    samples,
    unit,
    write_block,
    write_tags,
)

WIDTH = 32
ROWS = {0: 1_500, 1: 0, 2: 1_200}


@pytest.fixture(scope="module")
def blocks(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    root = tmp_path_factory.mktemp("embed")
    made = {}
    for block, rows in ROWS.items():
        images = clustered(rows, WIDTH, seed=block)
        noise = np.random.default_rng(block).standard_normal(images.shape) * 0.1
        # Texts lie apart from the images, as CLIP's do.
        texts = unit(images + noise + np.eye(WIDTH)[0])
        made[block] = write_block(root / f"{block:04d}", images, samples(block, rows), texts=texts)
    return made


@pytest.fixture(scope="module")
def index(blocks: dict[int, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("index"), blocks, config())


def test_recall_reaches_the_target_and_sets_nprobe(
    index: Path, blocks: dict[int, Path], tmp_path: Path
) -> None:
    settings = config(evaluate_queries=200).index
    output = tmp_path / "evaluation.json"
    result = evaluate(index, list(blocks.values()), output, config=settings, seed=0)
    rows = {row["nprobe"]: row for row in result["recall"]}
    assert result["target_reached"]
    chosen = rows[result["nprobe"]]
    assert chosen["image"]["10"] >= 0.95
    assert chosen["text"]["10"] >= 0.95
    assert rows[max(rows)]["image"] == {"1": 1.0, "10": 1.0, "100": 1.0}
    assert result["bytes_per_vector"] == 2 * WIDTH + 8
    before = output.read_bytes()
    assert json.loads(before) == result
    stats = json.loads((tmp_path / "evaluation_stats.json").read_text())
    assert [row["nprobe"] for row in stats["latency"]] == list(rows)
    evaluate(index, list(reversed(blocks.values())), output, config=settings, seed=0, threads=2)
    assert output.read_bytes() == before


def test_recall_out_of_reach_is_told(
    blocks: dict[int, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = tmp_path / "config.yaml"
    settings.write_text("index: {key: 'IVF4,PQ4x4', evaluate_queries: 50, target_recall: 0.9}\n")
    folder = tmp_path / "index"
    common = ["--config", str(settings)]
    embeddings = [str(path) for path in blocks.values()]
    trained = str(folder / "trained.index")
    assert cli.main(["index", "train", *embeddings, "--output", trained, *common]) == 0
    for block, path in blocks.items():
        output = str(folder / "blocks" / f"{block:04d}.index")
        command = ["index", "add", trained, str(path), "--block", str(block)]
        assert cli.main([*command, "--output", output, *common]) == 0
        tags = write_tags(tmp_path / f"{block:04d}.parquet", samples(block, ROWS[block]))
        output = str(folder / "metadata" / f"{block:04d}.arrow")
        command = ["index", "metadata", str(path), str(tags), "--block", f"{block:04d}"]
        assert cli.main([*command, "--output", output, *common]) == 0
    lists = [str(path) for path in sorted(folder.glob("blocks/*.index"))]
    assert cli.main(["index", "merge", trained, *lists, "--output", str(folder), *common]) == 0
    output = str(folder / "evaluation.json")
    assert (
        cli.main(["index", "evaluate", str(folder), *embeddings, "--output", output, *common]) == 0
    )
    assert "IVF4,PQ4x4 does not reach" in capsys.readouterr().err
    assert json.loads(Path(output).read_text())["target_reached"] is False


def test_embeddings_must_be_those_of_the_index(
    index: Path, blocks: dict[int, Path], tmp_path: Path
) -> None:
    settings = config().index
    output = tmp_path / "evaluation.json"
    with pytest.raises(InputError, match="block 2 of the index is not among"):
        evaluate(index, [blocks[0], blocks[1]], output, config=settings, seed=0)
    stranger = write_block(tmp_path / "0009", clustered(5, WIDTH, 9), samples(9, 5))
    with pytest.raises(InputError, match="0009: not in this index"):
        evaluate(index, [*blocks.values(), stranger], output, config=settings, seed=0)
    with pytest.raises(InputError, match=r"no index\.json"):
        evaluate(tmp_path, list(blocks.values()), output, config=settings, seed=0)
    assert not output.exists()


@pytest.mark.parametrize("block", ["x", "-1", "12345", "²"])
def test_block_numbers(block: str, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["index", "add", "t", "e", "--block", block, "--output", str(tmp_path / "o")])
    assert stop.value.code == 2
