# download: the links of one block -> images in tar shards, on nodes that reach the internet.
#
# Needs:  shuffle/BLOCK.parquet.
# Makes:  download/BLOCK/ with a tar, a parquet and statistics per shard; manifest.json last.
#         A take-down in the block runs this again: it rewrites shards and fetches nothing.
# How:    fetches with trio and httpx, decodes in worker processes; goes on by shard after a kill.
rule download:
    input:
        links=rules.shuffle.output.parquet,
    output:
        manifest=f"{RUN}/download/{{block}}/manifest.json",
    log:
        f"{RUN}/logs/download/{{block}}.log",
    benchmark:
        f"{RUN}/benchmarks/download/{{block}}.tsv"
    conda:
        "../envs/cpu.yaml"
    threads: 8
    resources:
        mem_mb=growing(8_000),
        runtime=longer(1_440),
    params:
        file=CONFIG_FILE,
        config=digests("download"),
        takedown=taken_down,
    message:
        "Download block {wildcards.block} of {wildcards.crawl}"
    shell:
        "python -m laion_hpc download {input.links:q} --config {params.file:q}"
        ' --processes {threads} --output "$(dirname {output.manifest:q})" > {log:q} 2>&1'


rule download_all:
    input:
        blocks(f"{RUN}/download/{{block}}/manifest.json"),
    message:
        "All blocks are downloaded"
