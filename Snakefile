# From Common Crawl to a searchable image-text dataset. `snakemake -n` shows what would be done.
#
#   snakemake --profile profiles/local                      here, on all cores
#   snakemake --profile slurm                               on a SLURM cluster
#   snakemake --profile slurm dataset | index | report      one product
#   snakemake --profile slurm filter_all                    everything up to one stage
#   snakemake -n results/CC-MAIN-2024-10/filter/0007/manifest.json    one block of one stage
#
# Which dataset: --configfile config/mine.yaml (default: config/config.yaml). How it is cut: see
# docs/design.md. All paths are decided here and in rules/, never in the package.
from snakemake.utils import min_version

min_version("9.19")

if not config:

    configfile: "config/config.yaml"


include: "rules/common.smk"
include: "rules/extract.smk"
include: "rules/shuffle.smk"
include: "rules/download.smk"
include: "rules/filter.smk"
include: "rules/embed.smk"
include: "rules/tag.smk"
include: "rules/index.smk"
include: "rules/release.smk"
include: "rules/search.smk"


rule all:
    default_target: True
    input:
        rules.dataset.input,
        rules.index.input,
        rules.report.input,
    message:
        "The whole dataset is there: release, index and report"
