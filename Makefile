# Every target works from a fresh clone: the ones that need the environment make it first (tools/setup).
# A second run finds it whole in about a second and goes straight to work.

SHELL := /bin/bash
.DEFAULT_GOAL := help
VENV := .venv
RUN := $(VENV)/bin/python
# Handed to tools/demo.py, e.g. make demo DEMO_ARGS='--epochs 60'
DEMO_ARGS ?=
# Handed to pytest, e.g. make test TEST_ARGS='-k geometry -x'
TEST_ARGS ?=
# Handed to tools/benchmark.py, e.g. make bench BENCH_ARGS='--root data/nuscenes --page docs/performance.md'
BENCH_ARGS ?=
# Handed to pytest, e.g. make faults FAULTS_ARGS='-k token_cache'
FAULTS_ARGS ?=
# How long `make fuzz` takes for each of its three readers.
FUZZ_SECONDS ?= 60
# Test processes; each computes with one thread, so together they use what a laptop has.
TEST_WORKERS ?= 2

# Any Python from 3.8 on can run the set-up; it looks for the 3.10-3.12 that the environment is made with. A name on the
# PATH may be a shim of a version that is not installed, so each is tried.
BOOTSTRAP = $(firstword $(foreach name,$(PYTHON) python3.11 python3.12 python3.10 python3 python, \
	$(shell $(name) -c 'import sys; sys.exit(sys.version_info < (3, 8))' >/dev/null 2>&1 && echo $(name))))

.PHONY: help setup demo bench test test-slow faults fuzz lint format clean clean-venv

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 14

setup:  ## make .venv with everything in it (PYTHON=... to name an interpreter)
	@python=$(firstword $(BOOTSTRAP)); \
	if [ -z "$$python" ]; then \
		echo "No Python 3.8 or newer was found. Install Python 3.11 with its venv module and headers, or name one: make setup PYTHON=/path/to/python3.11" >&2; \
		exit 1; \
	fi; \
	PYTHON='$(PYTHON)' "$$python" -m tools.setup

demo: setup  ## the main job: data, training, test, pictures, into work_dirs/demo (DEMO_ARGS=...)
	$(RUN) tools/demo.py $(DEMO_ARGS)

bench: setup  ## what the parts cost on this machine, in about ten minutes on a CPU (BENCH_ARGS=...)
	$(RUN) tools/benchmark.py all $(BENCH_ARGS)

test: lint  ## lint, then all tests but the slow ones (TEST_ARGS=..., TEST_WORKERS=2)
	OMP_NUM_THREADS=1 $(RUN) -m pytest -m 'not slow' -n $(TEST_WORKERS) \
		--faults-check=docs/troubleshooting.md $(TEST_ARGS)

test-slow: setup  ## the slow tests alone: minutes each
	$(RUN) -m pytest -m slow $(TEST_ARGS)

faults: setup  ## attack it: bad input, kills, full disks; ends with a table of what was seen (FAULTS_ARGS=...)
	OMP_NUM_THREADS=1 $(RUN) -m pytest tests/faults -n $(TEST_WORKERS) --faults-json=work_dirs/faults.json \
		--faults-check=docs/troubleshooting.md $(FAULTS_ARGS)

fuzz: setup  ## coverage-guided fuzzing of the readers of files from elsewhere (FUZZ_SECONDS=60 each)
	@$(RUN) -c 'import atheris' 2>/dev/null || { echo "make fuzz needs atheris: $(RUN) -m pip install '.[fuzz]'" >&2; exit 1; }
	for reader in questions token_cache info_file; do \
		OMP_NUM_THREADS=1 $(RUN) tests/fuzz/fuzz_readers.py $$reader --seconds $(FUZZ_SECONDS) || exit 1; \
	done

lint: setup  ## ruff and mypy
	$(RUN) -m ruff check .
	$(RUN) -m mypy

format: setup  ## let ruff sort imports and repair what it can
	$(RUN) -m ruff check --fix .

clean:  ## remove caches of Python and of the checkers; never data, results or the environment
	find configs projects tests tools -type d -name __pycache__ -prune -exec rm -rf {} +
	rm -rf .pytest_cache .mypy_cache .ruff_cache build projects/*.egg-info

clean-venv:  ## remove .venv (built wheels stay in the cache outside the repository)
	rm -rf $(VENV)
