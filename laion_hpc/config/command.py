"""Check a config, or print every key with its default and meaning.

laion-hpc config default              the annotated default, as in config/default.yaml
laion-hpc config check config/my.yaml check a file; exit code 2 and the key at fault if wrong
"""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("default", help="print the annotated default config")
    check = actions.add_parser("check", help="check a config file")
    check.add_argument("config", help="YAML file")


def run(options: argparse.Namespace) -> int:
    if options.action == "default":
        from laion_hpc.config.render import default_yaml

        print(default_yaml(), end="")
    else:
        from laion_hpc.config import load

        config = load(options.config)
        print(f"{options.config}: good; crawls {', '.join(config.crawls)}")
    return 0
