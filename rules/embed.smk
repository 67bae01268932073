# embed: CLIP embeddings of the images and texts of one block, on GPUs.
#
# Needs:  filter/BLOCK/.
# Makes:  embed/BLOCK/ in clip-retrieval's layout; manifest.json last.
# How:    one MPI rank per GPU where the profile sets `launcher`; goes on by shard after a kill.
rule embed:
    input:
        shards=rules.filter.output.manifest,
    output:
        manifest=f"{RUN}/embed/{{block}}/manifest.json",
    log:
        f"{RUN}/logs/embed/{{block}}.log",
    benchmark:
        f"{RUN}/benchmarks/embed/{{block}}.tsv"
    conda:
        "../envs/gpu.yaml"
    threads: 8
    resources:
        mem_mb=growing(16_000),
        runtime=longer(480),
        launcher="",
    params:
        file=CONFIG_FILE,
        config=digests("embed"),
    message:
        "Embed block {wildcards.block} of {wildcards.crawl}"
    shell:
        '{resources.launcher} python -m laion_hpc embed "$(dirname {input.shards:q})"'
        " --config {params.file:q} --processes {threads}"
        ' --output "$(dirname {output.manifest:q})" > {log:q} 2>&1'


rule embed_all:
    input:
        blocks(f"{RUN}/embed/{{block}}/manifest.json"),
    message:
        "All blocks are embedded"
