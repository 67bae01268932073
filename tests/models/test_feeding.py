"""How cores and GPUs are shared out."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain

import pytest

from laion_hpc.models import feeding
from laion_hpc.models.once import once
from laion_hpc.runtime import work


@pytest.fixture
def forced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(feeding.SWITCH, "processes")


def test_one_process_a_gpu_and_the_other_cores_decode() -> None:
    assert [feeding.processes_for(16, gpus) for gpus in (0, 1, 4, 32)] == [16, 1, 4, 16]
    assert feeding.decoders(16, 1) == 15
    assert feeding.decoders(48, 4) == 11
    assert feeding.decoders(2, 4) == feeding.decoders(1, 1) == 1


def test_ranks_that_are_bound_have_their_cores_for_themselves() -> None:
    assert feeding.cores_of_rank(12, 48, 4) == 12
    assert feeding.cores_of_rank(48, 48, 4) == 12
    assert feeding.cores_of_rank(1, 1, 4) == 1
    assert feeding.cores_of_rank(16, 16, 1) == 16


@pytest.mark.parametrize(
    ("environment", "ranks"),
    [
        ({}, 1),
        ({"MPI_LOCALNRANKS": "4", "SLURM_STEP_TASKS_PER_NODE": "1"}, 4),
        ({"OMPI_COMM_WORLD_LOCAL_SIZE": "2"}, 2),
        ({"SLURM_STEP_TASKS_PER_NODE": "4(x2),3"}, 4),
        ({"MPI_LOCALNRANKS": "many"}, 1),
    ],
)
def test_ranks_on_the_node(environment: dict[str, str], ranks: int) -> None:
    assert feeding.ranks_on_node(environment) == ranks


@pytest.mark.parametrize(("count", "sharing"), [(0, 4), (1, 4), (7, 2), (1000, 4)])
def test_groups_hold_every_shard_once_and_shrink(count: int, sharing: int) -> None:
    pieces = feeding.groups(count, sharing)
    assert list(chain.from_iterable(pieces)) == list(range(count))
    sizes = [len(piece) for piece in pieces]
    assert sizes == sorted(sizes, reverse=True)
    assert count < 100 or len(sizes) > 4 * sharing


def test_cpus_share_shards_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(feeding.SWITCH, raising=False)
    assert not feeding.feeds("cpu")
    with feeding.team(2, "cpu") as team:
        assert (team.size, team.cores) == (2, None)
        with feeding.without_models(team) as same:
            assert same is team


def test_a_gpu_gets_one_process_of_the_cores(forced: None) -> None:
    with feeding.team(3, "cpu") as team:
        assert (team.size, team.cores) == (1, 3)
        with feeding.without_models(team) as wide:
            assert wide.size == 3
            assert len(set(wide.map(_pid, range(9), label="t"))) > 1
    with feeding.team(1, "cpu") as team, feeding.without_models(team) as same:
        assert same is team


def test_ranks_do_not_share_the_processes_of_one(
    forced: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def ranks(_: int) -> Iterator[work.Team]:
        yield work.Team(None, size=4, takes_part=True)

    monkeypatch.setattr(work, "team", ranks)
    with feeding.team(8, "cpu") as team:
        assert (team.size, team.cores) == (4, None)
        with feeding.without_models(team) as same:
            assert same is team


def _pid(_: int) -> int:
    time.sleep(0.05)
    return os.getpid()


def _thread(number: int) -> tuple[int, int, str]:
    time.sleep(0.02)
    if number < 0:
        raise ValueError(number)
    return number, os.getpid(), threading.current_thread().name


def test_shards_of_a_process_run_beside_each_other(forced: None) -> None:
    with feeding.team(2, "cpu") as team:
        found = feeding.map_shards(team, _thread, range(7), device="cpu", label="t")
    assert [number for number, _, _ in found] == list(range(7))
    assert {pid for _, pid, _ in found} == {os.getpid()}
    assert len({name for _, _, name in found}) == 3
    with work.team(2) as team:
        found = feeding.map_shards(team, _thread, range(20), device="cpu", label="t")
        assert [number for number, _, _ in found] == list(range(20))
        with pytest.raises(ValueError, match="-1"):
            feeding.map_shards(team, _thread, [1, -1, 2, 3], device="cpu", label="t")


def test_what_is_loaded_once_is_loaded_by_one_thread() -> None:
    calls = []

    @once
    def load(name: str) -> object:
        calls.append(name)
        time.sleep(0.05)
        return object()

    threads = [threading.Thread(target=load, args=("a",)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert calls == ["a"]
    load.cache_clear()
    load("a")
    assert calls == ["a", "a"]
