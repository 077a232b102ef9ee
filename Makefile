# Every target sets up what it needs: `make demo` and `make test` work in a fresh clone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
FOLDERS := cache_layout kernels pipeline slurm

.DEFAULT_GOAL := help
.PHONY: help setup demo test check docs reference format types gpu-check clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

# The stamp holds the time of the last install: it is renewed when a dependency list changes.
setup: $(VENV)/.installed ## make .venv and install fdbpl into it, with the tools for development

$(VENV)/.installed: setup.cfg pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=24' 'setuptools>=64'
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

demo: setup ## make a small world and run the whole main job on it (ARGS='--help' for options)
	$(BIN)/fdbpl demo $(ARGS)

# Two processes share two cores: more threads than that wait for each other.
test: setup packages ## set up and run all tests (ARGS='-k name' to choose)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

# Slurm is tested on a real cluster in a temporary directory, pages in a real browser, and spdl, a peer of the decoders,
# needs FFmpeg's libraries; Debian has them as packages.
PACKAGES := slurm-wlm slurmdbd mariadb-server ffmpeg chromium
COMMANDS := slurmctld slurmdbd mariadbd ffmpeg chromium
.PHONY: packages
packages:
	@PATH="$$PATH:/usr/sbin"; missing=; for name in $(COMMANDS); do command -v $$name >/dev/null || missing=1; done; \
	if [ -z "$$missing" ]; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $(PACKAGES); \
	else echo "Slurm, its accounting, FFmpeg or chromium is not installed: tests of it will be skipped. On Debian:" \
		"sudo apt-get install $(PACKAGES)"; fi

# mypy and pyright cannot read package_dir, so they see the folders through links.
types: setup
	@mkdir -p build/types/fdbpl
	@for folder in $(FOLDERS); do ln -sfn ../../../$$folder build/types/fdbpl/$$folder; done

check: types ## what CI runs: lint, format, types, tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy -p fdbpl
	$(MAKE) test

docs: setup ## the documentation as a site, in build/site; its reference is made from the program before
	$(BIN)/python -m fdbpl.pipeline.reference docs/reference
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "open build/site/index.html; with search: $(BIN)/python -m http.server --directory build/site"

reference: setup ## the pages of docs/reference that are made from the program
	$(BIN)/python -m fdbpl.pipeline.reference docs/reference

format: setup ## format and sort imports
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

gpu-check: setup ## on a CUDA device: the tests that need one, then agreement, replay, waits, speed and memory
	$(BIN)/python -m pytest -m gpu $(ARGS)
	$(BIN)/fdbpl bench gpu --out build/gpu-check.json

clean: ## remove what the build made (not .venv, not runs)
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
