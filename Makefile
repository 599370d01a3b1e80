# What a person types; `make` alone says what there is. Everything is installed into .venv, nothing outside it.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Tests wait more than they work: more processes than cores, a file of tests to each.
JOBS ?= 4
# The exact version of every package that is installed here or into the image; `make constraints` renews it.
CONSTRAINTS ?= constraints.txt
# pip takes both from the environment, for what it installs and for what it builds with. Silent but for errors.
export PIP_CONSTRAINT := $(CONSTRAINTS)
export PIP_BUILD_CONSTRAINT := $(CONSTRAINTS)
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check
OLDEST := $(shell sed -n 's/^requires-python = ">=\(.*\)"/\1/p' pyproject.toml)
# The wheel is built with packages, too, and they drift like the others.
COMPILE = printf '%s\n' 'hatchling>=1.27' 'editables>=0.5' 'uv>=0.9' | $(BIN)/uv pip compile --quiet --universal --python-version $(OLDEST) --all-extras \
  --no-header --no-annotate --output-file

.PHONY: help run test test-newest test-oldest check constraints bench clean

help:
	@echo "make run          start the demo: two domains, two certificates, one port (Ctrl-C stops it)"
	@echo "make test         run the tests                      make test ARGS='-k sni' runs some of them"
	@echo "make check        format, lint, types, import directions, sizes"
	@echo "make bench        measure beside nginx, HAProxy and Caddy, those that are installed"
	@echo "make constraints  renew constraints.txt: the newest version of every package that fits pyproject.toml"
	@echo "make test-newest, make test-oldest"
	@echo "                  run the tests with the newest and the lowest versions that pyproject.toml allows"
	@echo "make clean        remove everything that was made here"

run: $(VENV)/installed
	@$(BIN)/gateway demo $(ARGS)

test: $(VENV)/installed-dev
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(ARGS)

check: $(VENV)/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/sizes.py

bench: $(VENV)/installed
	$(BIN)/python -m bench $(ARGS)

constraints: $(BIN)/uv
	$(COMPILE) constraints.txt --upgrade pyproject.toml -

# Each has a constraints file and an environment of its own; whatever the file names is what `make test` installs.
test-newest: $(BIN)/uv
	@mkdir -p build
	$(COMPILE) build/newest.txt --upgrade pyproject.toml -
	$(MAKE) test VENV=.venv-newest CONSTRAINTS=build/newest.txt

test-oldest: $(BIN)/uv
	@mkdir -p build
	$(COMPILE) build/oldest.txt --upgrade --resolution lowest-direct pyproject.toml -
	$(MAKE) test VENV=.venv-oldest CONSTRAINTS=build/oldest.txt

clean:
	rm -rf .venv .venv-* dist build certs/demo data bench/out
	rm -rf .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Stamps: pip runs again only when what must be installed has changed.
$(BIN)/python:
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/installed: pyproject.toml $(CONSTRAINTS) | $(BIN)/python
	@echo "installing into $(VENV)"
	@$(PIP) --editable .
	@touch $@

$(VENV)/installed-dev: pyproject.toml $(CONSTRAINTS) | $(BIN)/python
	@echo "installing into $(VENV), with what the tests need"
	@$(PIP) --editable '.[dev]'
	@touch $@ $(VENV)/installed

$(BIN)/uv: | $(BIN)/python
	@$(PIP) uv
