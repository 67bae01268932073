# index: a kNN index over the image embeddings of a crawl, searched from disk.
#
# Needs:  embed/ and tag/ of all blocks.
# Makes:  index/ with the index, its metadata, its evaluation: a folder that `search` serves.
# How:    train on a sample of all blocks -> add each block by itself -> merge on disk -> measure
#         recall against exact search.
localrules:
    index_settings,


# What the training depends on besides the embeddings themselves. `index_train` ignores the age of
# the embeddings, and Snakemake then ignores its params as well if embeddings are made in the same
# run. This file is an input like any other, so a change trains again in the run that makes it.
rule index_settings:
    output:
        settings=f"{RUN}/index/settings.txt",
    log:
        f"{RUN}/logs/index/settings.log",
    benchmark:
        f"{RUN}/benchmarks/index/settings.tsv"
    conda:
        "../envs/cpu.yaml"
    threads: 1
    resources:
        runtime=10,
    params:
        config=digests("index_train"),
        segments=own_segments,
    message:
        "Write down what the index of {wildcards.crawl} is trained for"
    shell:
        "printf '%s\\n' {params.config:q} 'segments '{params.segments:q}"
        " > {output.settings:q} 2> {log:q}"


rule index_train:
    input:
        settings=rules.index_settings.output.settings,
        # A take-down does not rerun this: the cells come from thousands of vectors and stay good
        # without a few of them.
        embeddings=ancient_of_crawl(f"{RUN}/embed/{{block}}/manifest.json"),
    output:
        index=f"{RUN}/index/trained.index",
        ledger=f"{RUN}/index/trained.ledger.json",
    log:
        f"{RUN}/logs/index/train.log",
    benchmark:
        f"{RUN}/benchmarks/index/train.tsv"
    conda:
        "../envs/gpu.yaml"
    threads: 8
    resources:
        mem_mb=growing(64_000),  # LAION-5B's own key: 43 GB
        runtime=longer(1_440),
    params:
        file=CONFIG_FILE,
        config=digests("index_train"),
        modality="image",
    message:
        "Train the index of {wildcards.crawl}"
    shell:
        "mapfile -t folders < <(dirname {input.embeddings:q}); "
        'python -m laion_hpc index train "${{folders[@]}}" --modality {params.modality}'
        " --config {params.file:q} --processes {threads} --output {output.index:q} > {log:q} 2>&1"


rule index_add:
    input:
        trained=rules.index_train.output.index,
        embeddings=rules.embed.output.manifest,
    output:
        index=f"{RUN}/index/blocks/{{block}}.index",
        ledger=f"{RUN}/index/blocks/{{block}}.ledger.json",
    log:
        f"{RUN}/logs/index/add-{{block}}.log",
    benchmark:
        f"{RUN}/benchmarks/index/add-{{block}}.tsv"
    conda:
        "../envs/cpu.yaml"
    threads: 8
    resources:
        mem_mb=growing(32_000),
        runtime=longer(240),
    params:
        file=CONFIG_FILE,
        config=digests("index_add"),
    message:
        "Add block {wildcards.block} to the index of {wildcards.crawl}"
    shell:
        'python -m laion_hpc index add {input.trained:q} "$(dirname {input.embeddings:q})"'
        " --block {wildcards.block} --config {params.file:q} --processes {threads} --output {output.index:q} > {log:q} 2>&1"


rule index_metadata:
    input:
        embeddings=rules.embed.output.manifest,
        tags=rules.tag.output.parquet,
    output:
        table=f"{RUN}/index/metadata/{{block}}.arrow",
    log:
        f"{RUN}/logs/index/metadata-{{block}}.log",
    benchmark:
        f"{RUN}/benchmarks/index/metadata-{{block}}.tsv"
    conda:
        "../envs/cpu.yaml"
    threads: 2
    resources:
        mem_mb=growing(16_000),
        runtime=longer(60),
    params:
        file=CONFIG_FILE,
        config=digests("index_metadata"),
    message:
        "Lay out the metadata of block {wildcards.block} for search"
    shell:
        'python -m laion_hpc index metadata "$(dirname {input.embeddings:q})" {input.tags:q}'
        " --block {wildcards.block} --config {params.file:q} --processes {threads} --output {output.table:q} > {log:q} 2>&1"


rule index_merge:
    input:
        trained=rules.index_train.output.index,
        blocks=of_crawl(f"{RUN}/index/blocks/{{block}}.index"),
    output:
        index=f"{RUN}/index/image.index",
        lists=f"{RUN}/index/image.ivfdata",
        places=f"{RUN}/index/image.places.npy",
        about=f"{RUN}/index/index.json",
        manifest=f"{RUN}/index/manifest.json",
    log:
        f"{RUN}/logs/index/merge.log",
    benchmark:
        f"{RUN}/benchmarks/index/merge.tsv"
    conda:
        "../envs/cpu.yaml"
    threads: 4
    resources:
        mem_mb=growing(32_000),
        runtime=longer(480),
    params:
        file=CONFIG_FILE,
        config=digests("index_merge"),
    message:
        "Merge the index of {wildcards.crawl} on disk"
    shell:
        "python -m laion_hpc index merge {input.trained:q} {input.blocks:q} --config {params.file:q} --processes {threads}"
        ' --output "$(dirname {output.index:q})" > {log:q} 2>&1'


rule index_evaluate:
    input:
        manifest=rules.index_merge.output.manifest,
        embeddings=of_crawl(f"{RUN}/embed/{{block}}/manifest.json"),
    output:
        evaluation=f"{RUN}/index/evaluation.json",
    log:
        f"{RUN}/logs/index/evaluate.log",
    benchmark:
        f"{RUN}/benchmarks/index/evaluate.tsv"
    conda:
        "../envs/cpu.yaml"
    threads: 8
    resources:
        mem_mb=growing(32_000),
        runtime=longer(1_440),
    params:
        file=CONFIG_FILE,
        config=digests("index_evaluate"),
    message:
        "Measure the recall of the index of {wildcards.crawl}"
    shell:
        "mapfile -t folders < <(dirname {input.embeddings:q}); "
        'python -m laion_hpc index evaluate "$(dirname {input.manifest:q})"'
        ' "${{folders[@]}}" --config {params.file:q} --processes {threads}'
        " --output {output.evaluation:q} > {log:q} 2>&1"


# The same for the texts, in the folder of the image index, only if the config asks for it.
use rule index_train as index_text_train with:
    output:
        index=f"{RUN}/index/text/trained.index",
        ledger=f"{RUN}/index/text/trained.ledger.json",
    log:
        f"{RUN}/logs/index/text-train.log",
    benchmark:
        f"{RUN}/benchmarks/index/text-train.tsv"
    params:
        file=CONFIG_FILE,
        config=digests("index_text_train"),
        modality="text",
    message:
        "Train the index of the texts of {wildcards.crawl}"


use rule index_add as index_text_add with:
    input:
        trained=rules.index_text_train.output.index,
        embeddings=rules.embed.output.manifest,
    output:
        index=f"{RUN}/index/text/blocks/{{block}}.index",
        ledger=f"{RUN}/index/text/blocks/{{block}}.ledger.json",
    log:
        f"{RUN}/logs/index/text-add-{{block}}.log",
    benchmark:
        f"{RUN}/benchmarks/index/text-add-{{block}}.tsv"
    message:
        "Add the texts of block {wildcards.block} to their index of {wildcards.crawl}"


use rule index_merge as index_text_merge with:
    input:
        trained=rules.index_text_train.output.index,
        blocks=of_crawl(f"{RUN}/index/text/blocks/{{block}}.index"),
    output:
        index=f"{RUN}/index/text/text.index",
        lists=f"{RUN}/index/text/text.ivfdata",
        places=f"{RUN}/index/text/text.places.npy",
        about=f"{RUN}/index/text/index.json",
        manifest=f"{RUN}/index/text/manifest.json",
    log:
        f"{RUN}/logs/index/text-merge.log",
    benchmark:
        f"{RUN}/benchmarks/index/text-merge.tsv"
    message:
        "Merge the index of the texts of {wildcards.crawl} on disk"


use rule index_evaluate as index_text_evaluate with:
    input:
        manifest=rules.index_text_merge.output.manifest,
        embeddings=of_crawl(f"{RUN}/embed/{{block}}/manifest.json"),
    output:
        evaluation=f"{RUN}/index/text/evaluation.json",
    log:
        f"{RUN}/logs/index/text-evaluate.log",
    benchmark:
        f"{RUN}/benchmarks/index/text-evaluate.tsv"
    message:
        "Measure the recall of the index of the texts of {wildcards.crawl}"


rule index_all:
    input:
        [f"{RESULTS}/{crawl}/index/evaluation.json" for crawl in CONFIG.crawls],
        [
            f"{RESULTS}/{crawl}/index/text/evaluation.json"
            for crawl in CONFIG.crawls
            if CONFIG.index.text
        ],
        blocks(f"{RUN}/index/metadata/{{block}}.arrow"),
    message:
        "The index is ready to be searched"


rule index:
    input:
        rules.index_all.input,
    message:
        "The index is ready to be searched"
