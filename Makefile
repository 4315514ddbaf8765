# make demo            set up .venv and generate demo.png
# make test            set up .venv with the development tools and run the tests that most changes can break
# make test-slow       run the others: compiled networks, fuzzing, Ray, killed processes, training stages, all pages, browser
# make check           lint, format, types, import contracts, and the tests of `make test`
# make docs            build the site of the documentation into build/site; a broken link fails
# make coverage        which lines the tests of `make test` run, as pages in build/coverage
# make mutation        change the code of the method in many places, and list the changes that no test notices
# make wheel           build the wheel, install it in an environment of its own and generate an image there
# make test-minimum    the tests with the lowest versions of all dependencies
# make test-diffusers-main   the tests with the newest source of diffusers
# make constraints     write the versions in .venv into constraints.txt
# make bench           measure docs/performance.md and docs/operations.md; needs 16 GB of memory
# make findings        measure docs/findings.md and the model card with the shipped weights
# make screenshots     generate docs/images/studio*.png with the shipped weights; needs Debian's chromium
#
# `make … CONSTRAINTS=` installs the newest versions of the dependencies instead of those of constraints.txt.

PYTHON ?= python3
BIN := .venv/bin
CONSTRAINTS ?= constraints.txt
PIP_INSTALL = -m pip install --disable-pip-version-check --quiet $(if $(CONSTRAINTS),--constraint $(CONSTRAINTS))
# Run alone after the other tests: on a busy machine the page's time limits would fail.
BROWSER := tests/studio/test_browser.py
# One thread per worker, because the tests run in parallel processes.
PARALLEL := -n auto --maxprocesses 4 --dist worksteal --durations 30 --ignore $(BROWSER)
# Lowest versions of some dependencies use what the newest versions of others deprecate.
DEPRECATED := -W ignore::DeprecationWarning -W ignore::PendingDeprecationWarning
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest $(PARALLEL)
# The studies that generate images. Two at once with one thread each are faster than one with two threads.
GENERATING := cures scales blocks blend methods
STUDIES := $(GENERATING:%=study-%)
RESULTS := findings/results
OPTIONS_blend := --figure docs/images/blend.jpg
OPTIONS_methods := --figure docs/images/methods.jpg

.PHONY: demo test test-slow check docs coverage mutation wheel test-minimum test-diffusers-main constraints bench findings $(STUDIES) study-table screenshots format

demo: .venv/.installed
	$(BIN)/instantstyle demo -o demo.png --force

test: .venv/.installed-dev
	$(PYTEST) -m "not slow"

test-slow: .venv/.installed-dev
	$(PYTEST) -m slow
	$(BIN)/pytest $(BROWSER)

check: .venv/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(MAKE) test

docs: .venv/.installed-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

coverage: .venv/.installed-dev
	$(PYTEST) -m "not slow" --cov instantstyle --cov-report html:build/coverage --cov-report term:skip-covered

mutation: .venv/.installed-dev
	$(BIN)/python -m tests.mutation.run

wheel:
	rm -rf dist build/wheel
	$(PYTHON) -m pip wheel --disable-pip-version-check --quiet --no-deps --wheel-dir dist .
	$(PYTHON) -m venv build/wheel
	build/wheel/bin/python $(PIP_INSTALL) dist/*.whl
	cd build/wheel && bin/instantstyle generate "a sailboat" --seed 7 -o sailboat.png && bin/instantstyle reproduce sailboat.png

test-minimum:
	$(PYTHON) -m venv build/minimum
	build/minimum/bin/python -m pip install --disable-pip-version-check --quiet uv
	build/minimum/bin/uv pip install --python build/minimum --resolution lowest-direct --editable '.[dev]'
	OMP_NUM_THREADS=1 build/minimum/bin/pytest $(PARALLEL) $(DEPRECATED) -m "not slow"

test-diffusers-main: .venv/.installed-dev
	$(BIN)/python -m pip install --quiet git+https://github.com/huggingface/diffusers
	$(PYTEST) -m "not slow"

constraints: .venv/.installed-dev
	$(BIN)/python -m pip install --quiet --editable '.[train]'
	$(BIN)/python -m tests.guards.constraints

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
	$(BIN)/python -m findings.demo
	$(BIN)/python -m findings.page
	$(BIN)/python -m training.mini.card
	$(BIN)/python -m training.mini.samples -o docs/images/mini.jpg
	$(BIN)/instantstyle demo -o docs/images/demo.png --force

$(STUDIES): study-%: .venv/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m findings.$* $(STUDY) $(OPTIONS_$*) -o $(RESULTS)/$*.json

study-table: .venv/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m training.mini.table mini -o training/mini/results/table.json \
		--references 100 --asked 5

screenshots: .venv/.installed-dev
	$(BIN)/python -m tests.studio.screenshots docs/images

format: .venv/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Stamp files: install once, and again when the dependencies change.
.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python $(PIP_INSTALL) --editable .
	touch $@

.venv/.installed-dev: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python $(PIP_INSTALL) --editable '.[dev]'
	touch $@
