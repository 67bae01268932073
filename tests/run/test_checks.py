"""What can be known at the start is told at the start, by the command and by the Snakefile."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from laion_hpc import config as settings
from laion_hpc.config import Config
from laion_hpc.errors import UsageError
from laion_hpc.files.crawl_lock import read_lock
from laion_hpc.run import checks

ROOT = Path(__file__).parents[2]
DEMO = yaml.safe_load((ROOT / "config/demo.yaml").read_text())
HEADS = "package:demo/models/heads"


@pytest.fixture(autouse=True)
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the demo's lock file and the names of its WATs, and nothing else."""
    (tmp_path / "config/crawls").mkdir(parents=True)
    for lock in (ROOT / "config/crawls").iterdir():
        (tmp_path / "config/crawls" / lock.name).write_bytes(lock.read_bytes())
    monkeypatch.chdir(tmp_path)
    for path in wats():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


def wats() -> list[Path]:
    """Those of the demo's crawl."""
    lock = read_lock(Path("config/crawls/demo.json"))
    return [Path(path) for segment in lock.segments for path in lock.wats(segment)]


def demo(**changes: Any) -> Config:
    """The demo's config with some keys of its sections changed."""
    data = {**DEMO}
    for key, value in changes.items():
        old = data.get(key)
        data[key] = {**old, **value} if isinstance(old, dict) and isinstance(value, dict) else value
    return settings.parse(data)


def heads(*names: str) -> dict[str, Any]:
    return {"heads": [f"{HEADS}/{name}" for name in names]}


def test_the_demo_is_good() -> None:
    assert checks.of_config(demo()) == []
    assert checks.of_machine(demo()) == []


def test_the_default_config_is_good_but_for_what_is_fetched() -> None:
    default = Config()
    assert checks.of_config(settings.parse({**default.model_dump(), "crawls": ["demo"]})) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"crawls": ["CC-MAIN-1999-01"]}, ["laion-hpc crawl CC-MAIN-1999-01"]),
        ({"tag": heads("punsafe")}, ["release.subsets", "pwatermark"]),
        (
            {"release": {"subsets": [{"name": "all", "where": "WIDTH + 1"}]}},
            ["release.subsets[0] (all)", "not a condition"],
        ),
        (
            {"release": {"subsets": [{"name": "all", "where": "wdth > 1"}]}},
            ["release.subsets[0] (all)", "wdth"],
        ),
        ({"tag": heads("punsafe", "punsafe", "pwatermark")}, ["two columns", "punsafe"]),
        ({"tag": {"space": "ViT-L-14/openai"}}, ["tag.heads", "ViT-L-14/openai"]),
        ({"shuffle": {"blocked_url_hashes": "no.txt"}}, ["shuffle.blocked_url_hashes", "no.txt"]),
        ({"shuffle": {"blocked_hosts": ["a.org/x"]}}, ["shuffle.blocked_hosts", "a.org/x"]),
        ({"extract": {"blocked_hosts": ["a..org"]}}, ["extract.blocked_hosts", "a..org"]),
        ({"download": {"hash_blocklist": "no.txt"}}, ["download.hash_blocklist", "no.txt"]),
        ({"download": {"formats": ["JPEG", "EPS"]}}, ["download.formats", "EPS"]),
        ({"download": {"allow_networks": ["10.0.0.1/8"]}}, ["download.allow_networks"]),
        ({"download": {"proxy": "socks5://localhost:1"}}, ["download.proxy", "socks5"]),
        ({"filter": {"zero_shot": "prompts.yaml"}}, ["filter.zero_shot", "prompts.yaml"]),
        ({"filter": {"device": "cpu", "precision": "fp16"}}, ["filter.precision"]),
        ({"index": {"key": "HNSW32"}}, ["index.key", "IVF"]),
        (
            {"embed": {"model": {"library": "sentence_transformers", "name": "a/b"}}},
            ["embed.model", "a/b"],
        ),
    ],
)
def test_a_fault_of_the_config_is_told(changes: dict[str, Any], words: list[str]) -> None:
    found = "\n".join(checks.of_config(demo(**changes)))
    for word in words:
        assert word in found


def test_all_faults_are_told_at_once() -> None:
    bad = demo(crawls=["no"], index={"key": "Flat"}, filter={"zero_shot": "prompts.yaml"})
    assert len(checks.of_config(bad)) == 3
    with pytest.raises(UsageError) as error:
        checks.require(checks.of_config(bad))
    assert str(error.value).count("\n") == 2


@pytest.mark.parametrize("key", ["blocks", "samples_per_shard"])
def test_sizes_that_results_have_are_kept(key: str, site: Path) -> None:
    made = demo()
    other = demo(dataset={key: 7})
    assert checks.of_config(other) == []  # nothing was made yet
    blocks, rows = made.dataset.blocks, made.dataset.samples_per_shard
    for name, groups in (("extract/1.2", [1] * blocks), ("shuffle/0000", [rows, 3])):
        path = site / made.results / "demo" / f"{name}.parquet"
        path.parent.mkdir(parents=True)
        schema = pa.schema([("x", pa.int8())])
        with pq.ParquetWriter(path, schema) as writer:
            for count in groups:
                writer.write_table(pa.table({"x": [0] * count}, schema), row_group_size=count)
    [fault] = checks.of_config(other)
    assert f"dataset.{key}: 7" in fault
    assert f"made with {getattr(made.dataset, key)}" in fault
    assert checks.of_config(made) == []
    # Another crawl in the same folder may have other sizes: its own results tell.
    assert checks.of_config(demo(crawls=["other"], dataset={key: 7}))[1:] == []


def test_a_list_that_is_a_folder_is_told_by_its_key(site: Path) -> None:
    found = checks.of_config(demo(download={"hash_blocklist": str(site)}))
    assert found == [f"download.hash_blocklist: {site}: Is a directory"]


@pytest.mark.parametrize("host", ["a.*.com", "a.com,b.com"])
def test_a_pattern_is_not_a_host(host: str) -> None:
    [fault] = checks.of_config(demo(shuffle={"blocked_hosts": [host]}))
    assert fault.startswith("shuffle.blocked_hosts") and host in fault


@pytest.mark.parametrize("where", ["sum(WIDTH) > 1", "row_number() over () > 1"])
def test_a_subset_is_a_condition_on_one_row(where: str) -> None:
    [fault] = checks.of_config(demo(release={"subsets": [{"name": "x", "where": where}]}))
    assert "release.subsets[0] (x)" in fault


def test_what_is_not_fetched_is_told_for_the_stages_that_need_it() -> None:
    config = settings.parse({"crawls": ["demo"], "download": DEMO["download"]})
    found = checks.of_machine(config, "mine.yaml")
    assert [fault.split(":")[0] for fault in found] == [
        "filter.english", "filter.multilingual", "embed.model", *["tag.heads"] * 3
    ]  # fmt: skip
    assert "laion-hpc models fetch --config mine.yaml" in found[0]
    assert checks.of_machine(config, stages=["extract", "shuffle", "download"]) == []


def test_wats_that_are_gone_are_told_while_they_are_needed() -> None:
    gone, *others = wats()
    gone.unlink()
    [fault] = checks.of_machine(demo())
    assert f"1 of {1 + len(others)} WATs" in fault and gone.name in fault
    assert checks.of_machine(demo(), stages=["shuffle"]) == []
    made = Path(demo().results) / "demo/extract"
    made.mkdir(parents=True)
    for segment in read_lock(Path("config/crawls/demo.json")).segments:
        (made / f"{segment}.ledger.json").touch()
    assert checks.of_machine(demo()) == []


def test_a_run_needs_a_contact_where_it_downloads() -> None:
    config = settings.parse({"crawls": ["demo"]})
    [fault] = checks.of_machine(config, stages=["download"])
    assert fault.startswith("download.user_agent")
    assert checks.of_machine(config, stages=["extract"]) == []


def test_results_in_a_file_cannot_be_written(site: Path) -> None:
    (site / "full").write_text("")
    [fault] = checks.of_machine(demo(results="full/results"))
    assert fault.startswith("results: full/results")


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_results_where_others_write_are_refused(site: Path) -> None:
    (site / "theirs").mkdir(mode=0o555)
    [fault] = checks.of_machine(demo(results="theirs/results"))
    assert fault.startswith("results: theirs/results")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SSL_CERT_FILE", "/nowhere/ca.pem"),
        ("ALL_PROXY", "socks5://localhost:1080"),
        ("https_proxy", "ftp://proxy:21"),
        ("HOME", "/proc/no-home"),
    ],
)
def test_variables_that_will_hurt_are_named(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv(name, value)
    [fault] = checks.of_machine(demo())
    assert f"{name}={value}" in fault


Tool = Callable[[str], None]


@pytest.fixture
def sinfo(site: Path, monkeypatch: pytest.MonkeyPatch) -> Tool:
    """Puts a `sinfo` first on the PATH."""

    def made(script: str) -> None:
        path = site / "bin/sinfo"
        path.parent.mkdir()
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{path.parent}:{os.environ['PATH']}")

    return made


def test_partitions_that_slurm_does_not_know(sinfo: Tool) -> None:
    sinfo("printf 'cpu\\na100\\n'")
    [fault] = checks.of_machine(demo(), partitions=["cpu", "a100,h100"])
    assert "h100" in fault
    assert "a100, cpu" in fault
    assert checks.of_machine(demo(), partitions=["cpu,a100"]) == []


@pytest.mark.parametrize("script", ["exit 1", "sleep 60"])
def test_a_slurm_that_does_not_answer_stops_nobody(
    script: str, sinfo: Tool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "SINFO_SECONDS", 0.3)
    sinfo(script)
    assert checks.of_machine(demo(), partitions=["cpu"]) == []


def test_partitions_of_the_profiles() -> None:
    assert checks.partitions_of(ROOT / "profiles/slurm") == {"cpu", "a100"}
    assert checks.partitions_of(ROOT / "profiles/local") == set()
    with pytest.raises(UsageError, match="nowhere"):
        checks.partitions_of(Path("nowhere"))


def write(site: Path, data: Mapping[str, Any]) -> str:
    (site / "mine.yaml").write_text(yaml.safe_dump(dict(data)))
    return "mine.yaml"


def test_the_command_lists_them_and_ends_with_2(site: Path) -> None:
    bad = write(site, {**DEMO, "tag": {**DEMO["tag"], **heads("punsafe")}})
    command = [sys.executable, "-m", "laion_hpc", "config", "check"]
    done = subprocess.run([*command, bad], capture_output=True, text=True)
    assert done.returncode == 2
    assert "mine.yaml: release.subsets" in done.stderr
    done = subprocess.run(
        [*command, str(ROOT / "config/demo.yaml")], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, f"{ROOT}/config/demo.yaml: good; crawls demo\n")


SNAKEMAKE = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]


def test_snakemake_refuses_it_before_it_plans(site: Path) -> None:
    bad = write(site, {**DEMO, "tag": {**DEMO["tag"], **heads("punsafe")}})
    command = [*SNAKEMAKE, "-n", "--configfile", bad]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode != 0
    assert "release.subsets" in done.stdout + done.stderr
    assert "Job stats" not in done.stdout + done.stderr


def test_snakemake_refuses_a_run_without_weights_but_not_its_plan(site: Path) -> None:
    lacking = write(site, {"crawls": ["demo"], "download": DEMO["download"]})
    command = [*SNAKEMAKE, "--configfile", lacking, "--cores", "1"]
    assert subprocess.run([*command, "-n"], capture_output=True).returncode == 0
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode != 0
    assert f"laion-hpc models fetch --config {site / 'mine.yaml'}" in done.stdout + done.stderr
    assert not list(site.glob("results/*/*"))


def test_snakemake_refuses_a_run_on_partitions_that_there_are_not(site: Path, sinfo: Tool) -> None:
    sinfo("echo debug")
    given = write(site, DEMO)
    command = [*SNAKEMAKE, "--configfile", given, "--profile", str(ROOT / "profiles/slurm")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode != 0
    assert "SLURM has no such partition, only debug" in done.stdout + done.stderr
    for name in ("a100", "cpu"):
        assert f"slurm_partition: {name}:" in done.stdout + done.stderr


def test_without_slurm_nobody_asks_for_partitions(site: Path, sinfo: Tool) -> None:
    sinfo("echo debug")
    lacking = write(site, {"crawls": ["demo"], "download": DEMO["download"]})
    command = [*SNAKEMAKE, "--configfile", lacking, "--profile", str(ROOT / "profiles/local")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert "models fetch" in done.stdout + done.stderr
    assert "slurm_partition" not in done.stdout + done.stderr
