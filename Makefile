# `make demo` and `make test` set everything up on a fresh machine; both are quick when nothing changed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# What is also run on the JAX backend: all that asks Keras.
ON_JAX := tests/exam tests/explain tests/fuzz tests/hosts/test_preflight.py tests/rules tests/test_broken.py tests/test_found_by_models.py tests/test_founding.py tests/test_legitimate.py tests/test_real_models.py

# What asks Keras so often that one backend has to do; `make test-all` asks both.
ON_ONE := tests/test_legitimate_families.py

export TF_CPP_MIN_LOG_LEVEL ?= 3
export PIP_DISABLE_PIP_VERSION_CHECK ?= 1

.PHONY: demo test test-all test-matrix test-matrix-short lint format types test-environments bench fuzz fuzz-files fixtures golden readme docs clean

demo: $(STAMP)
	@$(BIN)/lossdoctor demo

test: lint types
	$(BIN)/python -m pytest -n 2 --dist loadgroup $(ON_ONE:%=--ignore=%)
	KERAS_BACKEND=jax $(BIN)/python -m pytest -n 2 --dist loadgroup $(ON_JAX) $(ON_ONE)

# All of it, with what takes minutes.
test-all: test
	$(BIN)/python -m pytest -n 2 -m slow
	$(BIN)/python -m pytest -n 2 $(ON_ONE)

# `lossdoctor matrix` end to end: downloads two Keras releases and JAX.
test-environments: $(STAMP)
	$(BIN)/python -m pytest -m uv tests/test_matrix.py

# The core tests under several Keras releases, each in an environment of its own: make test-matrix KERAS="3.4.1 3.8.0"
test-matrix: $(STAMP)
	$(BIN)/python tests/matrix.py $(KERAS)

# What differs most between releases, on two old ones; `.ci/run` runs it.
test-matrix-short: $(STAMP)
	$(BIN)/python tests/matrix.py --short $(KERAS)

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

# Generated cases: the real Keras, the declared objective in NumPy, and lossdoctor, N new ones. KERAS_BACKEND=jax for JAX.
fuzz: $(STAMP)
	$(BIN)/python -m tests.fuzz --cases $(or $(N),300) $(FUZZ)

# Damaged files, guided by what they reach in the readers, for N seconds (an hour unless told).
fuzz-files: $(STAMP)
	$(BIN)/python -m pip install --quiet atheris
	$(BIN)/python -m tests.hostile.guided $(or $(N),3600)

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
