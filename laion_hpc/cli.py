"""The command line: a table of commands, each loaded only when it is called."""

from __future__ import annotations

import argparse
import importlib
import io
import os
import shlex
import signal
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from types import FrameType

from laion_hpc import __version__
from laion_hpc.errors import EXIT_FAILED, LaionHpcError, explain_os_error
from laion_hpc.runtime import console
from laion_hpc.runtime.arguments import add_loudness


@dataclass(frozen=True)
class Command:
    """Where a command lives and what it is for. The module offers `add_arguments` and `run`."""

    module: str
    summary: str


STAGES: dict[str, Command] = {
    "extract": Command("laion_hpc.stages.extract.command", "WAT files -> candidate image links"),
    "shuffle": Command("laion_hpc.stages.shuffle.command", "deduplicate one block, mix its hosts"),
    "download": Command("laion_hpc.stages.download.command", "URLs -> images in tar shards"),
    "filter": Command("laion_hpc.stages.filter.command", "keep the pairs that CLIP finds alike"),
    "embed": Command("laion_hpc.stages.embed.command", "CLIP embeddings of images and texts"),
    "tag": Command("laion_hpc.stages.tag.command", "unsafe, watermark, other scores per sample"),
    "index": Command("laion_hpc.stages.index.command", "train, add, merge, evaluate a kNN index"),
    "release": Command("laion_hpc.stages.release.command", "the dataset: parquet, subsets, counts"),
    "search": Command("laion_hpc.stages.search.command", "serve an index: HTTP API and a page"),
}

TOOLS: dict[str, Command] = {
    "crawl": Command("laion_hpc.run.crawl", "write the lock file of a crawl"),
    "plan": Command("laion_hpc.run.plan.command", "jobs, hours and bytes of a dataset, in advance"),
    "models": Command("laion_hpc.run.models", "fetch and check the models a config names"),
    "heads": Command("laion_hpc.heads.command", "import, train, evaluate heads for `tag`"),
    "join": Command("laion_hpc.run.join.command", "add LAION's published tags, by hash"),
    "subset": Command("laion_hpc.stages.search.subset_command", "export what a search finds"),
    "report": Command("laion_hpc.run.report.command", "one HTML page on a whole run"),
    "audit": Command("laion_hpc.run.audit", "prove that no sample vanished"),
    "takedown": Command("laion_hpc.run.takedown.command", "remove samples by URL, host, hash, key"),
    "status": Command("laion_hpc.run.status", "what is done, what failed, what is left"),
    "config": Command("laion_hpc.run.config_command", "check a config, or print all keys"),
    "demo": Command("laion_hpc.demo.command", "the whole pipeline on a synthetic web"),
}

COMMANDS = STAGES | TOOLS


def _overview() -> str:
    def table(commands: dict[str, Command]) -> str:
        return "\n".join(f"  {name:<10} {command.summary}" for name, command in commands.items())

    return (
        "usage: laion-hpc COMMAND [ARGUMENTS]\n\n"
        "Build an image-text dataset from the web.\n\n"
        f"stages, in the order of the data:\n{table(STAGES)}\n\n"
        f"around them:\n{table(TOOLS)}\n\n"
        "`laion-hpc COMMAND --help` explains a command. Exit codes: 0 done, 1 failed, "
        "2 wrong usage or config.\n"
    )


def _terminate(signum: int, _frame: FrameType | None) -> None:
    """SLURM's warning before the end of the time limit: unwind, so that nothing is left half."""
    raise SystemExit(128 + signum)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code (0 done, 1 failed, 2 wrong usage or config)."""
    # A terminal of another encoding than UTF-8 gets \u2026 for what it lacks, as on standard error.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = _main(argv)
    except BaseException as error:
        if "mpi4py.MPI" in sys.modules:
            from laion_hpc.runtime import work

            ended = error.code if isinstance(error, SystemExit) else None
            if ended is None:
                traceback.print_exc()
            work.abandon(ended if isinstance(ended, int) else EXIT_FAILED)
        raise
    if "mpi4py.MPI" in sys.modules:
        from laion_hpc.runtime import work

        return work.end_together(code)
    return code


def _say_where() -> None:
    """In a job of SLURM, begin the log with its number: what else SLURM knows hangs on that."""
    job, rank = os.environ.get("SLURM_JOB_ID"), os.environ.get("SLURM_PROCID", "0")
    if job and rank == "0":
        nodes = os.environ.get("SLURM_JOB_NODELIST", "")
        console.say(f"SLURM job {job} on {nodes}".removesuffix(" on "))


def _main(argv: Sequence[str] | None) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        console.out(_overview(), end="")
        return 0 if arguments else 2
    if arguments[0] in ("-V", "--version"):
        console.out(f"laion-hpc {__version__}")
        return 0
    name = arguments[0]
    if name not in COMMANDS:
        console.fail(f"there is no command {name!r}; `laion-hpc --help` lists them")
        return 2
    module = importlib.import_module(COMMANDS[name].module)
    parser = argparse.ArgumentParser(
        prog=f"laion-hpc {name}",
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_arguments(parser)
    add_loudness(parser)
    options = parser.parse_args(arguments[1:])
    console.set_up(options.log)
    console.detail(f"laion-hpc {__version__}: {shlex.join(arguments)}")
    signal.signal(signal.SIGTERM, _terminate)
    if name in STAGES:
        _say_where()
    try:
        return int(module.run(options))
    except LaionHpcError as error:
        console.fail(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        console.fail("interrupted; finished work is kept, the same command goes on from there")
        return 130
    except BrokenPipeError:
        # The reader of our standard output has gone (`| head`): not an error of ours.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if os.environ.get("LAION_HPC_TRACEBACK"):
            raise
        console.fail(explain_os_error(error))
        return EXIT_FAILED
