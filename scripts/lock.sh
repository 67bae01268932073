#!/usr/bin/env bash
# Lock what is installed: every package that an extra brings, with the hashes of its files.
#
#   scripts/lock.sh             make locks/*.txt from pyproject.toml, keeping versions that still fit
#   scripts/lock.sh --upgrade   the same with the newest versions that fit
#
# torch and torchvision have other wheels on other machines (CPU, CUDA, ROCm): locks/torch.txt has
# their exact versions, without hashes.
set -euo pipefail
cd "$(dirname "$0")/.."
uv=${UV:-uv}
lock() { # NAME SOURCE…
  local name=$1
  shift
  "$uv" pip compile "$@" "${options[@]}" --quiet --universal --python-version 3.11 \
    --generate-hashes --no-emit-package torch --no-emit-package torchvision \
    --no-emit-index-url --no-emit-find-links --no-annotate --no-header -o "locks/$name.txt"
}
options=("$@")
mkdir -p locks
lock cpu pyproject.toml --extra cpu
lock gpu pyproject.toml --extra gpu
lock test pyproject.toml --extra cpu --extra test
lock docs --group docs
# What a rule's environment is made from is told in its file: Snakemake looks at nothing else.
stamp() { # NAME
  for lock in "locks/$1.txt" locks/torch.txt; do
    sum=$(sha256sum "$lock" | cut -d' ' -f1)
    sed -i "s|^# $lock: sha256 .*|# $lock: sha256 $sum|" "envs/$1.yaml"
  done
}
sed -n 's/^ *"\(torch\(vision\)\{0,1\}==[^"]*\)",$/\1/p' pyproject.toml > locks/torch.txt
stamp cpu
stamp gpu
