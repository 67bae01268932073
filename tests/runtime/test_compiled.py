"""Where machine code is kept, and that nothing there can go wrong for good."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest

from laion_hpc.language import letters
from laion_hpc.runtime import compiled
from tests import looping

NUMBERS = np.arange(101)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for compiled code."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(folder))
    return folder


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_the_next_process_loads_what_this_one_compiled(cache: Path) -> None:
    first = looping.ready()
    assert first(NUMBERS) == 5050
    kept = {path: path.read_bytes() for path in files(cache)}
    assert {path.suffix for path in kept} == {".nbi", ".nbc"}
    again = looping.ready()
    assert again(NUMBERS) == 5050
    assert sum(again.stats.cache_hits.values()) == 1 and not again.stats.cache_misses
    assert {path: path.read_bytes() for path in files(cache)} == kept


def test_many_processes_come_first_at_once(cache: Path) -> None:
    command = [sys.executable, "-m", "tests.looping"]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert [process.communicate()[0].strip() for process in running] == ["5050"] * 4
    assert not [path for path in files(cache) if path.suffix not in (".nbi", ".nbc")]
    assert looping.ready()(NUMBERS) == 5050


@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
@pytest.mark.parametrize("size", [0, 20])
def test_a_file_cut_short_costs_only_time(
    cache: Path, suffix: str, size: int, caplog: pytest.LogCaptureFixture
) -> None:
    looping.ready()
    (kept,) = (path for path in files(cache) if path.suffix == suffix)
    kept.write_bytes(kept.read_bytes()[:size])
    with caplog.at_level(logging.WARNING):
        assert looping.ready()(NUMBERS) == 5050
    assert "cannot use the compiled code" in caplog.text
    looping.ready()
    assert sum(looping.ready().stats.cache_hits.values()) == 1


def test_numbas_own_setting_is_left_alone(cache: Path) -> None:
    numba.config.reload_config()  # the fixture changed the environment
    before = numba.config.CACHE_DIR, numba.config.SLP_VECTORIZE
    looping.ready()
    assert before == (numba.config.CACHE_DIR, numba.config.SLP_VECTORIZE)


def test_every_source_and_cpu_has_a_folder_of_its_own(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = compiled.cache_folder(looping.total)
    assert here is not None and here.parent == cache
    assert here.stat().st_mode & 0o777 == 0o700
    assert compiled.cache_folder(letters.encode.py_func) not in (None, here)
    monkeypatch.setattr("llvmlite.binding.get_host_cpu_name", lambda: "another")
    assert compiled.cache_folder(looping.total) not in (None, here)


def test_the_first_folder_that_can_be_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("no folder can be made in here")
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    found = compiled.cache_folder(looping.total)
    assert found is not None and found.parent == tmp_path / "xdg" / "laion_hpc"
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    found = compiled.cache_folder(looping.total)
    assert found is not None and found.parent == tmp_path / f"laion_hpc-{os.getuid()}"


def test_a_folder_that_others_can_write_to_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What is loaded from there is run."""
    blocked = tmp_path / "file"
    blocked.write_text("")
    shared = tmp_path / f"laion_hpc-{os.getuid()}"
    shared.mkdir()
    shared.chmod(0o777)
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(blocked))
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with caplog.at_level(logging.WARNING):
        assert compiled.cache_folder(looping.total) is None
        assert looping.ready()(NUMBERS) == 5050
    assert "NUMBA_CACHE_DIR" in caplog.text
    assert not files(shared)


def test_settings_hold_while_it_compiles(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numba reads its settings anew at every compilation if a variable of the environment is."""
    found = []

    def observed(*, cache: bool) -> Any:
        def decorate(function: Any) -> Any:
            numba.config.reload_config()
            found.append((numba.config.SLP_VECTORIZE, numba.config.CACHE_DIR))
            return function

        return decorate

    monkeypatch.setattr(compiled, "_compiler", observed)
    monkeypatch.setenv("NUMBA_DEVELOPER_MODE", "0")
    looping.ready()
    assert found == [(1, str(compiled.cache_folder(looping.total)))]
