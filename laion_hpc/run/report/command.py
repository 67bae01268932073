"""One self-contained HTML page on a run: the funnel, the plots, a sheet of samples.

laion-hpc report results/demo --output results/demo/report.html
laion-hpc report results/demo --output report.html --figures figures   also each figure as SVG

The page shows the stages of one crawl that have run so far. It contains times, so it differs from
run to run, unlike every other output.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from laion_hpc.errors import UsageError
from laion_hpc.runtime import console
from laion_hpc.runtime.arguments import add_config, add_processes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("results", type=Path, help="results of one crawl, such as results/demo")
    parser.add_argument("--output", type=Path, required=True, help="the page, report.html")
    parser.add_argument("--figures", type=Path, help="folder for the figures as SVG files, too")
    add_config(parser, default="RESULTS/config.yaml, if there")
    parser.add_argument("--samples", type=int, default=24, help="images on the sample sheet (24)")
    add_processes(parser, meaning="threads to use")


def run(options: argparse.Namespace) -> int:
    from laion_hpc.charts.drawing import draw
    from laion_hpc.config import load
    from laion_hpc.files.atomic import write_bytes
    from laion_hpc.run import results
    from laion_hpc.run.report.data import gather
    from laion_hpc.run.report.page import FIGURES, figures_of, page

    if options.samples < 0 or options.processes < 1:
        raise UsageError("--samples must be at least 0, --processes at least 1")
    folders = results.crawl_folders(options.results)
    if len(folders) != 1 or folders[0] != options.results:
        names = ", ".join(str(folder) for folder in folders)
        raise UsageError(f"{options.results}: a report shows one crawl; give one of {names}")
    config = load(options.config or results.config_of(options.results))
    run_data = gather(options.results, config, samples=options.samples, threads=options.processes)
    made = figures_of(run_data)
    if options.figures:
        for name, figure in made.items():
            write_bytes(options.figures / f"{name}.svg", draw(figure, FIGURES[name]).encode())
    write_bytes(options.output, page(run_data, made).encode())
    console.say(f"report: {options.output}")
    return 0
