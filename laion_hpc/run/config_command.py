"""Check a config, or print every key with its default and meaning.

laion-hpc config default              the annotated default, as in config/default.yaml
laion-hpc config check config/my.yaml check a file, the files that it names, and this machine;
                                      exit code 2 and the keys at fault if anything is wrong
laion-hpc config check config/my.yaml --profile profiles/slurm
                                      also the partitions that jobs would be sent to
"""

from __future__ import annotations

import argparse
from pathlib import Path

from laion_hpc.runtime import console


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The actions and their arguments."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("default", help="print the annotated default config")
    check = actions.add_parser("check", help="check a config file")
    check.add_argument("config", help="YAML file")
    check.add_argument("--profile", type=Path, metavar="DIR", help="of Snakemake: its partitions")
    check.add_argument(
        "--only-config",
        action="store_true",
        help="not what this machine lacks: models, a partition, a folder to write to",
    )


def run(options: argparse.Namespace) -> int:
    """Do what the command line asks; the exit code."""
    if options.action == "default":
        from laion_hpc.config.render import default_yaml

        console.out(default_yaml(), end="")
        return 0
    from laion_hpc.config import load
    from laion_hpc.run import checks

    config = load(options.config)
    faults = checks.of_config(config)
    if not options.only_config:
        partitions = checks.partitions_of(options.profile) if options.profile else ()
        faults += checks.of_machine(config, options.config, partitions=partitions)
    checks.require([f"{options.config}: {fault}" for fault in faults])
    console.out(f"{options.config}: good; crawls {', '.join(config.crawls)}")
    return 0
