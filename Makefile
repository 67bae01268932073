# make demo runs the whole pipeline on a synthetic web. make test runs the checks and the tests.
PYTHON ?=
VENV ?= .venv
BIN := $(VENV)/bin

# Tests run side by side in this many processes.
JOBS ?= 2
COVERAGE ?=
PYTEST := $(BIN)/python -m pytest --durations=15 $(if $(COVERAGE),--cov=laion_hpc --cov-report=term:skip-covered)
BESIDE := --numprocesses $(JOBS) --dist loadgroup

.PHONY: help demo test test-fast test-all coverage conformance check lock docs format clean

help:
	@echo "make demo         run the whole pipeline on a synthetic web, on this machine"
	@echo "make test         checks and tests, with a SLURM and a browser (15 to 25 minutes)"
	@echo "make test-fast    tests without SLURM, browser and demo (2 to 3 minutes)"
	@echo "make test-all     make test, then make conformance"
	@echo "make coverage     make test-fast, and the share of lines that it runs"
	@echo "make docs         the documentation as a site, in build/site"
	@echo "make lock         lock every package after a change of the pins (UPGRADE=1: newer versions)"
	@echo "make conformance  read the demo's results with datasets, img2dataset, clip-retrieval and others"
	@echo "make check        ruff, mypy, import-linter, snakefmt, snakemake --lint"
	@echo "make format       format Python and Snakemake files"
	@echo "make clean        remove what demo and tests made (results/demo, build/)"

demo: $(VENV)/.installed-cpu
	@$(BIN)/laion-hpc demo run

# As root on Debian the tests run on a real SLURM too, installed here and started by the tests.
test: $(VENV)/.installed-test check
	@tests/install.sh
	$(PYTEST) $(BESIDE) -m "not cluster"
	$(PYTEST) -m cluster

test-fast: $(VENV)/.installed-test
	$(PYTEST) $(BESIDE) -m "not cluster and not browser and not demo and not slow"

test-all: test conformance

coverage:
	$(MAKE) test-fast COVERAGE=1

# Heavy: makes 6 GB of environments under build/conformance and keeps them.
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

# A change of the pins installs again.
$(VENV)/bin/python:
	PYTHON="$(PYTHON)" scripts/make_venv.sh $(VENV)

# The locks fix every file by its hash. The wheels of torch differ by machine: it has a version only.
$(VENV)/.installed-%: pyproject.toml locks/%.txt locks/torch.txt $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --require-hashes --no-deps --requirement locks/$*.txt
	$(BIN)/python -m pip install --quiet --requirement locks/torch.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

# After a change of the pins in pyproject.toml.
lock: $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet uv==0.13.9
	UV=$(BIN)/uv scripts/lock.sh $(if $(UPGRADE),--upgrade)

# The site has its own environment. mkdocs reads the docstrings without importing the package.
docs: build/docs-env/.installed
	build/docs-env/bin/mkdocs build --strict

build/docs-env/.installed: locks/docs.txt
	PYTHON="$(PYTHON)" scripts/make_venv.sh build/docs-env
	build/docs-env/bin/python -m pip install --quiet --require-hashes --no-deps --requirement locks/docs.txt
	@touch $@
