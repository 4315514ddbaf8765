# make demo   a first picture: sets up .venv, draws demo.png
# make test   sets up .venv with the tools, runs the whole suite
# make bench  measures what docs/performance.md says; the last part needs 16 GB of memory
# make check  everything CI runs: lint, format, types, layers, tests

PYTHON ?= python3
BIN := .venv/bin
# One thread a worker: the suite runs in parallel by processes.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --maxprocesses 4

.PHONY: demo test check bench format

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

bench: .venv/.installed-dev
	$(BIN)/python -m benchmarks.bundled -o benchmarks/results/bundled.json
	$(BIN)/python -m benchmarks.growth -o benchmarks/results/growth.json --plot docs/images/growth.png
	$(BIN)/python -m benchmarks.cold -o benchmarks/results/cold.json
	$(BIN)/python -m benchmarks.full_size -o benchmarks/results/full_size.json
	$(BIN)/python -m benchmarks.page

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
