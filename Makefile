# What a user and a contributor run. Each target installs what it needs into .venv, at the versions of constraints.txt.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Not compiled beforehand: of torch and transformers, Python compiles what is imported, and that is a small part.
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --no-compile
# The pins, also for what builds the package: older and newer versions of pip read one name or the other.
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_BUILD_CONSTRAINT := $(PIP_CONSTRAINT)
# Container images often forbid it; then each process that tests start would compile JAX's sources anew.
export PYTHONDONTWRITEBYTECODE :=
MANIFESTS := pyproject.toml constraints.txt

.PHONY: demo test lint format clean

# The processor unless told otherwise: once libtpu is installed for the tests, JAX would look for a TPU and complain.
demo: export JAX_PLATFORMS ?= cpu
demo: $(VENV)/.installed  ## The main job on the embedded sample: a genome in, a model for transformers out.
	rm -rf build/demo
	$(BIN)/dnabert-jax demo --out build/demo

# Three at a time on two cores: many wait for processes that they start.
test: $(VENV)/.installed-test  ## Every test, the slow ones too.
	$(BIN)/python -m pytest -n 3 --dist worksteal

lint: $(VENV)/.installed-test  ## Format, lint and type checks, and the shell scripts.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/shellcheck --external-sources launch/*.sh data_prep/*.sh .ci/run

format: $(VENV)/.installed-test  ## Rewrites the files as ruff wants them.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## Removes .venv and build.
	rm -rf $(VENV) build

$(BIN)/python:
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

# Editable, so that the stamps depend on the dependencies alone and never on the sources.
$(VENV)/.installed: $(MANIFESTS) | $(BIN)/python
	$(PIP) --editable '.[figures]'
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(PIP) --editable '.[test]'
	touch $@
