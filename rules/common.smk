# What every stage file uses: the checked config, the lock files, the units, the way to run.
import re
import shlex
import sys
from pathlib import Path

import yaml
from snakemake.exceptions import WorkflowError

sys.path.insert(0, workflow.basedir)

from laion_hpc import config as settings
from laion_hpc.files.atomic import write_bytes
from laion_hpc.files.crawl_lock import read_lock
from laion_hpc.files.ledger import fingerprint
from laion_hpc.files import takedown_list
from laion_hpc.run import checks, jobs


def refuse(faults):
    """Stop with the list of faults, if there are any."""
    if told := list(faults):
        raise WorkflowError("\n".join(told))


# Snakemake takes every word after --configfile as a config, targets included. A manifest is JSON,
# so it would be read as one.
refuse(
    f"{path}: a target after --configfile is read as a config; write targets first: "
    f"snakemake {path} --configfile …"
    for path in map(str, workflow.configfiles)
    if path.endswith(("manifest.json", ".ledger.json"))
)
# A wrong key or a missing lock file stops the run here, before anything is planned.
CONFIG = settings.parse(
    config,
    origin=(
        str(workflow.configfiles[-1]) if workflow.configfiles else "config/config.yaml"
    ),
)
# Every check that needs only the config. Jobs also read the Snakefile; they skip these checks.
if workflow.is_main_process:
    refuse(checks.of_config(CONFIG))
LOCKS = {
    crawl: read_lock(Path(CONFIG.crawl_folder) / f"{crawl}.json")
    for crawl in CONFIG.crawls
}
BLOCKS = [f"{block:04d}" for block in range(CONFIG.dataset.blocks)]
RESULTS = CONFIG.results
RUN = f"{RESULTS}/{{crawl}}"


wildcard_constraints:
    crawl="|".join(CONFIG.crawls),
    block=r"\d{4}",
    segment=r"[^/]+",


# The package runs from this folder, in the environment of the rule. Without conda or a container
# this is Snakemake's own environment, activated or not.
def for_shell(path):
    """A path as one word of a shell command that Snakemake formats."""
    return shlex.quote(str(path)).replace("{", "{{").replace("}", "}}")


ENVIRONMENT = (
    f"export PYTHONPATH={for_shell(workflow.basedir)}:${{{{PYTHONPATH:-}}}}"
    " PYTHONUNBUFFERED=1"
)
if not workflow.deployment_settings.deployment_method:
    ENVIRONMENT += f" PATH={for_shell(Path(sys.executable).parent)}:$PATH"
shell.prefix(f"{ENVIRONMENT}; ")
# For envs/*.post-deploy.sh: Snakemake runs copies of them.
os.environ.update(LAION_HPC_LOCKS=f"{workflow.basedir}/locks")


DIGESTS = {stage: settings.digest(CONFIG, stage) for stage in jobs.STAGES}


def digests(rule):
    """A param of a rule: its jobs run again when a key that decides their outputs changes.

    It has the digest of every stage from the first one to the rule's own. A stage in the middle
    may fail after a change, and Snakemake then deletes its manifest. The later rules still see
    that they are outdated, so the next run starts with the stage that failed.
    """
    return [f"{stage} {DIGESTS[stage]}" for stage in jobs.lineage(rule)]


# What `laion-hpc takedown` has listed, and a digest of the config keys that decide sample keys.
TAKEDOWNS = takedown_list.of(CONFIG)
NUMBERING = takedown_list.numbering(CONFIG)


def taken_down(wildcards):
    """Changes if samples of this block are taken down, so that only this block is rebuilt."""
    return TAKEDOWNS.digest(wildcards.crawl, int(wildcards.block), NUMBERING)


def own_segments(wildcards):
    """Changes with the WAT files of the crawl, not with the other crawls of the config."""
    return fingerprint(str(LOCKS[wildcards.crawl].segments))


def growing(megabytes):
    """Memory that doubles with each attempt: a job that ran out of memory gets more."""
    return lambda wildcards, attempt: megabytes * 2 ** (attempt - 1)


def longer(minutes):
    """A time limit that grows with each attempt."""
    return lambda wildcards, attempt: minutes * attempt


def segments(pattern):
    """`pattern` for every segment of every crawl."""
    return [
        pattern.format(crawl=crawl, segment=segment)
        for crawl, lock in LOCKS.items()
        for segment in lock.segments
    ]


def blocks(pattern, crawl=None):
    """`pattern` for every block of one crawl, or of every crawl."""
    crawls = [crawl] if crawl else CONFIG.crawls
    return [
        pattern.format(crawl=name, block=block) for name in crawls for block in BLOCKS
    ]


def of_crawl(pattern):
    """An input function: `pattern` for every block of the rule's crawl."""
    return lambda wildcards: blocks(pattern, wildcards.crawl)


def ancient_of_crawl(pattern):
    """The same as `of_crawl`, but newer files do not make the rule run again."""
    return lambda wildcards: [
        ancient(path) for path in blocks(pattern, wildcards.crawl)
    ]


def seen_before(wildcards):
    """The Bloom filters of this block in the crawls before this one."""
    earlier = CONFIG.crawls[: CONFIG.crawls.index(wildcards.crawl)]
    return [f"{RESULTS}/{crawl}/shuffle/{wildcards.block}.seen" for crawl in earlier]


# Every key of this run with its value. The stages read it, and it records how the dataset was made.
# It is not an input of a rule: a stage runs again if the digest of its keys changes.
CONFIG_FILE = f"{RESULTS}/config.yaml"


def partitions():
    """The partitions that this run would send jobs to; empty without SLURM."""
    if workflow.executor_plugin.name != "slurm":
        return set()
    asked = [
        job.rule.resources.get("slurm_partition") for job in workflow.dag.needrun_jobs()
    ]
    # A value may also be an expression: it is known only when the job is submitted.
    names = {str(getattr(resource, "raw", "")) for resource in asked if resource}
    return {name for name in names - {"None"} if re.fullmatch(r"[\w.,-]+", name)}


def lacking():
    """What this machine lacks for the jobs of this run."""
    rules = {job.rule.name for job in workflow.dag.needrun_jobs()}
    stages = {rule.stage for name, rule in jobs.BY_NAME.items() if name in rules}
    given = str(workflow.configfiles[-1]) if workflow.configfiles else "FILE"
    return checks.of_machine(CONFIG, given, stages=stages, partitions=partitions())


onstart:
    if not workflow.touch:
        refuse(lacking())
    write_bytes(
        Path(CONFIG_FILE),
        yaml.safe_dump(
            CONFIG.model_dump(mode="json"), sort_keys=False, allow_unicode=True
        ).encode(),
    )
