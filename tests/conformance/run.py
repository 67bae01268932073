"""The clients that need an environment of their own, each on the results of the demo.

    make conformance                                   # all
    .venv/bin/python -m tests.conformance.run img2dataset  # one

The results are those of the demo with LAION-400M's layout added, in `build/conformance/results`.
Every folder beside this file that has a `requirements.txt` is a client: its environment is made
under `build/conformance/NAME` (once, until the requirements change), then `check.py RESULTS` is
run with it. A check prints one line, what it did; it ends with another code than 0 if the client
could not do it. The table goes to standard output and to `build/conformance/table.md`.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import time
import venv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests import patience

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
ENVIRONMENTS = ROOT / "build" / "conformance"
OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "WANDB_MODE": "disabled",
    "NO_ALBUMENTATIONS_UPDATE": "1",
    "CUDA_VISIBLE_DEVICES": "",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TOKENIZERS_PARALLELISM": "false",
}


@dataclass(frozen=True)
class Outcome:
    """What one client made of the results."""

    client: str
    version: str
    passed: bool
    words: str
    seconds: float


def clients() -> list[str]:
    return sorted(path.parent.name for path in HERE.glob("*/requirements.txt"))


def environment(client: str) -> Path:
    """The interpreter of a client's environment, made if the requirements are new."""
    requirements = HERE / client / "requirements.txt"
    folder = ENVIRONMENTS / client
    stamp = folder / "requirements.sha256"
    wanted = hashlib.sha256(requirements.read_bytes()).hexdigest()
    python = folder / "bin" / "python"
    if not stamp.is_file() or stamp.read_text() != wanted:
        venv.create(folder, with_pip=True, clear=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "-r", str(requirements)]
        subprocess.run(install, check=True)
        stamp.write_text(wanted)
    return python


def version(client: str) -> str:
    """The version of the first package in the requirements that is the client itself."""
    lines = (HERE / client / "requirements.txt").read_text().splitlines()
    return next((line.split("==")[1] for line in lines if line and not line.startswith("#")), "?")


def check(client: str, results: Path) -> Outcome:
    python = environment(client)
    began = time.monotonic()
    try:
        done = patience.run(
            [python, HERE / client / "check.py", results],
            env={**os.environ, **OFFLINE, "PYTHONPATH": ""},
        )
        code, said, errors = done.returncode, done.stdout.strip(), done.stderr
    except patience.SilenceError as error:
        code, said, errors = 1, "", str(error)
    if code:
        print(errors[-3_000:], file=sys.stderr)
    words = said.splitlines()[-1] if said else "said nothing"
    return Outcome(client, version(client), code == 0, words, time.monotonic() - began)


def table(outcomes: Iterable[Outcome]) -> str:
    lines = ["| client | version | passes | what it did |", "|---|---|---|---|"]
    lines += [
        f"| {it.client} | {it.version} | {'yes' if it.passed else '**no**'} | {it.words} |"
        for it in outcomes
    ]
    return "\n".join(lines) + "\n"


def demo() -> Path:
    """The results of the demo with LAION-400M's layout, made if they are not there."""
    config = yaml.safe_load((ROOT / "config" / "demo.yaml").read_text())
    config["results"] = str(ENVIRONMENTS / "results")
    config["release"]["laion400m_layout"] = True
    ENVIRONMENTS.mkdir(parents=True, exist_ok=True)
    (ENVIRONMENTS / "demo.yaml").write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "laion_hpc", "demo", "run"]
    subprocess.run([*command, "--config", str(ENVIRONMENTS / "demo.yaml")], cwd=ROOT, check=True)
    return ENVIRONMENTS / "results" / "demo"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("client", nargs="*", help=f"of {', '.join(clients())}; all otherwise")
    options = parser.parse_args()
    if unknown := set(options.client) - set(clients()):
        parser.error(f"there is no client {', '.join(sorted(unknown))}")
    results = demo()
    outcomes = []
    for client in options.client or clients():
        outcome = check(client, results)
        print(f"{client}: {'passes' if outcome.passed else 'FAILS'} in {outcome.seconds:.0f} s")
        outcomes.append(outcome)
    written = table(outcomes)
    (ENVIRONMENTS / "table.md").write_text(written)
    print("\n" + written)
    return 0 if all(outcome.passed for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
