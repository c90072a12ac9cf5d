# Two commands matter: `make atlas` builds an atlas of the bundled model from nothing, `make test` proves the code.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export OMP_NUM_THREADS ?= 2

.PHONY: atlas test check docs dev format clean help

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(VENV)/.installed: pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 or newer is needed: set PYTHON=/path/to/python3"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	$(BIN)/python -m neuron_atlas.adapters.embedder
	touch $@

atlas: $(VENV)/.installed ## Install, build everything on the bundled model, print what was found
	$(BIN)/neuron-atlas materialize
	$(BIN)/neuron-atlas summary

test: $(VENV)/.installed ## Run all tests
	$(BIN)/python -m pytest -n 2 --dist worksteal

check: $(VENV)/.installed ## Lint, formatting, types, import contracts, definitions
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/dagster definitions validate -m neuron_atlas.definitions

$(VENV)/.installed-docs: $(VENV)/.installed constraints-docs.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -c constraints-docs.txt -e '.[docs]'
	touch $@

docs: $(VENV)/.installed-docs ## Renew the reference pages, build the docs site into site/
	$(BIN)/python docs/generate_reference.py
	$(BIN)/python docs/build_site.py

dev: $(VENV)/.installed ## Open the Dagster UI on http://localhost:3000
	$(BIN)/neuron-atlas dev

format: $(VENV)/.installed ## Format and fix
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## Remove the environment and all results
	rm -rf $(VENV) .neuron_atlas
