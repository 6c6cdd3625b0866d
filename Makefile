# Pointsman. `make help` lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON_VERSION := 3.13
UV_VERSION := 0.13.9
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
TOOLS := .tools
FOUND_UV := $(shell command -v uv 2>/dev/null)
UV := $(if $(FOUND_UV),$(FOUND_UV),$(CURDIR)/$(TOOLS)/bin/uv)

DEMO_ARGS ?=
UP_ARGS ?=
BENCH_ARGS ?=
PYTEST_ARGS ?=
CHAOS_ARGS ?=
PACKAGES := pointsman.contracts pointsman.client pointsman.services pointsman.cli pointsman.tui
HAS_TUI := $(wildcard tui/pointsman/tui/__init__.py)
TYPED := $(foreach package,$(if $(HAS_TUI),$(PACKAGES),$(filter-out pointsman.tui,$(PACKAGES))),-p $(package))

.PHONY: help install demo up test check format bench chaos sim sim-health captures lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(INSTALLED) ## make .venv with the locked dependencies and the project

demo: $(INSTALLED) ## run everything on real input (DEMO_ARGS=--exit ends it)
	@$(BIN)/pointsman demo $(DEMO_ARGS)

up: $(INSTALLED) ## run everything on this machine (UP_ARGS="--port 0")
	@$(BIN)/pointsman up $(UP_ARGS)

check: $(INSTALLED) ## format, lint, types, imports
	@$(BIN)/ruff format --check contracts services tui tests deploy
	@$(BIN)/ruff check contracts services tui tests deploy
	@$(BIN)/mypy $(TYPED)
	@$(BIN)/lint-imports

test: check ## check, then every test but the long ones
	@$(BIN)/python -m pytest tests --ignore=tests/benchmarks --ignore=tests/chaos/long -n 3 --dist loadfile --max-worker-restart=0 $(PYTEST_ARGS)

format: $(INSTALLED) ## format and fix what can be fixed
	@$(BIN)/ruff format contracts services tui tests deploy
	@$(BIN)/ruff check --fix contracts services tui tests deploy

bench: $(INSTALLED) ## throughput and latency through REST
	@$(BIN)/python -m tests.benchmarks.rest $(BENCH_ARGS)

chaos: $(INSTALLED) ## kill, freeze and cut off under load (CHAOS_ARGS="--attempts 1000000")
	@$(BIN)/python -m tests.chaos.long.storm $(CHAOS_ARGS)

sim: $(INSTALLED) ## compare the balancing algorithms in simulation
	@$(BIN)/python -m tests.simulation

sim-health: $(INSTALLED) ## the health machine over a day of virtual time
	@$(BIN)/python -m tests.simulation.health

captures: $(INSTALLED) ## draw the README's pictures anew, from a running system
	@$(BIN)/python -m tests.benchmarks.cockpit_live --servers 40 --rate 60 --captures tui/captures

lock: $(UV) ## write requirements.lock anew
	@$(UV) pip compile --universal --generate-hashes --no-emit-index-url --python-version 3.12 \
	  --all-extras --group dev --no-header --quiet -o requirements.lock pyproject.toml

clean: ## remove what install and tests made
	rm -rf $(VENV) $(TOOLS) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(INSTALLED): requirements.lock pyproject.toml | $(UV)
	@$(UV) venv --quiet --allow-existing --python $(PYTHON_VERSION) $(VENV)
	@VIRTUAL_ENV=$(CURDIR)/$(VENV) $(UV) pip sync --quiet --require-hashes requirements.lock
	@VIRTUAL_ENV=$(CURDIR)/$(VENV) $(UV) pip install --quiet --no-deps --editable .
	@touch $@

# uv, when it is not on PATH: from PyPI, into a folder of its own, with whatever way of installing this Python allows.
$(CURDIR)/$(TOOLS)/bin/uv:
	@mkdir -p $(TOOLS)
	@if python3 -m pip install --quiet --disable-pip-version-check --no-warn-script-location \
	    --target $(TOOLS) uv==$(UV_VERSION) >$(TOOLS)/pip.log 2>&1 && test -x $@; then :; \
	elif python3 -m venv $(TOOLS)/venv >>$(TOOLS)/pip.log 2>&1 \
	    && $(TOOLS)/venv/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION) >>$(TOOLS)/pip.log 2>&1; then \
	  mkdir -p $(TOOLS)/bin && ln -sf ../venv/bin/uv $@; \
	else \
	  cat $(TOOLS)/pip.log >&2; \
	  echo "make: uv could not be fetched: Python 3 needs pip or venv (Debian: apt install python3-venv)," >&2; \
	  echo "make: or install uv yourself: https://docs.astral.sh/uv/" >&2; \
	  exit 1; \
	fi
