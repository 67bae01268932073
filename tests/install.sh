#!/usr/bin/env bash
# Install on Debian or Ubuntu, as root, what some tests need: a SLURM and a browser. Starts no
# service. Elsewhere it does nothing and says so; those tests are then skipped.
set -euo pipefail
packages=(slurmctld slurmd slurm-client slurmdbd munge mariadb-server chromium)
missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q "ok installed" || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "not installed: ${missing[*]} (needs Debian or Ubuntu, as root); the tests that use them are skipped"
  exit 0
fi

# Debian starts what it installs. Answer 101 ("forbidden by policy") forbids it while apt runs;
# a policy that the machine already has stays as it is.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' > "$policy"
  chmod 755 "$policy"
  trap 'rm -f "$policy"' EXIT
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# Packages that this release does not have (chromium on Ubuntu) cost their tests, not the others.
apt-get install -o DPkg::Lock::Timeout=300 -y -qq --no-install-recommends "${missing[@]}" >/dev/null ||
  echo "could not install ${missing[*]}; the tests that use them are skipped"
