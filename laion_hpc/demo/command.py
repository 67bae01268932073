"""The whole pipeline on a synthetic web, served on this machine's loopback addresses.

  laion-hpc demo run                          all of it; what `make demo` calls
  laion-hpc demo build --output build/demo    the web: pictures, WARC and WAT files, the truth
  laion-hpc demo serve --folder build/demo    its 40 hosts, 127.0.0.2 … 127.0.0.41
  laion-hpc demo check results/demo --truth build/demo/truth.parquet

The web is as ugly as the real one: dead, slow, lying, oversized, opted-out and duplicate images,
wrong captions in a dozen languages. Its truth says what must become of every link; `check`
compares a run with it and exits 1 where they disagree. No network is needed or touched.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from laion_hpc.errors import UsageError
from laion_hpc.runtime import console
from laion_hpc.runtime.arguments import add_config, add_processes

FOLDER = Path("build/demo")
PAGES = 2_500
PORT = 8765


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    build = actions.add_parser("build", help="make the web; nothing if it is there already")
    build.add_argument("--output", type=Path, default=FOLDER, metavar="DIR", help=f"{FOLDER}")
    _add_parameters(build)
    add_processes(build, default=2)

    serve = actions.add_parser("serve", help="serve the web until Ctrl-C")
    serve.add_argument("--folder", type=Path, default=FOLDER, metavar="DIR", help=f"{FOLDER}")
    serve.add_argument("--port", type=int, metavar="P", help="must be the one it was built for")
    serve.add_argument("--with-parent", action="store_true", help=argparse.SUPPRESS)

    check = actions.add_parser("check", help="compare the results of a run with the truth")
    check.add_argument("results", type=Path, metavar="RESULTS/demo", help="folder of the crawl")
    check.add_argument("--truth", type=Path, default=FOLDER / "truth.parquet", metavar="FILE")
    add_config(check, default="the config.yaml of the run")
    check.add_argument("--output", type=Path, metavar="FILE.json", help="write the table there too")

    whole = actions.add_parser("run", help="build, serve, run the workflow, check")
    whole.add_argument("--folder", type=Path, default=FOLDER, metavar="DIR", help=f"{FOLDER}")
    add_config(whole, default="config/demo.yaml")
    whole.add_argument("--cores", type=int, metavar="N", help="default: all of this machine")
    whole.add_argument("--profile", metavar="DIR", help="Snakemake's; default: profiles/local")
    _add_parameters(whole)


def _add_parameters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--pages", type=int, default=PAGES, metavar="N", help=f"default: {PAGES}")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of all chance")
    parser.add_argument("--port", type=int, default=PORT, metavar="P", help=f"default: {PORT}")


def run(options: argparse.Namespace) -> int:
    actions = {"build": _build, "serve": _serve, "check": _check, "run": _run}
    code: int = actions[options.action](options)
    return code


def _build(options: argparse.Namespace) -> int:
    from laion_hpc.demo import build

    wanted = build.parameters(options.pages, options.seed, options.port)
    if build.is_built(options.output, wanted):
        console.out(f"{options.output}: built already")
        return 0
    counts = build.build(options.output, wanted, options.processes)
    if counts:
        console.out(f"{options.output}: {build.describe(counts)}")
    return 0


def _serve(options: argparse.Namespace) -> int:
    from laion_hpc.demo import build, server, table

    port = build.read_stamp(options.folder)["parameters"]["port"]
    if options.port not in (None, port):
        raise UsageError(
            f"--port {options.port}: the pages in {options.folder} link to port {port}; build "
            f"them again with `laion-hpc demo build --port {options.port}`"
        )
    served = table.read_table(options.folder / table.TABLE)
    server.run(served, options.folder, with_parent=options.with_parent)
    return 0


def _check(options: argparse.Namespace) -> int:
    from laion_hpc.demo import check, verdict

    findings = check.check(options.results, options.truth, options.config)
    verdict.show(findings)
    if options.output is not None:
        verdict.write(findings, options.output)
    verdict.demand(findings)
    return 0


def _run(options: argparse.Namespace) -> int:
    from laion_hpc.demo import whole

    return whole.run(
        folder=options.folder,
        config_path=Path(options.config) if options.config else None,
        pages=options.pages,
        seed=options.seed,
        port=options.port,
        cores=options.cores,
        profile=options.profile,
    )
