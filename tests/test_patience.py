"""The waiting of tests: not for a total, but for as long as something happens."""

from __future__ import annotations

import subprocess
import sys
from itertools import count
from pathlib import Path

import psutil
import pytest

from tests import patience


def test_what_shows_signs_of_life_may_take_as_long_as_it_likes() -> None:
    asked, signs = count(), count()
    assert patience.until(
        lambda: next(asked) > 50,
        "the 50th question",
        sign=lambda: next(signs),
        silence=0.0,
        pause=0.0,
    )
    assert next(signs) > 50


def test_silence_ends_the_wait_and_says_what_was_last_heard() -> None:
    with pytest.raises(patience.SilenceError, match=r"Godot.*0 s\nlast words"):
        patience.until(lambda: False, "Godot", silence=0.0, pause=0.0, tail=lambda: "last words")


def test_a_silent_process_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    log = tmp_path / "log"
    child = "import time; time.sleep(600)"
    program = (
        "import subprocess, sys, time\n"
        f"print(subprocess.Popen([sys.executable, '-c', '{child}']).pid, flush=True)\n"
        "time.sleep(600)"
    )
    with log.open("w") as stream:
        process = subprocess.Popen([sys.executable, "-c", program], stdout=stream)
    # The process has said its only word before anyone counts how long it is silent.
    patience.until(log.read_text, "the first word")
    with pytest.raises(patience.SilenceError, match=r"--- .*log\n\d+\n"):
        patience.wait(process, log, silence=0.5)
    assert process.returncode is not None
    assert not psutil.pid_exists(int(log.read_text()))


def test_a_command_and_what_it_says(tmp_path: Path) -> None:
    program = (
        "import sys, os; print(input(), os.getcwd(), os.environ['WORD'])\n"
        "print('wrong: \\u00e9', file=sys.stderr); sys.exit(3)"
    )
    command, env = [sys.executable, "-X", "utf8", "-c", program], {"WORD": "word"}
    done = patience.run(command, cwd=tmp_path, env=env, typed="typed\n")
    said = f"typed {tmp_path} word\n"
    assert (done.returncode, done.stdout, done.stderr) == (3, said, "wrong: é\n")
    merged = patience.run(command, cwd=tmp_path, env=env, typed="typed\n", merged=True)
    assert sorted(merged.stdout.splitlines(True)) == sorted([said, "wrong: é\n"])
    assert merged.stderr == ""


def test_growth_is_seen_in_files_and_below_folders(tmp_path: Path) -> None:
    log, folder = tmp_path / "log", tmp_path / "folder" / "deep"
    signs = [patience.grown(log, folder.parent)]
    folder.mkdir(parents=True)
    for path in (folder / "a", log, folder / "a"):
        with path.open("a") as stream:
            stream.write("more")
        signs.append(patience.grown(log, folder.parent))
    assert len(set(signs)) == 4
