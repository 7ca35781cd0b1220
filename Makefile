# Thin: each target makes .venv if need be and calls the tool a contributor would call.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin

run: .venv/installed
	@$(BIN)/pltvm demo

test: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -n auto

.venv/installed: pyproject.toml
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

.PHONY: run test
