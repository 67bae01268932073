# A small workflow under the names of the real rules, so that the profile's values apply to them:
# each rule shows one thing that a cluster does to a job. `flags` is a folder that outlives attempts.
from pathlib import Path

sys.path.insert(0, config["repository"])
shell.prefix(f"export PYTHONPATH={config['repository']}; ")
FLAGS = Path(config["flags"])


def growing(megabytes):
    return lambda wildcards, attempt: megabytes * 2 ** (attempt - 1)


def longer(minutes):
    return lambda wildcards, attempt: minutes * attempt


rule all:
    input:
        [f"out/{name}" for name in ("extract", "embed", "filter", "shuffle", "download", "tag")],


# One queue over the ranks of several nodes, started by the profile's `launcher`.
rule extract:
    output:
        "out/extract",
    log:
        "logs/extract",
    threads: 8
    resources:
        mem_mb=growing(1_000),
        runtime=longer(10),
        launcher="",
    shell:
        "{resources.launcher} python ranks.py {output} > {log} 2>&1"


# One rank per GPU.
use rule extract as embed with:
    output:
        "out/embed",
    log:
        "logs/embed",


# The same shell command where the profile sets no launcher, on a node with GPUs and without.
use rule extract as filter with:
    output:
        "out/filter",
    log:
        "logs/filter",


rule shuffle:
    output:
        "out/shuffle",
    threads: 2
    resources:
        mem_mb=growing(1_000),
        runtime=longer(10),
    shell:
        "echo $SLURMD_NODENAME ${{CUDA_VISIBLE_DEVICES:-none}} > {output}"


# Holds 600 MB: its first attempt gets less and is killed, its second gets enough.
rule download:
    output:
        "out/download",
    resources:
        mem_mb=growing(400),
        runtime=longer(10),
    shell:
        "python -c 'import time; held = bytearray(600 << 20); time.sleep(60 * ({resources.mem_mb} < 600))'"
        " && echo {resources.mem_mb} > {output}"


# Waits for ever in its first attempt.
rule tag:
    output:
        "out/tag",
    params:
        begun=FLAGS / "tag",
    resources:
        mem_mb=growing(500),
        runtime=longer(10),
    shell:
        "if [ -e {params.begun} ]; then echo {resources.runtime} > {output};"
        " else touch {params.begun}; sleep 600; fi"
