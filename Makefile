# Every target does its own set-up; a fresh clone needs only Python 3.11 to 3.14, make and a C compiler.
PYTHON ?= python3
BIN := .venv/bin
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup setup-demo demo test test-all check format bench docs lock clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*  ## ' $(MAKEFILE_LIST) | sed 's/:.*  ## /\t/' | expand -t 12

setup:  ## .venv with everything, and the servers and browser the tests use
	@$(PYTHON) tools/setup.py test

setup-demo:
	@$(PYTHON) tools/setup.py demo

demo: setup-demo  ## an Airflow DAG through the gateway, narrated (ARGS=--exit runs it unattended, ARGS=--prefect a Prefect flow)
	@$(BIN)/taskgate demo $(ARGS)

test: setup check  ## lint, types, and every test but the long matrix
	$(BIN)/python -m pytest -m "not long" -n 2 --timeout 240 $(ARGS)

test-all: setup check  ## the long matrix as well: both servers × all drivers, kill loops, fuzz minutes
	$(BIN)/python -m pytest -n 2 --timeout 1800 $(ARGS)

check: setup  ## format, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: setup  ## write the format and the lint fixes
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: setup  ## the figures of README, interleaved with direct connections, printed as ratios
	$(BIN)/python -m bench $(ARGS)

docs: setup  ## the documentation as a site in site/
	$(BIN)/mkdocs build --strict

lock: setup  ## compile the pinned and hashed requirements anew
	$(BIN)/python -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--extra demo --group dev pyproject.toml --output-file requirements/all.txt

clean:  ## remove .venv and everything built
	rm -rf .venv build dist site gateway_core/taskgate/speed/_compiled.c gateway_core/taskgate/speed/_compiled.*.so
