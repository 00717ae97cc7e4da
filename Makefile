# make bench     set up, prepare models and pictures, run the benchmark through `ianvs`, print the leaderboard
# make mobility  the same with a trace: devices leave and return, links slow down
# make bench-llm the same for a language model that is trained first, compared by tokens
# make bench-workflows  workflows of several models, with accuracy and latency: small ones are trained first
# make test      set up, run the tests (without the slow ones; `make slow` runs those)
# make check     tests, lint, types, import contract
# make docs      check the generated pages, build the manual
# Finished steps are kept (.venv, .cache), so a second run starts without delay.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
BENCH  := examples/imagenet/multiedge_inference_bench
LLM    := examples/llm/multiedge_inference_bench
WORKFLOWS := examples/workflows/multiedge_inference_bench
SOURCES := core multiedge partitioners profilers examples tests benchmarks docs setup.py

.DEFAULT_GOAL := help
.PHONY: help setup prepare bench mobility bench-llm bench-workflows test test-parallel test-alone slow cover lint format types imports docs check clean

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

setup: $(VENV)/.ready-dev

# A failed set-up leaves no stamp, so the next run does it again. The benchmark does not wait for the tools of `make check`.
PIP := $(BIN)/python -m pip install --disable-pip-version-check

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed, this is " + sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade pip

$(VENV)/.ready-bench: setup.py | $(VENV)/bin/python
	$(PIP) -e '.[bench]'
	touch $@

$(VENV)/.ready-dev: setup.py $(VENV)/.ready-bench
	$(PIP) -e '.[bench,dev]'
	touch $@

prepare: $(VENV)/.ready-bench
	$(BIN)/python $(BENCH)/prepare.py

# `ianvs` adds to the leaderboard of earlier runs; here each run has its own.
bench: prepare
	rm -rf workspace/imagenet-compare
	$(BIN)/ianvs -f $(BENCH)/benchmarkingjob-compare.yaml

mobility: prepare
	rm -rf workspace/imagenet-mobility
	$(BIN)/ianvs -f $(BENCH)/benchmarkingjob-mobility.yaml

bench-llm: $(VENV)/.ready-bench
	$(BIN)/python $(LLM)/prepare.py
	rm -rf workspace/llm-compare
	$(BIN)/ianvs -f $(LLM)/benchmarkingjob.yaml

bench-workflows: $(VENV)/.ready-bench
	$(BIN)/python $(WORKFLOWS)/prepare.py
	rm -rf workspace/workflows-compare
	$(BIN)/ianvs -f $(WORKFLOWS)/benchmarkingjob.yaml

test: test-parallel test-alone

# What does not depend on how busy the machine is runs in parallel, a file at a time, long ones first. Pipelines and meters have
# the machine to themselves.
INTEGRATION := $(addprefix tests/integration/,test_docs.py backends test_measured_choice.py test_variants.py onnx_io examples core ianvs partitioners report test_plugins.py)
PARALLEL := $(INTEGRATION) tests/property tests/unit

test-parallel: setup
	$(BIN)/pytest -m 'not slow' -n auto --dist loadfile $(PARALLEL) $(ARGS)

test-alone: setup
	$(BIN)/pytest -m 'not slow' $(addprefix --ignore=,$(PARALLEL)) $(ARGS)

# pytest ends with 5 if nothing is marked slow.
slow: setup
	$(BIN)/pytest -m slow $(ARGS) || test $$? -eq 5

cover: setup
	$(BIN)/pytest -m 'not slow' --cov --cov-report=term-missing:skip-covered $(ARGS)

lint: setup
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)

format: setup
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

types: setup
	$(BIN)/mypy

imports: setup
	$(BIN)/lint-imports

docs: setup
	$(BIN)/python docs/generate.py --check
	$(BIN)/mkdocs build --strict --quiet

check: test lint types imports

clean:
	rm -rf $(VENV) .cache workspace site build
