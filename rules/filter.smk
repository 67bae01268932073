# filter: the pairs of one block that CLIP finds alike, repacked into full shards, on GPUs.
#
# Needs:  download/BLOCK/.
# Makes:  filter/BLOCK/ with scores of all samples, shards of the kept ones; manifest.json last.
# How:    ViT-B/32 for English, multilingual CLIP for the rest; a changed threshold needs no GPU.
#         keep.candidate_images: false: removes download/BLOCK/*.tar once its output is verified.
rule filter:
    input:
        shards=rules.download.output.manifest,
    output:
        manifest=f"{RUN}/filter/{{block}}/manifest.json",
    log:
        f"{RUN}/logs/filter/{{block}}.log",
    benchmark:
        f"{RUN}/benchmarks/filter/{{block}}.tsv"
    # Before any further download: the images between download and filter are most of a run's bytes.
    priority: 10
    conda:
        "../envs/gpu.yaml"
    threads: 8
    resources:
        mem_mb=growing(16_000),
        runtime=longer(480),
        launcher="",
    params:
        file=CONFIG_FILE,
        config=digests("filter"),
    message:
        "Filter block {wildcards.block} of {wildcards.crawl}"
    shell:
        '{resources.launcher} python -m laion_hpc filter "$(dirname {input.shards:q})"'
        " --config {params.file:q} --processes {threads}"
        ' --output "$(dirname {output.manifest:q})" > {log:q} 2>&1'


rule filter_all:
    input:
        blocks(f"{RUN}/filter/{{block}}/manifest.json"),
    message:
        "All blocks are filtered"
