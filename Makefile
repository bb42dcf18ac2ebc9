# Two commands set everything up and run: `make demo` and `make test`.

PYTHON ?= python3
BIN := .venv/bin
RUNS ?= runs
# The fast tests run in so many processes of one thread each; the tests of a file stay in one process.
WORKERS ?= 2

# Recordings for the tests lie beside some checkouts; without them the tests that need them skip and say so.
ifneq ($(wildcard ../shared/realdata/.),)
export BRAINDEC_REAL_DATA ?= $(abspath ../shared/realdata)
endif
ifneq ($(wildcard ../shared/parity/.),)
export BRAINDEC_PARITY ?= $(abspath ../shared/parity)
endif

# Threads that spin while they wait make small models ten times slower on small and shared machines.
export OMP_WAIT_POLICY ?= PASSIVE

.DEFAULT_GOAL := help
.PHONY: help demo check test test-slow soak bench bench-gpu recipes-readme clean docs figures screenshots notebooks

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv/.ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit(f"braindec needs Python 3.11 or newer, this is {v[0]}.{v[1]}: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

.venv/.fuzz: .venv/.ready
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[fuzz]'
	touch $@

demo: .venv/.ready  ## decode images from simulated brains; writes runs/demo/report.html
	$(BIN)/braindec demo --out $(RUNS)/demo

check: .venv/.ready  ## ruff, mypy, import contracts
	$(BIN)/ruff check .
	$(BIN)/mypy $(wildcard braindec datasets recipes)
	$(BIN)/lint-imports

test: .venv/.ready  ## the fast tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile -m 'not slow and not soak'

test-slow: .venv/.ready  ## the tests that take minutes
	$(BIN)/python -m pytest -q -m slow tests/slow
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile -m slow --ignore=tests/slow

notebooks: .venv/.ready  ## run the notebooks and store what they show
	OMP_NUM_THREADS=1 $(BIN)/python notebooks/_run.py

soak: .venv/.fuzz  ## half an hour: damaged files, fuzzed parsers, two hundred fits killed again and again
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(WORKERS) -m soak

docs: .venv/.ready  ## the documentation site; writes site/index.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

screenshots: .venv/.ready  ## docs/img/*.png, of the runs below runs/ (make demo first) and of the site
	$(BIN)/python docs/_screenshots.py --runs $(RUNS)

figures: .venv/.ready  ## the figures of docs/figures.md; writes docs/images/figure-*.png
	$(BIN)/python docs/_figures.py

bench: .venv/.ready  ## every benchmark that runs on a CPU; writes benchmarks/results/
	for script in $(filter-out %_gpu.py benchmarks/_%.py,$(wildcard benchmarks/*.py)); do \
		echo "$$script"; $(BIN)/python $$script || exit 1; done

bench-gpu: .venv/.ready  ## every benchmark that needs a GPU
	for script in $(wildcard benchmarks/*_gpu.py); do \
		echo "$$script"; $(BIN)/python $$script || exit 1; done

recipes-readme: .venv/.ready  ## recipes/README.md, from the recipes' headers and recipes/notes
	$(BIN)/braindec list recipes --markdown > recipes/README.md.new
	mv recipes/README.md.new recipes/README.md

clean:  ## remove what the other targets made, the environment included
	rm -rf .venv $(RUNS) prepared site build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
