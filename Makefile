# Two commands on a fresh machine: `make train` and `make test`. Each makes .venv where it is missing.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
CORE := .venv/.core
DEV := .venv/.dev
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check
TORCH := $(shell grep '^torch==' constraints.txt)

.PHONY: train test slow lint benchmark clean

train: $(CORE)
	@$(BIN)/marl answers

test: lint
	@$(BIN)/python -m pytest -n 2

slow: $(DEV)
	@$(BIN)/python -m pytest -m slow

lint: $(DEV)
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet
	@$(BIN)/mypy

benchmark: $(DEV)
	@$(BIN)/marl benchmark

# torch goes first: as a plain requirement of another package it may come with gigabytes that a CPU does not need.
$(CORE): setup.cfg constraints.txt
	@test -x $(BIN)/python || { echo "making .venv with $$($(PYTHON) --version)"; $(PYTHON) -m venv .venv; }
	@echo "installing $(TORCH), then market-marl with the versions in constraints.txt"
	@$(PIP) $(TORCH)
	@$(PIP) -c constraints.txt -e .
	@touch $@

$(DEV): $(CORE)
	@echo "installing what tests and linters need"
	@$(PIP) -c constraints.txt -e '.[dev]'
	@touch $@

clean:
	@rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
