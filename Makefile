# Each target sets up what it needs in .venv; only git, make and Python 3.11+ with venv and pip are expected.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo start test test-demo test-draws test-slow lint types docs docs-links bench clean

demo: $(VENV)/installed
	$(BIN)/morphmlp demo --out runs/demo

# The weights that come with the package, in runs/start/rendered: docs/rendered_start.md.
start: $(VENV)/installed
	$(BIN)/morphmlp demo --start runs/start

test: $(VENV)/installed-dev
	$(BIN)/python -m pytest -n 2 --dist worksteal

# What the demo must reach, and what it must not without the order of the frames.
test-demo: $(VENV)/installed-dev
	$(BIN)/python -m pytest -m slow tests/demo

# The property tests with draws of this run, and ten times as many: `make test` has the same draws each time.
test-draws: $(VENV)/installed-dev
	$(BIN)/python -m pytest -n 2 -m "hypothesis and not slow and not gpu" --hypothesis-profile explore

test-slow: $(VENV)/installed-dev
	$(BIN)/python -m pytest -m slow

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/installed-dev
	$(BIN)/pyright

# The manual, in docs/_build/html. What its pages run is kept in docs/_build for as long as the package is the same.
docs: $(VENV)/installed-dev
	$(BIN)/python -m sphinx -b html --nitpicky --fail-on-warning --keep-going --quiet docs docs/_build/html

# Asks every address that the pages link to: it needs the network.
docs-links: $(VENV)/installed-dev
	$(BIN)/python -m sphinx -b linkcheck --quiet -D nb_execution_mode=off \
	  -D suppress_warnings=myst-nb.lexer docs docs/_build/links

bench: $(VENV)/installed
	$(BIN)/python benchmarks/throughput.py
	$(BIN)/python benchmarks/loader.py
	$(BIN)/python benchmarks/speed.py

$(VENV)/installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; set PYTHON=...") if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --editable .
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(PIP) --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) docs/_build .pytest_cache .hypothesis .ruff_cache
