# Everything starts here. Needs make and Python >= 3.11, nothing else; works with GNU make 3.81.
#
#   make demo      everything embedded: Kafka, store, broker, simulators, topologies, live table
#                  (DEMO_FOR=60 make demo: a minute, then a summary)
#   make test      linters, types, layers, tests
#   make bench     the benchmarks
#   make docs      write the generated reference pages
#   make lock      resolve the dependencies anew, for maintainers
#   make clean     remove the virtual environment and caches (not the data in .plantstream)

VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed

.PHONY: help venv demo test lint bench docs lock clean
help:
	@sed -n 's/^#   //p' Makefile

venv: $(STAMP)

FIND_PYTHON = for name in python3 python3.13 python3.12 python3.11; do \
    if $$name -c "import sys; sys.exit(sys.version_info < (3, 11))" >/dev/null 2>&1; \
      then echo $$name; break; fi; \
  done

# An environment that works is kept and brought up to date; `make clean` begins anew.
$(STAMP): requirements.lock pyproject.toml
	@if $(PY) -c "import sys, pip; sys.exit(sys.version_info < (3, 11))" >/dev/null 2>&1; \
	  then exit 0; fi; \
	python=$$($(FIND_PYTHON)); \
	if [ -z "$$python" ]; then \
	  echo "Plantstream needs Python 3.11 or newer (looked for python3, python3.13, python3.12," \
	       "python3.11); python3 is: $$(python3 --version 2>&1)" >&2; exit 1; \
	fi; \
	if ! $$python -c "import venv, ensurepip" 2>/dev/null; then \
	  echo "$$python lacks venv and ensurepip; on Debian and Ubuntu: apt install python3-venv" >&2; \
	  exit 1; \
	fi; \
	echo "==> creating $(VENV) with $$($$python --version)"; \
	$$python -m venv --clear $(VENV)
	@echo "==> installing the locked dependencies (once; a minute or two)"
	@$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@echo "==> compiling the steps (once; half a minute)"
	@$(PY) -m app.rehearsal
	@touch $@

demo: $(STAMP)
	@$(PY) -m app demo

test: lint
	@echo "==> pytest"
	@$(PY) -m pytest

lint: $(STAMP)
	@echo "==> ruff (style and errors)"
	@$(PY) -m ruff check .
	@echo "==> mypy --strict (types)"
	@$(PY) -m mypy
	@echo "==> import-linter (layers)"
	@$(VENV)/bin/lint-imports

bench: $(STAMP)
	@$(PY) -m benchmarks

docs: $(STAMP)
	@$(PY) -m app docs --write

# For Linux and macOS and every Python from 3.11 on at once; hashes of all files; no index address.
lock: $(STAMP)
	@$(PY) -m venv --clear .venv-lock
	@.venv-lock/bin/python -m pip install --quiet --disable-pip-version-check uv
	@echo "==> resolving pyproject.toml"
	@.venv-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	  --no-annotate --no-emit-index-url --no-emit-find-links --upgrade \
	  --custom-compile-command "make lock" --group dev pyproject.toml -o requirements.lock
	@rm -rf .venv-lock
	@echo "==> resolving Apache Kafka"
	@$(PY) -m app.embedded.kafka_jars

clean:
	rm -rf $(VENV) .venv-lock .pytest_cache .mypy_cache .ruff_cache .hypothesis \
	  .import_linter_cache build dist site *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
