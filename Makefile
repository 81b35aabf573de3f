# Every target sets up what it needs in .venv, at the versions pinned in constraints.txt.
# Once that is done, and until setup.py or constraints.txt changes, nothing is installed again.

SHELL := /bin/sh
.NOTPARALLEL:
.DEFAULT_GOAL := help
.PHONY: help demo docs test test-slow test-browser bench lint style types clean

# The interpreter that .venv is made with. Empty: the first suitable one on the PATH.
PYTHON ?=

# Relative paths and `-m` throughout: a checkout may lie in a folder with spaces in its name.
RUN := .venv/bin/python
INSTALL := $(RUN) -m pip install -qq --disable-pip-version-check --no-build-isolation \
	--constraint constraints.txt
READY := .venv/.ready

export TF_CPP_MIN_LOG_LEVEL ?= 2

# Two test workers on as few as two cores: one computing thread in each.
WORKERS := 2
ONE_THREAD := OMP_NUM_THREADS=1 TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1
PYTEST := $(ONE_THREAD) $(RUN) -m pytest -n $(WORKERS) --dist worksteal

help:
	@echo "make demo          train, export and draw a small model; leaves demo/index.html"
	@echo "make docs          build the documentation; leaves build/site/index.html"
	@echo "make test          run the tests"
	@echo "make test-slow     run the tests that take longer"
	@echo "make test-browser  run the tests of the page in headless Chromium"
	@echo "make bench         measure how much memory exporting takes, and compare it with its limit"
	@echo "make lint          check formatting, style and types"
	@echo "make clean         remove caches, builds and demo/; .venv stays"
	@echo
	@echo "Each sets up .venv first, with Python 3.11, 3.12 or 3.13: the first one found,"
	@echo "or the one you name, as in: make test PYTHON=/path/to/python3.12"

demo: $(READY)/demo
	TF_ENABLE_ONEDNN_OPTS=1 $(RUN) -m rc_keras.zoo.demo

# A warning, such as a link that leads nowhere, is an error.
docs: $(READY)/docs
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --quiet --strict
	@echo "Open build/site/index.html. To search in it: $(RUN) -m http.server -b 127.0.0.1 -d build/site"

test: $(READY)/test
	$(PYTEST) tests

test-slow: $(READY)/test
	$(PYTEST) -m slow tests

bench: $(READY)/test
	$(RUN) benchmarks/export_peak_memory.py

# In one process: one browser. Without Chromium, or the runtimes from npm, they are skipped, and say why.
test-browser: $(READY)/test
	$(ONE_THREAD) $(RUN) -m pytest -m browser -rs tests/view

lint: style types

style: $(READY)/lint
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .

# As installed, where rc_keras.zoo and rc_keras.export have their names; made anew, so that nothing stale is left,
# and not in build/lib, which a wheel would be made of.
types: $(READY)/lint
	rm -rf build/types
	$(RUN) setup.py --quiet build_py --build-lib build/types
	$(RUN) -m mypy

clean:
	rm -rf build demo dist rc_keras.egg-info .pytest_cache .ruff_cache .mypy_cache
	find rc_keras zoo export tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY)/demo: $(READY)/venv setup.py constraints.txt
	@echo "Installing into .venv; the first time this takes some minutes."
	$(INSTALL) --editable ".[litert,viz]"
	@touch $@

$(READY)/docs: $(READY)/venv setup.py constraints.txt
	@echo "Installing into .venv; the first time this takes some minutes."
	$(INSTALL) --editable ".[docs]"
	@touch $@

$(READY)/test: $(READY)/venv setup.py constraints.txt
	@echo "Installing into .venv; the first time this takes some minutes."
	$(INSTALL) --editable ".[dev]"
	@touch $@ $(READY)/demo $(READY)/docs $(READY)/lint

$(READY)/lint: $(READY)/venv setup.py constraints.txt
	$(INSTALL) ruff mypy
	@touch $@

# Build tools come first and pinned, so that nothing is built with a tool that is not.
$(READY)/venv: constraints.txt
	@if ! $(RUN) -m pip --version >/dev/null 2>&1; then \
		for candidate in $(if $(PYTHON),"$(PYTHON)",python3.13 python3.12 python3.11 python3); do \
			if "$$candidate" -c 'import ensurepip, sys, venv; \
				sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1; then \
				echo "Making .venv with $$("$$candidate" --version)."; \
				exec "$$candidate" -m venv --clear .venv; \
			fi; \
		done; \
		echo "No Python 3.11, 3.12 or 3.13 with the venv module among:" \
			$(if $(PYTHON),"$(PYTHON)",python3.13 python3.12 python3.11 python3) >&2; \
		echo "Install one, or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3.12" >&2; \
		exit 1; \
	fi
	$(INSTALL) pip setuptools wheel
	@mkdir -p $(READY)
	@touch $@
