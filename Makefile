# Every verb of the project. Each target first makes .venv (python3.11 or later and a network are all it wants);
# the stamp makes the second time quick. ARGS="…" goes to the program behind a target, URL=… names a broker.

VENV  := .venv
PY    := $(VENV)/bin/python
STAMP := $(VENV)/.installed
URL   ?=
ARGS  ?=

.DEFAULT_GOAL := help
.PHONY: help venv demo test lint format types bench docs fuzz proof examples acceptance wheel clean

help:  ## show this
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' Makefile

venv: $(STAMP)  ## make .venv with the project and what its tests need

# The newest pip first: dependency groups need 25.1. A .venv that is there already is kept and brought up to date.
$(STAMP): pyproject.toml
	@set -e; \
	if [ ! -x $(PY) ]; then \
	  for python in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11; do \
	    if $$python -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then chosen=$$python; break; fi; \
	  done; \
	  [ -n "$$chosen" ] || { echo "unimsg needs Python 3.11 or later with venv: install one, or say make PYTHON=/path/to/python3"; exit 2; }; \
	  echo "making $(VENV) with $$($$chosen --version)"; \
	  $$chosen -m venv $(VENV); \
	fi
	@$(PY) -m pip install --quiet --upgrade 'pip>=25.1'
	@echo "installing unimsg and its development tools into $(VENV)"
	@$(PY) -m pip install --quiet --editable '.[all]' --group dev
	@touch $@

demo: $(STAMP)  ## replay a real trading morning; URL=… for another broker, ARGS="--rate 2000"
	@$(VENV)/bin/unimsg demo $(if $(URL),--url '$(URL)') $(ARGS)

test: $(STAMP)  ## run every test; ARGS="tests/wire -k escape" for some
	$(PY) -m pytest -q $(ARGS)

lint: $(STAMP)  ## ruff, its formatter, and the arrows between packages
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(VENV)/bin/lint-imports

format: $(STAMP)  ## let ruff mend what it can
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

types: $(STAMP)  ## mypy, strict, tests and examples too
	$(PY) -m mypy

docs: $(STAMP)  ## check the links and run the code blocks of README.md and docs/
	$(PY) -m pytest -q tests/house/test_docs.py $(ARGS)

examples: $(STAMP)  ## run every example on memory:// and sqlite://
	$(PY) -m pytest -q tests/examples $(ARGS)

acceptance: $(STAMP)  ## run the ten programs that fix the API against URL=… (memory:// if none)
	$(PY) tests/acceptance/run.py '$(or $(URL),memory://)' $(ARGS)

bench: $(STAMP)  ## measure; prints a table of medians and ratios
	@$(PY) -m pip install --quiet --group bench
	$(PY) -m tests.benchmarks $(ARGS)

fuzz: $(STAMP)  ## a million hostile stanzas
	$(PY) -m tests.fuzz $(ARGS)

proof: $(STAMP)  ## 100,000 messages through processes that are killed at random
	$(PY) -m pytest -q -s tests/proof $(ARGS)

wheel: $(STAMP)  ## build the wheel and the sdist into dist/
	$(PY) -m hatchling build

clean:  ## remove what was made, .venv too
	rm -rf $(VENV) dist build site .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .benchmarks
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
