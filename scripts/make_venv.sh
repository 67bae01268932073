#!/bin/sh
# Make a virtual environment with a Python that all pinned packages have wheels for.
# Usage: scripts/make_venv.sh FOLDER
set -eu
folder=$1

usable() { # a Python 3.11 to 3.13 that can make environments
    "$1" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null
}

find_python() {
    for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.11; do
        if command -v "$candidate" >/dev/null 2>&1 && usable "$candidate"; then
            echo "$candidate"
            return
        fi
    done
}

python=$(find_python)
if [ -z "$python" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    # Debian and Ubuntu ship Python without what makes environments.
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv >/dev/null
    python=$(find_python)
fi
if [ -n "$python" ]; then
    "$python" -m venv "$folder"
else
    echo "laion_hpc needs Python 3.11 to 3.13 with the venv module: sudo apt-get install python3-venv" >&2
    exit 1
fi
"$folder/bin/python" -m pip install --quiet --upgrade pip
