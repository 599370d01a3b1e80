# What a person types; `make` alone says what there is. Everything is installed into .venv, nothing outside it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Tests wait more than they work: more processes than cores, a file of tests to each.
JOBS ?= 4

.PHONY: help run test check bench clean

help:
	@echo "make run     start the demo: two domains, two certificates, one port (Ctrl-C stops it)"
	@echo "make test    run the tests                      make test ARGS='-k sni' runs some of them"
	@echo "make check   format, lint, types, import directions, sizes"
	@echo "make bench   measure beside nginx, HAProxy and Caddy, those that are installed"
	@echo "make clean   remove everything that was made here"

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

clean:
	rm -rf $(VENV) dist build certs/demo data bench/out
	rm -rf .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Stamps: pip runs again only when what must be installed has changed.
$(BIN)/python:
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/installed-dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@ $(VENV)/installed
