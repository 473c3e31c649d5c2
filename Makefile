# Every verb of the project. Each target first makes .venv (python3.11 or later and a network are all it wants);
# the stamp makes the second time quick. ARGS="…" goes to the program behind a target, URL=… names a broker.

VENV  := .venv
PY    := $(VENV)/bin/python
STAMP := $(VENV)/.installed
URL   ?=
ARGS  ?=

# The real brokers that tests run against, as Debian and Ubuntu call them.
BROKERS := prosody lua-dbi-sqlite3 ejabberd erlang-os-mon erlang-p1-sqlite3 sqlite3

.DEFAULT_GOAL := help
.PHONY: help venv brokers demo test lint format types bench docs fuzz proof examples acceptance wheel clean

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

# A server that nobody asked for must not listen to the world: policy-rc.d keeps apt from starting what it installs now,
# update-rc.d from starting it at the next boot. Only for what was not there before; a server that somebody runs is left alone.
brokers:  ## install the real brokers that tests run against (Debian, Ubuntu; nothing to do where they are there)
	@set -e; \
	missing=; \
	for package in $(BROKERS); do \
	  [ "$$(dpkg-query -W -f '$${db:Status-Status}' $$package 2>/dev/null)" = installed ] || missing="$$missing $$package"; \
	done; \
	[ -n "$$missing" ] || exit 0; \
	command -v apt-get >/dev/null || { \
	  echo "no apt-get here: install Prosody 0.12 with lua-dbi (SQLite), and ejabberd 23 with p1_sqlite3, by other means;"; \
	  echo "without them, $(PY) -m pytest skips the tests that need them, and says so"; exit 2; }; \
	as_root=; \
	if [ "$$(id -u)" != 0 ]; then \
	  command -v sudo >/dev/null || { echo "not root, and no sudo: have root say apt-get install$$missing"; exit 2; }; \
	  as_root=sudo; \
	fi; \
	echo "installing$$missing"; \
	policy=/usr/sbin/policy-rc.d; \
	if [ ! -e $$policy ]; then \
	  trap '$$as_root rm -f '$$policy EXIT; \
	  printf '#!/bin/sh\nexit 101\n' | $$as_root tee $$policy >/dev/null; \
	  $$as_root chmod 755 $$policy; \
	fi; \
	$$as_root apt-get update -q; \
	$$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $$missing; \
	for daemon in prosody ejabberd; do \
	  case "$$missing " in *" $$daemon "*) $$as_root update-rc.d $$daemon disable || true;; esac; \
	done

test: $(STAMP) brokers  ## run every test; ARGS="tests/wire -k escape" for some
	UNIMSG_REQUIRE_BROKERS=1 $(PY) -m pytest -q $(ARGS)

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
