# make demo            set up .venv and generate demo.png
# make test            set up .venv with the development tools and run all tests
# make check           run what CI runs: lint, format, types, layers, tests
# make bench           measure docs/performance.md and docs/operations.md; needs 16 GB of memory
# make findings        measure docs/findings.md and the model card with the shipped weights
# make findings-quick  the same with few images and few steps, into build/findings-quick; run by CI
# make docs            build the site of the documentation into build/site; a broken link fails
# make screenshots     generate docs/images/studio*.png with the shipped weights; needs Debian's chromium

PYTHON ?= python3
BIN := .venv/bin
# Run alone after the other tests: on a busy machine the page's time limits would fail.
BROWSER := tests/studio/test_browser.py
# One thread per worker, because the tests run in parallel processes.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --maxprocesses 4 --dist worksteal --durations 30 --ignore $(BROWSER)
# The studies that generate images. Two at once with one thread each are faster than one with two threads.
GENERATING := cures scales blocks blend methods
STUDIES := $(GENERATING:%=study-%)
RESULTS := findings/results
FIGURE_blend := --figure docs/images/blend.jpg
FIGURE_methods := --figure docs/images/methods.jpg
# Few images in few steps: a check that the studies run, without meaningful figures.
QUICK := build/findings-quick
FEW := --references 2 --asked 1 --steps 2 --work $(QUICK)

.PHONY: demo test check docs bench findings findings-quick $(STUDIES) study-table screenshots format

demo: .venv/.installed
	$(BIN)/instantstyle demo -o demo.png --force

test: .venv/.installed-dev
	$(PYTEST)
	$(BIN)/pytest $(BROWSER)

check: .venv/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(PYTEST)
	$(BIN)/pytest $(BROWSER)

docs: .venv/.installed-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

bench: .venv/.installed-dev
	$(BIN)/python -m benchmarks.bundled -o benchmarks/results/bundled.json
	$(BIN)/python -m benchmarks.shares -o benchmarks/results/shares.json
	$(BIN)/python -m benchmarks.growth -o benchmarks/results/growth.json --plot docs/images/growth.png
	$(BIN)/python -m benchmarks.cold -o benchmarks/results/cold.json
	$(BIN)/python -m benchmarks.accelerators -o benchmarks/results/accelerators.json
	$(BIN)/python -m benchmarks.resident -o benchmarks/results/resident.json
	$(BIN)/python -m benchmarks.load -o benchmarks/results/load.json
	$(BIN)/python -m benchmarks.hostile_clients -o benchmarks/results/hostile_clients.json
	$(BIN)/python -m benchmarks.full_size -o benchmarks/results/full_size.json
	$(BIN)/python -m benchmarks.throughput -o benchmarks/results/throughput.json
	$(BIN)/python -m benchmarks.page
	$(BIN)/python -m benchmarks.operations

findings: .venv/.installed-dev
	$(MAKE) -j2 study-table $(STUDIES)
	$(BIN)/python -m findings.costs -o $(RESULTS)/costs.json
	$(BIN)/python -m findings.page
	$(BIN)/python -m training.mini.card
	$(BIN)/python -m training.mini.samples -o docs/images/mini.jpg
	$(BIN)/instantstyle demo -o docs/images/demo.png --force

# Starts from an empty folder, so that no images of an earlier run are reused.
findings-quick: .venv/.installed-dev
	rm -rf $(QUICK)
	$(MAKE) -j2 $(STUDIES) RESULTS=$(QUICK)/results STUDY='$(FEW)' FIGURE_blend= FIGURE_methods=
	$(BIN)/python -m findings.costs $(FEW) --rounds 1 -o $(QUICK)/results/costs.json
	$(BIN)/python -m findings.page --results $(QUICK)/results -o $(QUICK)/findings.md

$(STUDIES): study-%: .venv/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m findings.$* $(STUDY) $(FIGURE_$*) -o $(RESULTS)/$*.json

study-table: .venv/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m training.mini.table mini -o training/mini/results/table.json \
		--references 100 --asked 5

screenshots: .venv/.installed-dev
	$(BIN)/python -m tests.studio.screenshots docs/images

format: .venv/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Stamp files: install once, and again when pyproject.toml changes.
.venv/.installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --editable .
	touch $@

.venv/.installed-dev: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --editable '.[dev]'
	touch $@
