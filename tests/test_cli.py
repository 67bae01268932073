"""The command line: quick help, right exit codes, messages that say what to do."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from laion_hpc import cli
from laion_hpc.errors import explain_os_error
from tests import patience


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return patience.run([sys.executable, "-m", "laion_hpc", *arguments])


def test_help_names_every_command_and_imports_nothing_heavy() -> None:
    program = "import sys; from laion_hpc.cli import main; main(['--help']); print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout
    for name in cli.COMMANDS:
        assert f"  {name} " in out
    loaded = out.splitlines()[-1].split()
    assert not {"torch", "pyarrow", "pydantic", "numpy", "faiss", "duckdb"} & set(loaded)


@pytest.mark.parametrize("name", sorted(cli.COMMANDS))
def test_the_help_of_a_command_imports_nothing_heavy(name: str) -> None:
    program = (
        "import sys\nfrom laion_hpc.cli import main\n"
        f"try: main([{name!r}, '--help'])\nexcept SystemExit: pass\nprint(*sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert f"usage: laion-hpc {name}" in out.stdout, out.stderr
    loaded = out.stdout.splitlines()[-1].split()
    assert not {"torch", "pyarrow", "faiss", "duckdb", "open_clip", "matplotlib"} & set(loaded)


@pytest.mark.parametrize("name", sorted(cli.COMMANDS))
def test_every_command_has_its_module(name: str) -> None:
    module = importlib.import_module(cli.COMMANDS[name].module)
    assert callable(module.add_arguments)
    assert callable(module.run)


def test_wrong_usage_is_exit_code_2() -> None:
    assert run().returncode == 2
    assert run("extrakt").returncode == 2
    assert run("extract").returncode == 2
    out = run("config", "check", "nowhere.yaml")
    assert out.returncode == 2
    assert "nowhere.yaml" in out.stderr
    for count in ("0", "-1", "two"):
        out = run("embed", "in", "--output", "out", "--processes", count)
        assert out.returncode == 2
        assert "--processes: must be at least 1" in out.stderr


def test_help_is_shown_by_a_terminal_that_knows_ascii_only() -> None:
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = patience.run([sys.executable, "-m", "laion_hpc", "extract", "--help"], env=environment)
    assert done.returncode == 0, done.stderr
    assert "\\u2026" in done.stdout


def test_version() -> None:
    assert run("--version").stdout.startswith("laion-hpc ")


def test_a_full_disk_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("needs /dev/full")
    with pytest.raises(OSError) as caught, full.open("wb", buffering=0) as stream:
        stream.write(b"x")
    assert "no space left" in explain_os_error(caught.value)
