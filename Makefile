# `make demo` and `make test` set everything up on a fresh machine; both are quick when nothing changed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# What is also run on the JAX backend: all that asks Keras.
ON_JAX := tests/exam tests/explain tests/hosts/test_preflight.py tests/rules tests/test_broken.py tests/test_founding.py tests/test_legitimate.py tests/test_real_models.py

export TF_CPP_MIN_LOG_LEVEL ?= 3
export PIP_DISABLE_PIP_VERSION_CHECK ?= 1

.PHONY: demo test test-all lint format types bench fixtures golden readme docs clean

demo: $(STAMP)
	@$(BIN)/lossdoctor demo

test: lint types
	$(BIN)/python -m pytest -n 2 --dist loadgroup
	KERAS_BACKEND=jax $(BIN)/python -m pytest -n 2 --dist loadgroup $(ON_JAX)

# All of it, with what takes minutes.
test-all: test
	$(BIN)/python -m pytest -n 2 -m slow

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)
	$(BIN)/python tests/bench.py

# Rebuild the fixtures' model and batch files with the installed Keras.
fixtures: $(STAMP)
	for script in fixtures/demo.py fixtures/*/build.py; do $(BIN)/python $$script || exit 1; done

# Rewrite the golden files of every report format; look at the difference before you commit it.
golden: $(STAMP)
	UPDATE_GOLDEN=1 $(BIN)/python -m pytest tests/report/test_golden.py

# Put the tool's real output into README.md; a test checks that it is current.
readme: $(STAMP)
	$(BIN)/python tests/readme.py write

# Write the rules' pages and their table into lossdoctor/docs; a test checks that they are current.
docs: $(STAMP)
	$(BIN)/python tests/docs.py

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache build dist
