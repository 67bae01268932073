"""Device and precision: what a config asks for against what a machine has."""

from __future__ import annotations

import pytest

from laion_hpc.errors import UsageError
from laion_hpc.models.runtime import Runtime, choose, local_rank


@pytest.mark.parametrize(
    ("device", "precision", "gpus", "rank", "expected"),
    [
        ("auto", "auto", 0, 0, Runtime("cpu", "fp32")),
        ("auto", "auto", 1, 0, Runtime("cuda:0", "fp16")),
        ("cuda", "bf16", 4, 6, Runtime("cuda:2", "bf16")),
        ("cpu", "auto", 4, 1, Runtime("cpu", "fp32")),
        ("cpu", "bf16", 0, 0, Runtime("cpu", "bf16")),
        ("cuda", "fp32", 1, 0, Runtime("cuda:0", "fp32")),
    ],
)
def test_choice(device: str, precision: str, gpus: int, rank: int, expected: Runtime) -> None:
    assert choose(device, precision, gpus=gpus, rank=rank) == expected


def test_what_the_machine_lacks_is_refused() -> None:
    with pytest.raises(UsageError, match="no GPU"):
        choose("cuda", "auto", gpus=0, rank=0)
    with pytest.raises(UsageError, match="fp16 needs a GPU"):
        choose("cpu", "fp16", gpus=2, rank=0)


def test_ranks_of_a_node_take_their_own_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLURM_LOCALID", "MPI_LOCALRANKID", "OMPI_COMM_WORLD_LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert local_rank() == 0
    monkeypatch.setenv("SLURM_LOCALID", "3")
    assert local_rank() == 3
