"""`laion-hpc demo run`: build the web, serve it, run the workflow on it, check the results."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from laion_hpc import config as settings
from laion_hpc.demo import build, check, summary, verdict
from laion_hpc.errors import InputError, LaionHpcError, UsageError
from laion_hpc.files import crawl_lock as locks
from laion_hpc.run.crawl import by_segment
from laion_hpc.run.jobs import STAGES
from laion_hpc.run.results import unit_ledgers
from laion_hpc.runtime import console

CHECKED = "check.json"
_STOP_SECONDS = 30.0
_NEEDS_THE_WEB = ("extract", "shuffle", "download")
"""Jobs after which images are downloaded, or which download them."""


def run(
    *,
    folder: Path,
    config_path: Path | None,
    pages: int,
    seed: int,
    port: int,
    cores: int | None,
    profile: str | None = None,
) -> int:
    """Everything, or only what is missing of it; 0 if the results are what the truth says.

    `profile` is one of Snakemake's, whose nodes must be this machine: the web is on loopback.
    """
    started = time.monotonic()
    root = _root()
    config_path = config_path or _first(Path("config/demo.yaml"), root / "config/demo.yaml")
    config = settings.load(config_path)
    if len(config.crawls) != 1:
        raise UsageError(f"{config_path}: crawls: the demo has one")
    results = Path(config.results) / config.crawls[0]

    wanted = build.parameters(pages, seed, port)
    anew = not build.is_built(folder, wanted)
    if anew:
        console.out(f"The web: {pages:,} pages, into {folder}")
        counts = build.build(folder, wanted, min(os.cpu_count() or 1, cores or 2))
        console.out(f"  {build.describe(counts)}\n")
    _lock(Path(config.crawl_folder) / f"{config.crawls[0]}.json", folder, config.crawls[0])

    if anew:
        _forget(results)
    command = _snakemake(root, config_path, cores, profile)
    planned = _planned(command) if results.exists() else set(_NEEDS_THE_WEB)
    if not planned:
        console.out("Nothing to do: everything is there and up to date.\n")
    elif planned.isdisjoint(_NEEDS_THE_WEB):
        _run(command)
    else:
        with _served(folder) as lifeline:
            _run(command, lifeline)

    checked = folder / CHECKED
    findings = _checked(results, folder / build.TRUTH_FILE, config_path, checked)
    summary.show(results, findings, config_path, time.monotonic() - started)
    try:
        verdict.demand(findings)
    except LaionHpcError as error:
        if planned:
            raise
        raise LaionHpcError(
            f"{error}\nSnakemake found nothing to do; to make everything anew remove {results}"
        ) from None
    return 0


def _root() -> Path:
    """The repository: the folder of the Snakefile."""
    for folder in (Path.cwd(), Path(__file__).resolve().parents[2]):
        if (folder / "Snakefile").is_file():
            return folder
    raise UsageError("no Snakefile here: run `laion-hpc demo run` in the repository")


def _first(*paths: Path) -> Path:
    for path in paths:
        if path.is_file():
            return path
    raise UsageError(f"{paths[0]}: no such config file")


def _forget(results: Path) -> None:
    """Remove what was made of another web: its URLs may be the same, its images are not."""
    stages = [results / stage for stage in STAGES if (results / stage).is_dir()]
    if stages:
        console.out(f"The web has changed: {results} is made anew\n")
    for folder in stages:
        shutil.rmtree(folder)


def _lock(path: Path, folder: Path, crawl: str) -> None:
    """Write the crawl's lock file if it is missing; UsageError if it names other WATs."""
    wats = folder / "wat"
    found = [file.relative_to(wats).as_posix() for file in wats.rglob("*.wat.gz")]
    lock = locks.Lock(crawl, str(wats), by_segment(found, crawl))
    if not path.exists():
        locks.write_lock(lock, path)
    elif locks.read_lock(path) != lock:
        raise UsageError(
            f"{path}: does not name the WATs in {wats}; remove it to have it written anew, or "
            "give --folder the demo that it belongs to"
        )


def _snakemake(root: Path, config_path: Path, cores: int | None, profile: str | None) -> list[str]:
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(root / "Snakefile")]
    command += ["--profile", profile or str(root / "profiles" / "local")]
    command += ["--configfile", str(config_path)]
    # Only one demo can have the port, so there is no need for Snakemake's lock, which a killed
    # run would leave behind.
    command.append("--nolock")
    return [*command, "--cores", str(cores)] if cores else command


def _environment() -> dict[str, str]:
    """The rules call `python`: it must be this one, activated or not."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return {**os.environ, "PATH": path}


def _planned(command: Sequence[str]) -> set[str]:
    """Names of the rules that Snakemake would run."""
    done = subprocess.run(
        [*command, "--dry-run", "--quiet", "rules"],
        env=_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise LaionHpcError(f"snakemake cannot plan the demo:\n{done.stdout.strip()}")
    if "Nothing to be done" in done.stdout:
        return set()
    # A plan that we cannot read is a plan: better a server too many than one too few.
    return rules_in(done.stdout) or set(_NEEDS_THE_WEB)


def rules_in(plan: str) -> set[str]:
    """Names in the table of jobs that a dry run prints."""
    rules: set[str] = set()
    lines = iter(plan.splitlines())
    for line in lines:
        if line.split() == ["job", "count"]:
            next(lines, "")  # the rule under the heads
            for row in lines:
                cells = row.split()
                if len(cells) != 2 or not cells[1].isdigit() or cells[0] == "total":
                    break
                rules.add(cells[0])
            break
    return rules


def _run(command: Sequence[str], lifeline: int | None = None) -> None:
    """Run Snakemake, and leave none of its jobs behind; LaionHpcError if it fails.

    `lifeline` is what keeps the server alive: Snakemake holds it too.
    """
    console.out("The workflow: snakemake " + " ".join(command[3:]) + "\n")
    process = subprocess.Popen(
        command,
        env=_environment(),
        # A group of its own, so that we can end its jobs with it. Those that went on without the
        # web would write down that all servers refused.
        process_group=0,
        pass_fds=() if lifeline is None else (lifeline,),
    )
    try:
        code = process.wait()
    except BaseException:
        os.killpg(process.pid, signal.SIGTERM)
        raise
    finally:
        _end(process)
    if code:
        raise LaionHpcError(
            "the workflow failed; Snakemake names the job and its log above. The same command "
            "goes on from there"
        )


def _end(leader: subprocess.Popen[bytes]) -> None:
    """Wait until a process and its group are gone; ask what outlives it, and at last force it."""
    patience = time.monotonic() + _STOP_SECONDS
    asked = forced = False
    with suppress(ProcessLookupError):
        while not forced or time.monotonic() < patience:
            os.killpg(leader.pid, 0)  # raises when nobody is left
            if leader.poll() is not None and not asked:
                asked = True
                os.killpg(leader.pid, signal.SIGTERM)
            elif time.monotonic() > patience:
                forced, patience = True, patience + _STOP_SECONDS
                os.killpg(leader.pid, signal.SIGKILL)
            time.sleep(0.1)
    leader.poll()


@contextmanager
def _served(folder: Path) -> Iterator[int]:
    """The demo's web on its port, by a child; gives the descriptor that keeps it alive.

    The child ends with this context. Should we be killed, it serves as long as any process holds
    the descriptor, and then until nobody asks any more.
    """
    log = folder / "server.log"
    command = [sys.executable, "-m", "laion_hpc", "demo", "serve", "--folder", str(folder)]
    listens, lifeline = os.pipe()
    with log.open("wb") as stream:
        server = subprocess.Popen(
            [*command, "--with-parent"],
            stdin=listens,
            stdout=subprocess.PIPE,
            stderr=stream,
            # Not in our terminal's group: Ctrl-C must not end it before those who ask it.
            start_new_session=True,
        )
    os.close(listens)
    assert server.stdout is not None
    try:
        first = server.stdout.readline()
        if not first:
            server.wait()
            text = log.read_text(errors="replace").strip()
            raise LaionHpcError(text.rpartition("laion-hpc: error: ")[2] or "cannot serve the web")
        console.out(first.decode().strip() + "\n")
        yield lifeline
    finally:
        os.close(lifeline)
        if server.poll() is None:
            server.terminate()
        try:
            server.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        server.stdout.close()


def _checked(results: Path, truth: Path, config_path: Path, kept: Path) -> list[verdict.Finding]:
    """The findings on these results: read if they were made of the very same ledgers and truth."""
    stamp = _stamp(results, truth)
    note = kept.with_suffix(".stamp")
    if kept.exists() and note.exists() and note.read_text() == stamp:
        return verdict.read(kept)
    console.out("\nComparing the results with the truth …")
    findings = check.check(results, truth, str(config_path))
    verdict.write(findings, kept)
    note.write_text(stamp)
    return findings


def _stamp(results: Path, truth: Path) -> str:
    digest = hashlib.sha256()
    try:
        digest.update(truth.read_bytes())
        digest.update(Path(check.__file__).read_bytes())
        digest.update((results / "index" / "evaluation.json").read_bytes())
    except FileNotFoundError as error:
        raise InputError(f"{error.filename}: missing; run the same command again") from None
    for stage in STAGES:
        for path in unit_ledgers(results, stage).values():
            digest.update(path.read_bytes())
    return digest.hexdigest()
