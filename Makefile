# make demo: the whole pipeline on a synthetic web. make test: everything that can be checked.
PYTHON ?=
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: help demo test conformance check format clean

help:
	@echo "make demo         run the whole pipeline on a synthetic web, on this machine"
	@echo "make test         run all tests"
	@echo "make conformance  the tools of the field on the demo's results, each in its own environment"
	@echo "make check        ruff, mypy, import-linter, snakefmt, snakemake --lint"
	@echo "make format       format Python and Snakemake files"
	@echo "make clean        remove what demo and tests made (results/demo, build/)"

demo: $(VENV)/.installed-cpu
	@$(BIN)/laion-hpc demo run

# As root on Debian the tests run on a real SLURM too, installed here and started by the tests.
test: $(VENV)/.installed-test check
	@tests/install.sh
	$(BIN)/python -m pytest

# Heavy: 6 GB of environments under build/conformance, kept for the next time.
conformance: $(VENV)/.installed-cpu
	$(BIN)/python -m tests.conformance.run

check: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/snakemake --lint

format: $(VENV)/.installed-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile rules

clean:
	rm -rf results/demo build

# The environment is made again when the pins change, not before.
$(VENV)/bin/python:
	PYTHON="$(PYTHON)" scripts/make_venv.sh $(VENV)

# From the locks, every file by its hash; torch, whose wheels differ by machine, by its version.
$(VENV)/.installed-%: pyproject.toml locks/%.txt locks/torch.txt $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --require-hashes --no-deps --requirement locks/$*.txt
	$(BIN)/python -m pip install --quiet --requirement locks/torch.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

# After a change of the pins in pyproject.toml.
lock: $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet uv==0.13.9
	UV=$(BIN)/uv scripts/lock.sh $(if $(UPGRADE),--upgrade)

# The site, in an environment of its own; nothing of the package is imported.
docs: build/docs-env/.installed
	build/docs-env/bin/mkdocs build --strict

build/docs-env/.installed: locks/docs.txt
	PYTHON="$(PYTHON)" scripts/make_venv.sh build/docs-env
	build/docs-env/bin/python -m pip install --quiet --require-hashes --no-deps --requirement locks/docs.txt
	@touch $@
