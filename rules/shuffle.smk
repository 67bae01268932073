# shuffle: one block of every segment -> deduplicated, hosts mixed, cut into shards.
#
# Needs:  all segments of the crawl; the Bloom filters of this block in earlier crawls.
# Makes:  shuffle/BLOCK.parquet, row group s = shard s, its ledger, and its own Bloom filter.
# How:    reads row group BLOCK of every segment: the same URL is always in the same block, so
#         what is unique here is unique in the whole crawl.
rule shuffle:
    input:
        segments=lambda wildcards: [
            f"{RESULTS}/{wildcards.crawl}/extract/{segment}.parquet"
            for segment in LOCKS[wildcards.crawl].segments
        ],
        seen=seen_before,
        blocked=CONFIG.shuffle.blocked_url_hashes or [],
    output:
        parquet=f"{RUN}/shuffle/{{block}}.parquet",
        ledger=f"{RUN}/shuffle/{{block}}.ledger.json",
        seen=f"{RUN}/shuffle/{{block}}.seen",
    log:
        f"{RUN}/logs/shuffle/{{block}}.log",
    benchmark:
        f"{RUN}/benchmarks/shuffle/{{block}}.tsv"
    conda:
        "../envs/cpu.yaml"
    threads: 2
    resources:
        mem_mb=growing(8_000),
        runtime=longer(60),
    params:
        file=CONFIG_FILE,
        config=digests("shuffle"),
        before=lambda wildcards, input: [f"--seen-before={path}" for path in input.seen],
    message:
        "Shuffle block {wildcards.block} of {wildcards.crawl}"
    shell:
        "python -m laion_hpc shuffle {input.segments:q} --crawl {wildcards.crawl:q}"
        " --block {wildcards.block} {params.before:q} --seen-after {output.seen:q}"
        " --config {params.file:q} --output {output.parquet:q} > {log:q} 2>&1"


rule shuffle_all:
    input:
        blocks(f"{RUN}/shuffle/{{block}}.ledger.json"),
    message:
        "All blocks are shuffled"
