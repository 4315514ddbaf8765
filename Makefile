# make demo   a first picture: sets up .venv, draws demo.png
# make test   sets up .venv with the tools, runs the whole suite
# make check  everything CI runs: lint, format, types, layers, tests

PYTHON ?= python3
BIN := .venv/bin
# One thread a worker: the suite runs in parallel by processes.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --maxprocesses 4

.PHONY: demo test check format

demo: .venv/.installed
	$(BIN)/instantstyle demo -o demo.png --force

test: .venv/.installed-dev
	$(PYTEST)

check: .venv/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(PYTEST)

format: .venv/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Stamps: installed once, and again only when pyproject.toml changes.
.venv/.installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --editable .
	touch $@

.venv/.installed-dev: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --editable '.[dev]'
	touch $@
