# Needs Python 3.11 or later; sets up the rest itself, in .venv and nowhere else.
# System packages (speech synthesisers, and what some tests trace and fake time with) come through apt when run as root,
# and are named otherwise.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --quiet --disable-pip-version-check

# What another project exported must not leak into this one's environment, nor send its packages elsewhere.
unexport PYTHONPATH PYTHONHOME PIP_USER PIP_TARGET PIP_PREFIX PIP_REQUIRE_VIRTUALENV

DEMO_AUDIO ?= examples/audio/hello_teddy.wav

# On virtual time or on none but for those marked "alone": these may share the machine, all others have it for themselves.
SHARING := tests/scheduling tests/simulation tests/processors tests/storage/test_codec.py tests/storage/test_task_codec.py

# What runs through the parts that can be compiled.
COMPILED := tests/scheduling tests/simulation tests/runtime tests/execution tests/monitoring tests/storage tests/acceptance

.DEFAULT_GOAL := help
.PHONY: help demo test lint types nightly bench compiled clean

help: ## say what there is
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST)

demo: $(VENV)/demo.stamp ## a spoken sentence through transcription, emotion, reply and voice; then an example of each type; offline
	@scripts/system-packages flite
	$(BIN)/async-processor talk $(DEMO_AUDIO)
	$(BIN)/async-processor showcase

test: $(VENV)/dev.stamp lint types ## lint, types and all tests but the nightly ones
	@scripts/system-packages flite espeak-ng strace faketime postgresql:pg_ctlcluster
	$(BIN)/python -m pytest -n auto -m "not nightly and not alone" $(SHARING)
	$(BIN)/python -m pytest -m "not nightly and alone" $(SHARING)
	$(BIN)/python -m pytest $(SHARING:%=--ignore=%)

lint: $(VENV)/dev.stamp ## style and format (ruff)
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .

types: $(VENV)/dev.stamp ## types of the package (mypy, strict)
	$(BIN)/python -m mypy

nightly: $(VENV)/dev.stamp ## the tests that take too long for every run
	@scripts/system-packages flite espeak-ng strace faketime postgresql:pg_ctlcluster
	$(BIN)/python -m pytest -m nightly --timeout 3600

bench: $(VENV)/bench.stamp ## the figures we claim, measured here; with ARGS=--quick in three minutes
	@scripts/system-packages postgresql:pg_ctlcluster
	$(BIN)/python -m benchmarks --json out/benchmarks.json $(ARGS)

compiled: $(VENV)/dev.stamp ## the engine as C, in build/compiled, and its tests; takes some minutes
	@scripts/build-compiled $(BIN)/python build/compiled
	PYTHONPATH=build/compiled $(BIN)/python -m pytest -n auto -m "not nightly and not alone and not interpreted" $(COMPILED)

clean: ## remove everything that was made
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage build dist out
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp is older than pyproject.toml when there is something to install; otherwise nothing is done.
$(VENV)/created.stamp: scripts/create-venv
	@scripts/create-venv $(PYTHON) $(VENV)
	@echo "upgrading pip in $(VENV)"
	@$(PIP) install --upgrade pip
	@touch $@

$(VENV)/demo.stamp: pyproject.toml $(VENV)/created.stamp
	@echo "installing what the demo needs into $(VENV)"
	@$(PIP) install --editable '.[all]'
	@touch $@

$(VENV)/dev.stamp: pyproject.toml $(VENV)/created.stamp
	@echo "installing what the tests need into $(VENV)"
	@$(PIP) install --editable '.[all]' --group dev
	@touch $@ $(VENV)/demo.stamp

$(VENV)/bench.stamp: pyproject.toml $(VENV)/dev.stamp
	@echo "installing what the benchmarks compare with into $(VENV)"
	@$(PIP) install --group peers
	@touch $@
