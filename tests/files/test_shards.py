"""Tar shards: reproducible, readable by webdataset, loud when damaged."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from laion_hpc.errors import InputError
from laion_hpc.files.shards import Sample, ShardWriter, read_shard

SAMPLES = [
    Sample("demo-0000-00000-00000", {"jpg": b"\xff\xd8one", "txt": b"ein Bild"}),
    Sample("demo-0000-00000-00001", {"jpg": b"\xff\xd8two", "txt": b"", "json": b"{}"}),
]


def write(path: Path) -> Path:
    with ShardWriter(path) as shard:
        for sample in SAMPLES:
            shard.add(sample)
    return path


def test_what_is_written_is_read(tmp_path: Path) -> None:
    assert list(read_shard(write(tmp_path / "a.tar"))) == SAMPLES


def test_the_same_samples_give_the_same_bytes(tmp_path: Path) -> None:
    assert write(tmp_path / "a.tar").read_bytes() == write(tmp_path / "b.tar").read_bytes()


def test_webdataset_reads_it(tmp_path: Path) -> None:
    import webdataset

    path = write(tmp_path / "a.tar")
    read = list(webdataset.WebDataset(str(path), shardshuffle=False))
    assert [sample["__key__"] for sample in read] == [sample.key for sample in SAMPLES]
    assert read[0]["jpg"] == SAMPLES[0].members["jpg"]


def test_a_shard_cut_short_names_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tar")
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(InputError, match=r"a\.tar"):
        list(read_shard(path))


def test_not_a_tar_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_text("<html>" * 1000)
    with pytest.raises(InputError, match=r"a\.tar"):
        list(read_shard(path))


def test_an_empty_shard_is_a_tar(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    ShardWriter(path).close()
    assert tarfile.is_tarfile(path)
    assert list(read_shard(path)) == []
