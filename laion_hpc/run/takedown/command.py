"""Take samples down: by URL, host, hash or key.

laion-hpc takedown requests.txt                             searches results/
laion-hpc takedown requests.txt --results /scratch/results --processes 8
laion-hpc takedown                                          the whole list, after a new crawl
snakemake … && laion-hpc audit results --takedown           removes them, and proves it

Each line of requests.txt is one of: the URL of an image; a host, which includes its subdomains; the
MD5 or SHA-256 of an image; the SHA-256 of a URL; a sample key. The command finds the samples,
removes them from the tables of links (extract, shuffle) and adds them to the list that the config
names (takedown_list). The list holds hashes only. The next run of snakemake removes the samples
from shards, tables, embeddings, tags, index and release. It rebuilds only blocks that held them,
downloads nothing again, and changes no other sample's key. Later crawls drop the samples, too.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from laion_hpc.runtime import console
from laion_hpc.runtime.arguments import add_config, add_processes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "requests", nargs="?", type=Path, metavar="FILE", help="the requests, one a line"
    )
    parser.add_argument("--results", type=Path, metavar="DIR", help="default: as the config says")
    add_config(parser, default="RESULTS/config.yaml, if there")
    add_processes(parser, meaning="processes that read files")


def run(options: argparse.Namespace) -> int:
    from laion_hpc import config as settings
    from laion_hpc.files import takedown_list, tombstones
    from laion_hpc.run import results
    from laion_hpc.run.takedown import find, requests
    from laion_hpc.run.takedown.redact import redact
    from laion_hpc.runtime import work

    found_config = results.config_of(options.results or Path("results"))
    config = settings.load(options.config or found_config)
    path = Path(config.takedown_list)
    pending = path.with_name(f"{path.name}.pending")
    request = requests.read(options.requests) if options.requests else requests.Request()
    # An earlier call may have been killed. This one finishes its work.
    takedowns = takedown_list.read(path) | takedown_list.read(pending) | request.listed()
    if not takedowns and not request.keys:
        console.say(f"{path}: the list is empty, and no FILE of requests was given")
        return 2
    everything = not options.requests or pending.exists()
    root = options.results or Path(config.results)
    crawls = results.crawl_folders(root) if root.is_dir() else []
    numbering = takedown_list.numbering(config)
    report, keys = [], set[str]()
    with work.team(options.processes) as team:
        if not team.leads:
            return 0
        tables = []
        wanted = takedowns if everything else request.listed()
        urls = set(request.urls)
        for crawl in crawls:
            more, found = find.urls_of_samples(crawl, team, wanted, request.keys)
            urls |= more
            keys |= found
        wanted |= takedown_list.Takedowns(urls=frozenset(map(tombstones.sha256, urls)))
        takedowns |= wanted
        for crawl in crawls:
            here = find.links(crawl, team, wanted, urls, config.dataset.blocks)
            samples = find.samples(crawl, here, numbering)
            takedowns |= takedown_list.Takedowns(samples=frozenset(samples))
            tables += here
            links = sum(len(table.links) for table in here if table.path.parent.name == "extract")
            blocks = sorted({f"{sample.block:04d}" for sample in samples})
            report.append(
                f"{crawl.name}: {links} links, {len(samples)} samples"
                + (f" in blocks {', '.join(blocks)}" if blocks else "")
            )
        # The workflow reads `path`. It gets the new list only after the links are gone.
        takedown_list.write(takedowns, pending)
        team.map(partial(redact, takedowns=takedowns), tables, label="take down", unit="tables")
        pending.replace(path)
    for line in report:
        console.out(line)
    for key in sorted(request.keys - keys):
        console.say(f"{key}: no such sample in {root}")
    console.out(
        f"{path}: {len(takedowns.urls)} URLs, {len(takedowns.hosts)} hosts, "
        f"{len(takedowns.images)} images, {len(takedowns.samples)} samples; run snakemake"
    )
    return 0
