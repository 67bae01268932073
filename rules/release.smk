# release: the dataset that people download, and the report on how it was made.
#
# Needs:  embed/ and tag/ of all blocks; for the report every ledger and the index's evaluation.
# Makes:  release/ (parquet in LAION's columns, subsets, statistics, card, checksums), report.html
#         and its figures in report/.
# How:    one job per block writes its parts; one last job counts and describes the whole.
from laion_hpc.run.report.page import FIGURES

# Title, licence, date and contact are in no digest: changing them rewrites only the card.
ABOUT = fingerprint(CONFIG.release.model_dump_json())


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
        config=digests("release_block"),
    message:
        "Release block {wildcards.block} of {wildcards.crawl}"
    shell:
        'python -m laion_hpc release block "$(dirname {input.embeddings:q})" {input.tags:q}'
        " --block {wildcards.block} --config {params.file:q}"
        ' --output "$(dirname "$(dirname {output.ledger:q})")" > {log:q} 2>&1'


# Only if the config asks for images: subsets with `images: true`, or LAION-400M's layout.
rule release_images:
    input:
        released=rules.release_block.output.ledger,
        shards=rules.filter.output.manifest,
        embeddings=rules.embed.output.manifest,
    output:
        ledger=f"{RUN}/release/image-blocks/{{block}}.ledger.json",
    log:
        f"{RUN}/logs/release/images-{{block}}.log",
    benchmark:
        f"{RUN}/benchmarks/release/images-{{block}}.tsv"
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=growing(8_000),
        runtime=longer(240),
    params:
        file=CONFIG_FILE,
        config=digests("release_images"),
    message:
        "Cut the images of block {wildcards.block} for the release"
    shell:
        'python -m laion_hpc release images "$(dirname {input.shards:q})" "$(dirname {input.embeddings:q})"'
        " --block {wildcards.block} --config {params.file:q}"
        ' --output "$(dirname "$(dirname {output.ledger:q})")" > {log:q} 2>&1'


rule release_gather:
    input:
        blocks=of_crawl(f"{RUN}/release/blocks/{{block}}.ledger.json"),
        images=(
            of_crawl(f"{RUN}/release/image-blocks/{{block}}.ledger.json")
            if CONFIG.release.has_images
            else []
        ),
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
        config=digests("release_gather"),
        about=ABOUT,
    message:
        "Describe the dataset of {wildcards.crawl}"
    shell:
        'python -m laion_hpc release gather "$(dirname {output.manifest:q})" --config {params.file:q}'
        ' --processes {threads} --output "$(dirname {output.manifest:q})" > {log:q} 2>&1'


rule report_page:
    input:
        statistics=rules.release_gather.output.statistics,
        evaluation=rules.index_evaluate.output.evaluation,
    output:
        figures=[
            report(
                f"{RUN}/report/{name}.svg",
                caption=f"../docs/captions/{name}.rst",
                category="Report",
                labels={"crawl": "{crawl}", "figure": title},
            )
            for name, title in FIGURES.items()
        ],
        page=report(
            f"{RUN}/report.html",
            caption="../docs/captions/report.rst",
            category="Report",
            labels={"crawl": "{crawl}", "figure": "The whole page"},
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
        config=digests("report_page"),
        about=ABOUT,
    message:
        "Report on {wildcards.crawl}"
    shell:
        'python -m laion_hpc report "$(dirname {output.page:q})" --config {params.file:q}'
        ' --output {output.page:q} --figures "$(dirname {output.page:q})"/report > {log:q} 2>&1'


# Over all crawls, if there are several: links to their parts, no copies.
rule release_together:
    input:
        manifests=[
            f"{RESULTS}/{crawl}/release/manifest.json" for crawl in CONFIG.crawls
        ],
    output:
        manifest=f"{RESULTS}/release/manifest.json",
    log:
        f"{RESULTS}/logs/release.log",
    benchmark:
        f"{RESULTS}/benchmarks/release.tsv"
    conda:
        "../envs/cpu.yaml"
    threads: 4
    resources:
        mem_mb=growing(16_000),
        runtime=longer(240),
    params:
        file=CONFIG_FILE,
        config=digests("release_together"),
        about=ABOUT,
    message:
        "Describe the dataset of all crawls"
    shell:
        "mapfile -t folders < <(dirname {input.manifests:q}); "
        'python -m laion_hpc release together "${{folders[@]}}" --config {params.file:q}'
        ' --processes {threads} --output "$(dirname {output.manifest:q})" > {log:q} 2>&1'


rule release_all:
    input:
        [f"{RESULTS}/{crawl}/release/manifest.json" for crawl in CONFIG.crawls],
        rules.release_together.output if len(CONFIG.crawls) > 1 else [],
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
