# Everything on a fresh machine with Python 3.11+: `make study`, `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUNS ?= runs

.PHONY: study test check docs clean

study: $(VENV)/ready
	$(BIN)/gansearch run studies/quickstart.yaml --runs-dir $(RUNS)
	$(BIN)/gansearch report --runs-dir $(RUNS)

# Several processes, one more than there are cores: see tests/longest_first.py. They keep what they have
# compiled, whatever the environment says, or else every process of every test would compile it again.
test: export PYTHONDONTWRITEBYTECODE :=
test: $(VENV)/ready
	$(BIN)/pytest --numprocesses logical --dist loadfile --durations 20 --durations-min 5

check: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The pages of docs/reference that are made from the code.
docs: $(VENV)/ready
	$(BIN)/python -m docs.generate

# The virtual environment, made again whenever what it depends on changes. All cores compile what pip would
# compile with one; torch has a file for newer Pythons, which is no failure.
$(VENV)/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --no-compile --constraint constraints.txt --editable '.[dev]'
	$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib || true
	touch $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
