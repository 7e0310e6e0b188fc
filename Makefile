# Everything a person or CI does here. `make demo` and `make test` need git, make, Python 3.11 and a package registry.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
BESIDE = $(shell $(PYTHON) -c 'import os; print(os.cpu_count() + 1)')
# Tests and farms start hundreds of interpreters, which would compile torch anew each time where this is set.
unexport PYTHONDONTWRITEBYTECODE

# Each needs servers of its own (Debian's packages); random_faults.py runs for DRFARM_FAULT_MINUTES (60).
FAULTS := $(wildcard tests/faults/s3_*.py tests/faults/network.py tests/faults/slurm_study.py tests/faults/random_faults.py)

.PHONY: help install demo test format lint types layers tests bench faults docs clean

help:
	@echo "make demo   install what is needed, then measure a small network on scanned digits"
	@echo "make test   everything CI checks: format, lint, types, layers, tests"
	@echo "make faults real servers and real faults for more than an hour; ONLY=tests/faults/X.py for one (docs/faults.md)"
	@echo "make docs   the docs site, into site/"
	@echo "make bench  speeds, each beside its baseline of the same run (docs/performance.md)"

install: .venv/.installed

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -c constraints.txt -e '.[dev]'
	@touch $@

demo: install
	$(BIN)/drfarm demo

test: format lint types layers tests

format: install
	$(BIN)/ruff format --check .

lint: install
	$(BIN)/ruff check .

types: install
	$(BIN)/mypy

layers: install
	$(BIN)/lint-imports --no-logo

# Tests of farms wait for their processes, so one more than there are cores; and one thread in each: threads of several
# processes that wait for each other would take twice the time.
tests: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(BESIDE) --dist loadfile --no-loadscope-reorder

bench: install
	$(BIN)/python tests/benchmarks/run.py $(ONLY)

faults: install
	$(BIN)/python -m pytest -s $(or $(ONLY),$(FAULTS))

docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:
	rm -rf .venv demo site .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build dist
