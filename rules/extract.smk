# extract: WAT files -> candidate image links, one job per segment.
#
# Needs:  the crawl's lock file (its WATs are read from the network or a local folder).
# Makes:  extract/SEGMENT.parquet, row group b = block b, and its ledger.
# How:    processes, or MPI ranks where the profile sets `launcher`, take WATs from a queue; each
#         finished WAT survives a kill.
rule extract:
    input:
        lock=f"{CONFIG.crawl_folder}/{{crawl}}.json",
    output:
        parquet=f"{RUN}/extract/{{segment}}.parquet",
        ledger=f"{RUN}/extract/{{segment}}.ledger.json",
    log:
        f"{RUN}/logs/extract/{{segment}}.log",
    benchmark:
        f"{RUN}/benchmarks/extract/{{segment}}.tsv"
    conda:
        "../envs/cpu.yaml"
    threads: 8
    resources:
        mem_mb=growing(8_000),
        runtime=longer(240),
        launcher="",
    params:
        file=CONFIG_FILE,
        config=digests("extract"),
    message:
        "Extract the image links of segment {wildcards.segment}"
    shell:
        "{resources.launcher} python -m laion_hpc extract --lock {input.lock:q}"
        " --segment {wildcards.segment:q} --config {params.file:q} --processes {threads}"
        " --output {output.parquet:q} > {log:q} 2>&1"


rule extract_all:
    input:
        segments(f"{RUN}/extract/{{segment}}.ledger.json"),
    message:
        "All segments are extracted"
