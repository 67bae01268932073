# release: the dataset that people download, and the report on how it came about.
#
# Needs:  embed/ and tag/ of all blocks; for the report every ledger and the index's evaluation.
# Makes:  release/ (parquet in LAION's columns, subsets, statistics, card, checksums), report.html.
# How:    one job per block writes its parts; one last job counts and describes the whole.
rule release_block:
    input:
        embeddings=rules.embed.output.manifest,
        tags=rules.tag.output.parquet,
    output:
        ledger=f"{RUN}/release/blocks/{{block}}.ledger.json",
    log:
        f"{RUN}/logs/release/{{block}}.log",
    benchmark:
        f"{RUN}/benchmarks/release/{{block}}.tsv"
    conda:
        "../envs/cpu.yaml"
    threads: 2
    resources:
        mem_mb=growing(16_000),
        runtime=longer(120),
    params:
        file=CONFIG_FILE,
        config=digest("release"),
    message:
        "Release block {wildcards.block} of {wildcards.crawl}"
    shell:
        "python -m laion_hpc release block $(dirname {input.embeddings}) {input.tags}"
        " --block {wildcards.block} --config {params.file}"
        " --output $(dirname $(dirname {output.ledger})) > {log} 2>&1"


rule release_gather:
    input:
        blocks=of_crawl(f"{RUN}/release/blocks/{{block}}.ledger.json"),
    output:
        manifest=f"{RUN}/release/manifest.json",
        statistics=f"{RUN}/release/statistics.json",
        card=f"{RUN}/release/README.md",
        croissant=f"{RUN}/release/croissant.json",
        checksums=f"{RUN}/release/SHA256SUMS",
    log:
        f"{RUN}/logs/release/gather.log",
    benchmark:
        f"{RUN}/benchmarks/release/gather.tsv"
    conda:
        "../envs/cpu.yaml"
    threads: 4
    resources:
        mem_mb=growing(16_000),
        runtime=longer(240),
    params:
        file=CONFIG_FILE,
        config=digest("release"),
    message:
        "Describe the dataset of {wildcards.crawl}"
    shell:
        "python -m laion_hpc release gather $(dirname {output.manifest}) --config {params.file}"
        " --output $(dirname {output.manifest}) > {log} 2>&1"


rule report_page:
    input:
        statistics=rules.release_gather.output.statistics,
        evaluation=rules.index_evaluate.output.evaluation,
    output:
        page=report(
            f"{RUN}/report.html",
            caption="../docs/captions/report.rst",
            category="Report",
        ),
    log:
        f"{RUN}/logs/report.log",
    benchmark:
        f"{RUN}/benchmarks/report.tsv"
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=growing(4_000),
        runtime=longer(60),
    params:
        file=CONFIG_FILE,
        config=digest("release"),
    message:
        "Report on {wildcards.crawl}"
    shell:
        "python -m laion_hpc report $(dirname {output.page}) --config {params.file}"
        " --output {output.page} > {log} 2>&1"


rule release_all:
    input:
        [f"{RESULTS}/{crawl}/release/manifest.json" for crawl in CONFIG.crawls],
    message:
        "The dataset is released"


rule dataset:
    input:
        rules.release_all.input,
    message:
        "The dataset is released"


rule report:
    input:
        [f"{RESULTS}/{crawl}/report.html" for crawl in CONFIG.crawls],
    message:
        "The reports are written"
