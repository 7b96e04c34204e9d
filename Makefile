# Everything here works on a bare Debian with Python 3.11 and make. `make` alone lists the targets.
PYTHON ?= python3.11
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help demo test check format bench clean install

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP)  ## make .venv and install the pinned dependencies

$(STAMP): pyproject.toml constraints.txt tools/install.sh
	@PYTHON=$(PYTHON) sh tools/install.sh $(VENV)
	@touch $@

demo: $(STAMP)  ## one night of two uploads: sandbox, warehouse, the Airflow DAG, the report
	@$(BIN)/offline-capi demo

test: $(STAMP)  ## every test
	@$(BIN)/python -m pytest

check: $(STAMP)  ## format, lint, types, import contracts: the same as CI
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: $(STAMP)  ## let ruff put the code in order
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(STAMP)  ## speed and memory, each as a ratio to the official SDK in the same run
	@$(BIN)/python -m tests.benchmarks

clean:  ## remove what the demo and the benchmarks leave behind
	rm -rf .demo .bench .pytest_cache .mypy_cache .ruff_cache .hypothesis
