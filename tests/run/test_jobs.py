"""The table of jobs is what Snakemake parses from the Snakefile, rule by rule."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from laion_hpc import cli
from laion_hpc import config as settings
from laion_hpc.run import jobs

ROOT = Path(__file__).parents[2]
CRAWLS = ("first", "second")

# Snakemake's own reading of the Snakefile: every rule with outputs.
READ = r"""
import json, re, sys
from pathlib import Path
from snakemake.api import SnakemakeApi
from snakemake.settings.types import ConfigSettings, DAGSettings, OutputSettings, ResourceSettings
from snakemake.settings.enums import Quietness

with SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
    made = api.workflow(
        ResourceSettings(cores=1),
        config_settings=ConfigSettings(configfiles=[Path(sys.argv[1])]),
        snakefile=Path("Snakefile"),
    )._workflow
    def plain(path):  # without the constraints of its wildcards
        return re.sub(r"{(\w+),(?:[^{}]|{\d+})*}", r"{\1}", str(path))

    rules = {
        rule.name: {
            "outputs": sorted(map(plain, rule.output)),
            "log": [plain(path) for path in rule.log],
            "benchmark": plain(rule.benchmark),
            "threads": rule.resources["_cores"],
            "minutes": rule.resources["runtime"],
        }
        for rule in made.rules
        if rule.output
    }
    for rule in rules.values():
        for name in ("threads", "minutes"):
            value = getattr(rule[name], "_value", rule[name])
            rule[name] = value(None, attempt=1) if callable(value) else value
    print(json.dumps(rules))
"""


@pytest.fixture(scope="module", params=["plain", "texts and images"])
def parsed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[settings.Config, dict[str, Any], set[tuple[str, str]]]]:
    folder = tmp_path_factory.mktemp("jobs")
    for name in CRAWLS:
        lock = {"name": name, "prefix": "", "segments": {"1.2": ["a.wat.gz"]}}
        (folder / f"{name}.json").write_text(json.dumps(lock))
    data: dict[str, Any] = yaml.safe_load((ROOT / "config/demo.yaml").read_text())
    data |= {"crawls": list(CRAWLS), "crawl_folder": str(folder), "results": "results"}
    if request.param == "texts and images":
        data.setdefault("index", {})["text"] = True
        data.setdefault("release", {})["laion400m_layout"] = True
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(data))

    def ask(*command: str) -> str:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    snakemake = str(Path(sys.executable).with_name("snakemake"))
    rules = json.loads(ask(sys.executable, "-c", READ, str(path)).splitlines()[-1])
    graph = ask(
        snakemake, "--rulegraph", "mermaid-js", "--forceall", "--quiet", "all", "--directory",
        str(folder), "--configfile", str(path), "--",
    )  # fmt: skip
    yield settings.load(path), rules, _arrows(graph)


def _arrows(graph: str) -> set[tuple[str, str]]:
    """(needed, needing) from a rule graph in Mermaid."""
    names, arrows = {}, set()
    for line in map(str.strip, graph.splitlines()):
        if line.startswith("id") and "[" in line:
            names[line.partition("[")[0]] = line.partition("[")[2].rstrip("]").strip('"')
        elif "-->" in line:
            before, _, after = line.partition("-->")
            arrows.add((before.strip(), after.strip()))
    return {(names[before], names[after]) for before, after in arrows}


def test_the_table_is_what_snakemake_parses(
    parsed: tuple[settings.Config, dict[str, Any], set[tuple[str, str]]],
) -> None:
    config, rules, _ = parsed
    assert {rule.name for rule in jobs.RULES} == set(rules)
    for rule in jobs.RULES:
        wildcard = {"segment": "{segment}", "block": "{block}"}.get(rule.unit, "")
        folder = config.results if rule.unit == "dataset" else f"{config.results}/{{crawl}}"

        def placed(path: str, folder: str = folder, wildcard: str = wildcard) -> str:
            return f"{folder}/{path.replace('{unit}', wildcard)}"

        found = rules[rule.name]
        figures = {path for path in found["outputs"] if "/report/" in path}
        assert {*map(placed, rule.outputs)} == set(found["outputs"]) - figures, rule.name
        assert bool(figures) == (rule.name == "report_page")
        assert found["log"] == [placed(rule.log)], rule.name
        assert found["benchmark"] == placed(rule.benchmark), rule.name
        assert found["minutes"] == rule.minutes, rule.name
        if rule.ledger and rule.name != "index_metadata":  # which does not declare its ledger
            assert rule.ledger in rule.outputs, rule.name
        if rule.name not in ("extract", "embed"):  # the profile sets those of MPI
            assert found["threads"] == rule.threads, rule.name


def test_the_arrows_are_those_of_snakemake(
    parsed: tuple[settings.Config, dict[str, Any], set[tuple[str, str]]],
) -> None:
    config, _, arrows = parsed
    wanted = {rule.name: rule for rule in jobs.of_config(config)}
    expected = {
        (need, rule.name) for rule in wanted.values() for need in rule.needs if need in wanted
    }
    between = {arrow for arrow in arrows if set(arrow) <= {rule.name for rule in jobs.RULES}}
    # A block is shuffled after the same block of the crawl before, whose Bloom filter it reads.
    assert between == expected | {("shuffle", "shuffle")}


def test_a_log_leads_to_its_rule_and_unit() -> None:
    for rule in jobs.RULES:
        if rule.unit == "dataset":
            continue
        unit = {"segment": "1642320299852.23", "block": "0007"}.get(rule.unit, "")
        assert jobs.of_log(rule.log.format(unit=unit)) == (rule, unit)
    assert jobs.of_log("logs/index/text-add-0007.log") == (jobs.BY_NAME["index_text_add"], "0007")
    assert jobs.of_log("logs/search.log") is None
    assert jobs.of_log("logs/download/7.log") is None


def test_stages_of_the_config_and_the_command_line_are_those_of_the_table() -> None:
    # search makes no part of the dataset: it has a command and keys, and no ledger.
    assert [*jobs.STAGES, "search"] == list(cli.STAGES)
    assert [*jobs.STAGES, "search"] == list(settings.READS)


def test_what_a_ledger_reads_is_what_its_rule_needs() -> None:
    for rule in jobs.RULES:
        assert set(rule.reads) <= {jobs.BY_NAME[need].stage for need in rule.needs}, rule.name
        if rule.sums:
            assert rule.sums in rule.needs, rule.name
