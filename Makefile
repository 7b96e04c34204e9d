# Everything here works on a bare Debian with Python 3.11 and make. `make` alone lists the targets.
PYTHON ?= python3.11
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install-spark spark demo test test-fast check docs release-check format bench bench-airflow chaos month fuzz mutants distributed clean install

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP)  ## make .venv and install the pinned dependencies

$(STAMP): pyproject.toml constraints.txt tools/install.sh
	@PYTHON=$(PYTHON) sh tools/install.sh $(VENV)
	@touch $@

install-spark: $(STAMP)  ## add PySpark to .venv; its tests need Java 17 too
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt --editable '.[spark]'

spark: install-spark  ## a thousand pieces and clients on Spark, then two workers with 2,000,000 rows; fewer: ROWS=200000
	@PIECES=1000 CLIENTS=1000 $(BIN)/python -m pytest -q tests/pipeline/test_spark.py -k many_pieces
	@$(BIN)/python -m tests.benchmarks.spark --rows $(or $(ROWS),2000000)

demo: $(STAMP)  ## one night of two uploads: sandbox, warehouse, the Airflow DAG, the report
	@$(BIN)/offline-capi demo

test: $(STAMP)  ## every test, on up to four cores
	@$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal

test-fast: $(STAMP)  ## the quick tests of the rooms that changed since main
	@$(BIN)/python tools/test_fast.py

check: $(STAMP)  ## format, lint, spelling, types, import contracts, licences: the same as CI
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/typos
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python tools/licences.py --check

docs: $(STAMP)  ## build the documentation site into .site/html; a warning ends it
	@$(BIN)/python tools/docs_site.py
	@$(BIN)/zensical build --clean --strict

release-check: $(STAMP)  ## build sdist and wheel into dist/, install the wheel into an empty venv, do the main job there
	@$(BIN)/python tools/release_check.py

format: $(STAMP)  ## let ruff put the code in order
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(STAMP)  ## speed and memory, each as a ratio to the official SDK in the same run
	@$(BIN)/python -m tests.benchmarks

bench-airflow: $(STAMP)  ## parsing 300 uploads, a DAG beside the command line, 1, 10 and 100 clients
	@$(BIN)/python -m tests.benchmarks.airflow

chaos: $(STAMP)  ## a million events of 50 clients in a night full of faults; seeds: CHAOS="--seed 2"
	@$(BIN)/python -m tests.support.chaos $(CHAOS)

month: $(STAMP)  ## months of 30 nights with faults between them (P20); more of them: MONTH="--months 20"
	@$(BIN)/python -m tests.support.months $(MONTH)

fuzz: $(STAMP)  ## files, YAML, answers and confs made at random, 20,000 of each; FUZZ=1000 for fewer
	@FUZZ=$(or $(FUZZ),20000) $(BIN)/python -m pytest -q -n 2 tests/end_to_end/test_fuzz.py

mutants: $(STAMP)  ## change the code at random and see whether the tests notice; MUTANTS="--seed 2 --minutes 60"
	@$(BIN)/python tools/mutants.py $(MUTANTS)

distributed: $(VENV)/.distributed  ## two Celery workers, one is killed (needs Debian's redis-server and postgresql)
	@$(BIN)/python -m tests.distributed

$(VENV)/.distributed: $(STAMP)
	@$(BIN)/python -m pip install --disable-pip-version-check -q --constraint constraints.txt --editable '.[all,distributed]'
	@touch $@

clean:  ## remove what the demo and the benchmarks leave behind
	rm -rf build dist .demo .bench .site .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis
