# Each target does its own set-up in .venv from a bare Python 3.11 or newer; a second run installs nothing.
PYTHON ?= $(firstword $(foreach v,3.11 3.12 3.13,$(shell command -v python$(v))) python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
export PYTHONHASHSEED := 0

.PHONY: demo test test-slow bench accuracy lint types format sample-model clean

demo: $(READY)  ## simulated scenes -> crop map of the sample area
	$(BIN)/cropglobe demo

# Files of tests side by side: most of them keep one core busy.
test: $(READY)  ## every test but the slow ones
	$(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile

test-slow: $(READY)  ## the tests that take minutes
	$(BIN)/python -m pytest -m slow

bench: $(READY)  ## our kernels beside those of others; writes tests/benchmarks/RESULTS.md
	$(BIN)/python -m tests.benchmarks.run

accuracy: $(READY)  ## models on real labels beside a forest; writes MATO_GROSSO.md and FLANDERS.md (an hour)
	$(BIN)/python -m tests.benchmarks.mato_grosso
	$(BIN)/python -m tests.benchmarks.flanders

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

sample-model: $(READY)  ## train the model of the sample area again (about half an hour)
	bash sample_aoi/train.sh

# torch first and alone: where a CPU build of the pinned version is at hand, pip takes it.
$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(READY)

clean:
	rm -rf $(VENV) build .pytest_cache .mypy_cache .ruff_cache sample_aoi/scenes sample_aoi/granules sample_aoi/result*
