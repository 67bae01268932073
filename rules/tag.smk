# tag: scores per sample from heads on the embeddings of one block.
#
# Needs:  embed/BLOCK/.
# Makes:  tag/BLOCK.parquet, one column per head, and its ledger.
# How:    small networks in numpy: a million embeddings a minute and core, no GPU needed.
rule tag:
    input:
        embeddings=rules.embed.output.manifest,
        shards=rules.filter.output.manifest,
    output:
        parquet=f"{RUN}/tag/{{block}}.parquet",
        ledger=f"{RUN}/tag/{{block}}.ledger.json",
    log:
        f"{RUN}/logs/tag/{{block}}.log",
    benchmark:
        f"{RUN}/benchmarks/tag/{{block}}.tsv"
    conda:
        "../envs/gpu.yaml"
    threads: 4
    resources:
        mem_mb=growing(8_000),
        runtime=longer(240),
    params:
        file=CONFIG_FILE,
        config=digests("tag"),
    message:
        "Tag block {wildcards.block} of {wildcards.crawl}"
    shell:
        'python -m laion_hpc tag "$(dirname {input.embeddings:q})"'
        ' --images "$(dirname {input.shards:q})" --config {params.file:q} --processes {threads}'
        " --output {output.parquet:q} > {log:q} 2>&1"


rule tag_all:
    input:
        blocks(f"{RUN}/tag/{{block}}.ledger.json"),
    message:
        "All blocks are tagged"
