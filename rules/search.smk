# search: serve the index of the first crawl on this machine, until Ctrl-C.
#
# Needs:  index/ of the crawl.
# Makes:  no file; a page on http://127.0.0.1:8080. The service needs no workflow:
#         `laion-hpc search results/CRAWL/index` is the same.
# How:    the index, its metadata and the embeddings that rank its results are memory-mapped;
#         thumbnails come from the filtered shards.
localrules:
    search,


rule search:
    input:
        evaluation=f"{RESULTS}/{CONFIG.crawls[0]}/index/evaluation.json",
        metadata=blocks(f"{RUN}/index/metadata/{{block}}.arrow", CONFIG.crawls[0]),
    log:
        f"{RESULTS}/{CONFIG.crawls[0]}/logs/search.log",
    benchmark:
        f"{RESULTS}/{CONFIG.crawls[0]}/benchmarks/search.tsv"
    conda:
        "../envs/cpu.yaml"
    threads: 2
    resources:
        mem_mb=16_000,
        runtime=1_440,
    params:
        file=CONFIG_FILE,
        index=lambda wildcards, input: Path(input.evaluation).parent,
        images=blocks(f"{RUN}/filter/{{block}}", CONFIG.crawls[0]),
        embeddings=blocks(f"{RUN}/embed/{{block}}", CONFIG.crawls[0]),
    message:
        "Search {params.index}"
    shell:
        "python -m laion_hpc search {params.index:q} --images {params.images:q}"
        " --embeddings {params.embeddings:q} --config {params.file:q} 2>&1 | tee {log:q}"
