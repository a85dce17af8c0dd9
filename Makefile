# Everything runs in .venv, from pinned versions; python3 (3.11 to 3.13) and make are all it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
PINS := constraints/py$(VERSION).txt
DATA ?= ../shared/data
OUT ?= out

.PHONY: help install install-dev demo test slow long lint bench docs constraints clean

help:
	@echo "make demo      install, and map water on a small Sentinel-2 scene (OUT=$(OUT)/demo)"
	@echo "make install   geounet and what it needs, into .venv"
	@echo "make test      install the test tools, and run the tests (under 10 minutes)"
	@echo "make slow      the longer suites: kills and resumes, full disks, mutated files, notebooks"
	@echo "make long      what is left of them: more kills, more mutated files"
	@echo "make lint      ruff and mypy"
	@echo "make bench     speed and memory, printed and written to $(OUT)/bench"
	@echo "make docs      docs/commands.md, from the settings"

install: $(VENV)/.installed
install-dev: $(VENV)/.installed-dev

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml $(PINS) | $(BIN)/python
	$(BIN)/python -m pip install --quiet --constraint $(PINS) --editable .
	touch $@

$(VENV)/.installed-dev: pyproject.toml $(PINS) | $(BIN)/python
	$(BIN)/python -m pip install --quiet --constraint $(PINS) --editable '.[dev]'
	touch $@ $(VENV)/.installed

demo: install
	$(BIN)/geounet demo $(OUT)/demo --overwrite

test: install-dev
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow"

slow: install-dev
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "slow and not long" --timeout 1200
	$(BIN)/python -m pytest --nbmake notebooks --timeout 600

long: install-dev
	$(BIN)/python -m pytest -n 2 --dist loadfile -m long --timeout 1200

lint: install-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: install-dev
	$(BIN)/python -m benchmarks.all --out $(OUT)/bench

docs: install-dev
	$(BIN)/python docs/commands.py

constraints:
	constraints/compile.sh

clean:
	rm -rf $(VENV) $(OUT) build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache
