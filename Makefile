# Each target does all of its own set-up; a second run installs nothing.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: run test test-all bench lint check screenshots docs

run: .venv/.run
	$(BIN)/python app.py

# Some minutes: without trainings, documentation, notebook, wheel, and what is marked slow.
test: .venv/.dev
	$(BIN)/python -m pytest tests/unit tests/page --ignore tests/unit/training -m "not slow"

test-all: .venv/.dev
	$(BIN)/python -m pytest

# Reports times and judges none: compare runs with --benchmark-compare.
bench: .venv/.dev
	$(BIN)/python -m pytest benchmarks --benchmark-autosave --benchmark-columns=min,median,iqr,rounds

lint: .venv/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

check: lint test-all

$(BIN)/python:
	$(PYTHON) -m venv .venv

.venv/.run: requirements.txt | $(BIN)/python
	$(BIN)/python -m pip install -r requirements.txt
	touch $@

.venv/.dev: requirements.txt pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install -e ".[dev]"
	touch $@ .venv/.run

screenshots: .venv/.dev
	$(BIN)/python -m tests.helpers.screenshot

docs: .venv/.dev
	$(BIN)/python -m sphinx -W --keep-going docs docs/_build/html
