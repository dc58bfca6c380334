# Two commands do everything: `make demo` and `make test`. Each sets up a virtual environment by itself.

PYTHON ?= python3
VENV ?= .venv
# Installed before anything that depends on it; the README says how to choose the CPU build.
TORCH ?= torch==2.13.0
STORE ?= demo.binrag
# Processes that share the tests.
WORKERS ?= 2

BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check
LOWEST = $(VENV)/lowest
DISTRIBUTIONS = integrations/langchain-binrag integrations/llama-index-vector-stores-binrag

.PHONY: demo test test-lowest test-oracle check lint types bench notebooks clean

demo: $(VENV)/.demo
	$(BIN)/binrag demo $(STORE)

test: $(VENV)/.dev test-lowest test-oracle
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile tests $(addsuffix /tests,$(DISTRIBUTIONS))

# The integrations at the lowest versions of their frameworks, which lie over those installed.
test-lowest: $(LOWEST)/.done
	PYTHONPATH=$(LOWEST)/langchain $(BIN)/python -m pytest -q --ignore-glob '*_readme.py' \
		integrations/langchain-binrag/tests/unit_tests
	PYTHONPATH=$(LOWEST)/llama-index $(BIN)/python -m pytest -q --ignore-glob '*_readme.py' \
		-W "ignore:The 'validate_default' attribute:UserWarning" \
		integrations/llama-index-vector-stores-binrag/tests

# MUVERA's encoding beside an implementation by others, whose requirements do not go with those installed.
test-oracle: $(LOWEST)/.fastembed
	PYTHONPATH=$(LOWEST)/fastembed $(BIN)/python -m pytest -q tests/encoders/test_fde.py -k fastembed

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

$(LOWEST)/.done: $(VENV)/.dev
	rm -rf $(LOWEST)
	$(PIP) --no-deps --target $(LOWEST)/langchain langchain-core==1.0.0 langchain-tests==1.0.0
	$(PIP) --no-deps --target $(LOWEST)/llama-index llama-index-core==0.13.0 llama-index-workflows==1.0.1
	PYTHONPATH=$(LOWEST)/langchain $(BIN)/python -c \
		'import importlib.metadata as m; assert m.version("langchain-core") == "1.0.0"'
	PYTHONPATH=$(LOWEST)/llama-index $(BIN)/python -c \
		'import importlib.metadata as m; assert m.version("llama-index-core") == "0.13.0"'
	touch $@

$(LOWEST)/.fastembed: $(LOWEST)/.done
	rm -rf $(LOWEST)/fastembed
	$(PIP) --no-deps --target $(LOWEST)/fastembed fastembed==0.9.1 loguru mmh3 py-rust-stemmers onnxruntime flatbuffers protobuf
	PYTHONPATH=$(LOWEST)/fastembed $(BIN)/python -c 'import fastembed.postprocess.muvera'
	touch $@

clean:
	rm -rf $(VENV) build dist
