#!/usr/bin/env bash
# Snakemake runs this in a new environment of gpu.yaml. The Snakefile tells where the locks are.
set -euo pipefail
locks=${LAION_HPC_LOCKS:?the folder locks/ of the repository}
python -m pip install --quiet --require-hashes --no-deps --requirement "$locks/gpu.txt"
python -m pip install --quiet --requirement "$locks/torch.txt"
