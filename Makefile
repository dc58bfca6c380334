# Two commands do everything: `make demo` and `make test`. Each sets up a virtual environment by itself.

PYTHON ?= python3
VENV ?= .venv
# Installed before anything that depends on it; the README says how to choose the CPU build.
TORCH ?= torch==2.13.0
STORE ?= demo.binrag

BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check
DISTRIBUTIONS = integrations/langchain-binrag integrations/llama-index-vector-stores-binrag

.PHONY: demo test check lint types bench notebooks clean

demo: $(VENV)/.demo
	$(BIN)/binrag demo $(STORE)

test: $(VENV)/.dev
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest tests $(addsuffix /tests,$(DISTRIBUTIONS))

check: lint types test

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/.dev
	$(BIN)/mypy

bench: $(VENV)/.dev
	$(PIP) --group bench
	$(BIN)/python -m benchmarks.scan

notebooks: $(VENV)/.dev
	HF_HUB_OFFLINE=1 $(BIN)/python notebooks/refresh.py

$(VENV)/.torch:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "binrag needs Python 3.11 or newer; try: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV): $(TORCH) first, then the rest; this takes some minutes"
	$(PIP) --upgrade 'pip>=25.1'
	$(PIP) '$(TORCH)'
	touch $@

$(VENV)/.demo: $(VENV)/.torch pyproject.toml
	$(PIP) --group demo --editable .
	touch $@

$(VENV)/.dev: $(VENV)/.torch pyproject.toml $(addsuffix /pyproject.toml,$(DISTRIBUTIONS))
	$(PIP) --group dev --editable . $(addprefix --editable ./,$(DISTRIBUTIONS))
	touch $@ $(VENV)/.demo

clean:
	rm -rf $(VENV) build dist
