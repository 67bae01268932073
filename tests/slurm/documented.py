"""The commands of docs/cluster.md, run as by a newcomer, while other tests use another cluster.

Most of the time that a demo on SLURM takes is waiting: for SLURM to start jobs, for Snakemake to
ask what became of them. So it runs from the first test on, and its own tests come last.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import yaml

from tests import patience
from tests.demo_runs import ROOT, free_port
from tests.slurm.jobs import SACCT, Job, parse

CLONE = ("Snakefile", "config", "envs", "laion_hpc", "profiles", "rules", "tests")
SILENCE = 900.0
"""Seconds without a word or a changed file after which a run is ended; Snakemake asks SLURM only
every few minutes what became of a job, and other tests keep the machine busy."""


def commands() -> list[str]:
    """The three commands of docs/cluster.md."""
    text = (ROOT / "docs" / "cluster.md").read_text()
    block = text.split("<!-- three commands -->\n```\n")[1].split("```")[0]
    return [re.split(r"\s+#", line)[0] for line in block.splitlines()]


@dataclass(frozen=True)
class Demo:
    """What the commands have left."""

    here: Path
    """Folder of a run on this machine with `keep.candidate_images: false`."""
    cluster: Path
    """Folder in which the commands were run."""
    said: str
    jobs: dict[str, list[Job]]
    """By rule."""


class Newcomer:
    """Makes the demo twice in the background; `close` ends what is under way."""

    def __init__(self, top: Path) -> None:
        self._top = top
        self._process: subprocess.Popen[str] | None = None
        self._closed = Event()
        self._pool = ThreadPoolExecutor(1)
        self.demo: Future[Demo] = self._pool.submit(self._run)

    def close(self) -> None:
        """End everything."""
        self._closed.set()
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGTERM)
        self._pool.shutdown()

    def _run(self) -> Demo:
        install, cluster, demo = commands()
        port = free_port()  # another demo may have the one that the documents use
        here, clone = self._top / "here", self._top / "clone"
        here.mkdir()
        config = yaml.safe_load((ROOT / "config" / "demo.yaml").read_text())
        config["keep"] = {"candidate_images": False}
        (here / "config.yaml").write_text(yaml.safe_dump(config))
        local = re.sub(r" --profile \S+", " --cores 2", demo)
        self._shell(f"{local} --port {port} --config config.yaml", here)

        clone.mkdir()
        for name in CLONE:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, clone / name)
        account = f"{SACCT} > accounting"
        said = self._shell(
            f"{install} && {cluster}",
            clone,
            # What is typed in the shell that the second command opens.
            typed=f"{demo} --port {port}; code=$?; {account}; exit $code\n",
        )
        jobs: dict[str, list[Job]] = {}
        for job in parse((clone / "accounting").read_text().splitlines()):
            jobs.setdefault(job.rule, []).append(job)
        return Demo(here, clone, said, jobs)

    def _shell(self, command: str, folder: Path, *, typed: str = "") -> str:
        if self._closed.is_set():
            raise RuntimeError("closed")
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        # Beside the folder, whose growth is a sign of life by itself.
        given, log = folder.with_suffix(".typed"), folder.with_suffix(".log")
        given.write_text(typed)
        with (
            given.open() as stdin,
            log.open("w") as output,
            subprocess.Popen(
                ["/bin/bash", "-c", command],
                cwd=folder,
                env={**os.environ, "PATH": path, "SHELL": "/bin/bash"},
                stdin=stdin,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            ) as self._process,
        ):
            process = self._process
            try:
                # Not its processor time: the cluster's daemons use some for ever.
                patience.until(
                    lambda: process.poll() is not None,
                    command,
                    sign=lambda: patience.grown(folder, log),
                    silence=SILENCE,
                    tail=lambda: patience.end_of(log),
                )
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGTERM)
        said = log.read_text()
        if process.returncode:
            raise AssertionError(f"{command}\n{typed}\n{said[-8_000:]}")
        return said
