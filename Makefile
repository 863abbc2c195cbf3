# Every target does its own set-up: it works in a fresh clone on a machine with Python 3.11 or newer.
SHELL := /bin/bash
# Tests are compiled once, not by each of the processes that collect them.
unexport PYTHONDONTWRITEBYTECODE
BIN := .venv/bin
READY := .venv/.installed
PORT ?= 8000
# More than two cores can work: many tests wait for a server, a clock or a disk.
WORKERS ?= 4
# Only these have tests that measure time; to look for them in all files takes longer than some of them.
ALONE = $$(grep -rl --include='test_*.py' 'mark\.alone' tests)
# Frameworks that have an environment of their own, made by scripts/engines, and a folder of tests.
ENGINES = $(notdir $(patsubst %/,%,$(wildcard tests/engines/*/)))
# Each runs its folder of tests/engines; what that leaves out is given with it.
ENGINE_TESTS = set -e; for engine in $(ENGINES); do \
	if [ -f .venv-engines/$$engine/.installed ]; then .venv-engines/$$engine/bin/python -m pytest -q -n 2 --dist loadgroup $(1) tests/engines/$$engine; \
	else echo "tests/engines/$$engine left out: .venv-engines/$$engine could not be made" >&2; fi; done

.DEFAULT_GOAL := help
.PHONY: help demo demo-frameworks serve check fix test test-engines test-clients bench bench-batch bench-peers bench-release lint fast-tests bytecode services made-ahead load-generators lock clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' Makefile

demo: bytecode  ## train, pack, verify, push, serve, predict, refuse, release, roll back, drain (PORT=8000)
	@$(BIN)/python examples/demo.py --port $(PORT)

demo-frameworks: bytecode  ## XGBoost, PyTorch and Python of one's own, from training to prediction
	@scripts/engines torch
	@.venv-engines/torch/bin/python examples/frameworks.py

serve: bytecode  ## the same models, kept running with their page of documentation; Ctrl-C drains
	@$(BIN)/python examples/demo.py --port $(PORT) --keep

check: bytecode  ## format, lint, strict types, import contracts, fast tests: under two minutes
	$(BIN)/pytest -q -m "alone and not slow" $(ALONE)
	@$(MAKE) --no-print-directory --jobs 2 --output-sync lint fast-tests

fast-tests: $(READY)
	$(BIN)/pytest -q -n $(WORKERS) --dist loadgroup -m "not alone and not slow"

fix: $(READY)  ## fix format and lint, write the generated pages of docs/reference
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .
	$(BIN)/python scripts/reference.py

test: bytecode  ## all but test-clients and the rest of long tables, real services included: what CI runs
	@$(MAKE) --no-print-directory --jobs 2 --output-sync lint made-ahead
	$(BIN)/pytest -q -m "alone and not wide" $(ALONE)
	@$(call ENGINE_TESTS,-m "not slow")
	$(BIN)/pytest -q -n $(WORKERS) --dist loadgroup -m "not alone and not wide" --durations 10

test-engines: bytecode  ## long tables to the last row: boosters, and each framework in an environment of its own
	$(BIN)/pytest -q -m "alone and wide" $(ALONE)
	$(BIN)/pytest -q -n $(WORKERS) -m "wide and not alone" tests/batch tests/convert tests/deploy tests/guards tests/hub tests/pack tests/server/jobs tests/trust
	scripts/engines
	@$(call ENGINE_TESTS)

test-clients: bytecode  ## the clients people already have, each in an environment of its own
	scripts/clients
	LADING_CLIENTS=1 $(BIN)/pytest -q tests/clients tests/server/test_onnx_nodes.py

bench: bytecode load-generators  ## measure the server against references, in one run
	$(BIN)/python benchmarks --write

bench-release: bytecode services  ## measure what a new version costs by both release patterns, in real containers
	$(BIN)/python benchmarks/release.py --write

bench-batch: bytecode  ## measure offline scoring beside a bare loop, MLflow's spark_udf and pandas
	@scripts/services
	@scripts/engines spark || true
	$(BIN)/python benchmarks/batch.py --write

bench-peers: bytecode load-generators  ## measure the server beside MLServer, BentoML, LitServe and Triton
	$(BIN)/python benchmarks/peers.py --write

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# What pip does with each package that it installs, but not with one that it leaves where it is: without this,
# where PYTHONDONTWRITEBYTECODE is set, every process that is started would compile the whole of lading first.
bytecode: $(READY)
	@$(BIN)/python -m compileall -q src

load-generators:
	@command -v wrk >/dev/null && command -v h2load >/dev/null || scripts/apt-install wrk nghttp2-client

made-ahead: services
	@$(BIN)/python tests/support/images.py

services: $(READY)
	@scripts/services
	@scripts/assets
	@scripts/clients kubernetes gateway_api keda axe
	@# What cannot be installed here is left out, and named: by this line, and where its tests would run.
	@scripts/engines || true

lock: $(READY)  ## resolve requirements/*.txt again from pyproject.toml
	scripts/lock

clean:  ## remove what was built; the environment in .venv stays
	rm -rf src/lading/hub/static/packed build dist .demo .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache src/*.egg-info
	find src tests examples scripts -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): requirements/dev.txt pyproject.toml scripts/setup
	@PYTHON="$(PYTHON)" scripts/setup
