# tieout: `make demo` shows it, `make test` proves it. Both set up everything they need first.
.DEFAULT_GOAL := help
.PHONY: help demo test nightly oracle check chaos fuzz bench compiled lock clean setup setup-dev system kafka

SHELL := bash
PYTHON ?= python3
export PYTHON
# promtool and amtool may be unpacked here (scripts/system_packages.sh)
export PATH := $(PATH):$(CURDIR)/.tieout/tools/usr/bin
BIN := .venv/bin
UV := .tieout/setup/bin/uv
COMPILE := $(UV) pip compile --quiet --generate-hashes --no-emit-index-url --universal --python-version 3.11
PYTEST_ARGS ?=

help:  ## Lists these commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */  make \1@/' | column -t -s@

demo: setup  ## Sets up .venv and runs a living company with a live dashboard; Ctrl-C ends it
	@$(BIN)/tieout demo

test: check system kafka  ## Checks, then all tests, the quick ones first; PYTEST_ARGS="-k name" narrows it
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist load --maxschedchunk 1 $(PYTEST_ARGS)

nightly: setup-dev  ## The shell simulated with 10,000 seeds of faults, on all cores; prints how to run a failing one again
	$(BIN)/python -m tests.simulation.simulator --seeds 0-10000

oracle: setup-dev  ## Compares the verdicts on a million cases with SQL over their records
	$(BIN)/python -m tests.oracle --cases 1000000
	$(BIN)/python -m tests.oracle --cases 1000000 --money
	$(BIN)/python -m tests.oracle --cases 100000 --ledger
	$(BIN)/python -m tests.oracle --cases 100000 --billed
	$(BIN)/python -m tests.oracle --cases 100000 --cash
	$(BIN)/python -m tests.oracle --cases 100000 --corrected
	$(BIN)/python -m tests.oracle --cases 100000 --written-off

check: setup-dev  ## Format, lint, types, and the rules that no tool knows
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/unit/test_tidy.py

chaos: setup-dev system kafka  ## Kills and pauses real processes 200 times over a million events; takes an hour
	$(BIN)/python -m tests.integration.chaos

fuzz: setup-dev system kafka  ## Sends a million damaged records through real processes; takes a quarter of an hour
	$(BIN)/python -m tests.integration.fuzz

bench: setup-dev kafka compiled  ## Measures latency and rates; takes minutes
	$(BIN)/python -m benchmarks

compiled: setup-dev  ## Installs tieout into .tieout/compiled with its hot path compiled: twice as fast, for production
	@scripts/compiled.sh

lock: setup-dev  ## Renews the three lock files
	$(COMPILE) pyproject.toml --group dev -o requirements-dev.lock
	$(COMPILE) pyproject.toml -c requirements-dev.lock -o requirements.lock
	$(COMPILE) --no-header --no-annotate requirements-setup.in -o requirements-setup.lock

clean:  ## Removes what was installed, cached and stored in this checkout
	rm -rf .venv .tieout .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist *.egg-info

setup:
	@scripts/setup.sh runtime

setup-dev:
	@scripts/setup.sh dev

system:
	@scripts/system_packages.sh

# Apache Kafka's jars, for the tests with a real broker
kafka: .tieout/kafka/.complete

.tieout/kafka/.complete: tests/kafka/pom.xml | system
	@echo "tieout: bringing Apache Kafka's jars" >&2
	@rm -rf .tieout/kafka
	@mvn -B -q -Dstyle.color=never -f tests/kafka/pom.xml dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory=$(CURDIR)/.tieout/kafka
	@touch $@
