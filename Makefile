# Set-up is shared: every target makes or repairs .venv first, and skips it when whole.
PY := .venv/bin/python
export JAX_COMPILATION_CACHE_DIR ?= $(CURDIR)/.cache/jax
export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS ?= 0.1

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all lint format bench clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile

setup:  ## make or repair the environment in .venv
	@.ci/setup .venv

demo: setup  ## the main job: train two networks and one control, probe them, write the report
	$(PY) -m experiments.demo --out=runs/demo

test: setup  ## the tests, under 17 minutes on two cores
	$(PY) -m pytest -n 2 --dist=loadfile -m "not long"

test-all: setup  ## these and the long ones
	$(PY) -m pytest -n 2 --dist=loadfile

lint: setup  ## ruff: rules and format
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

format: setup  ## let ruff write
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

bench: setup  ## timings beside their peers, one ratio a line; BENCH=--quick: in a minute
	@.ci/bench-setup || true
	@failed=0; \
	for table in loop_overhead "interventions $(BENCH)" "probes $(BENCH)" \
	    "sweep $(BENCH)" "atari $(BENCH)"; do \
	  $(PY) -m benchmarks.$$table || failed=1; \
	done; exit $$failed

clean:  ## remove caches and runs, not .venv
	rm -rf .cache .pytest_cache .ruff_cache runs build dist *.egg-info
