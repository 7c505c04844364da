# `make demo` and `make test` try it; `make check` and `make style` are for developers. The environment is in .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
READERS := .readers
TORCH ?= torch
export DAGSTER_DISABLE_TELEMETRY := 1
# Compiled modules are kept: tests start many processes.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help env demo demo-down test browser readers lint check audit fuzz soak cluster-demo contract image style lock bench scale dev home clean

help:  ## List the commands.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

env: $(STAMP)  ## Create the environment.

$(STAMP): requirements.lock pyproject.toml setup.cfg
	@PYTHON="$(PYTHON)" sh scripts/make-env.sh $(VENV)
	@touch $@

demo: env  ## Run the main job on a sandbox. KEEP=1 keeps it running, with a .env for Dagster.
	@$(BIN)/python -m r2_hf_sandbox demo $(if $(KEEP),--keep)

demo-down: env  ## Stop the servers of `make demo KEEP=1`.
	@$(BIN)/python -m r2_hf_sandbox demo-down

test: env  ## Run the tests.
	@sh scripts/get-chromium.sh || true
	@# More processes than cores: tests wait for servers half of the time.
	@$(BIN)/python -m pytest -n 5 --dist loadgroup

browser: env  ## Test the UI in a real browser. SCREENSHOTS=1 renews the pictures in docs/.
	@sh scripts/get-chromium.sh
	@$(BIN)/python -m pytest -s --timeout 600 $(addprefix r2_hf_assets_tests/browser/,test_clicks.py large.py empty.py)

readers:  ## Create .readers, a reader's environment with torch and Lhotse, in which tests run more of docs/reading.md.
	@# No lock: torch's build differs by machine. PyPI's brings CUDA, 6 GB; TORCH= names another that pip can find.
	@$(PYTHON) -m venv $(READERS)
	@$(READERS)/bin/pip install --quiet --disable-pip-version-check "$(TORCH)" lhotse urllib3 'datasets>=5' duckdb polars soundfile

lint: env  ## Check lint, format, types, and that Dagster loads the definitions.
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/dagster definitions validate

check: lint  ## Run lint, tests and audit.
	@$(MAKE) --no-print-directory test
	@$(MAKE) --no-print-directory audit

audit: env  ## Check the locks for known vulnerabilities.
	@$(BIN)/python scripts/audit.py requirements.lock bench/requirements.lock deploy/celery/requirements.lock

fuzz: env  ## Feed damaged metadata to the parser for a minute. ARGS="--seconds 600 --seed 7"
	@$(BIN)/python -m r2_hf_assets_tests.property.fuzz $(ARGS)

soak: env  ## Kill every process repeatedly, and check that nothing is lost. ARGS: see the module.
	@$(BIN)/python -m r2_hf_assets_tests.soak $(ARGS)

cluster-demo: env  ## Run a local cluster (PostgreSQL, Redis, two Celery workers), and kill a worker. Installs what is missing.
	@$(BIN)/python -m r2_hf_assets_tests.integration.cluster $(ARGS)

CONTRACTS := $(if $(BUCKET)$(REPO),$(if $(BUCKET),test_bucket.py) $(if $(REPO),test_hub_repo.py),test_bucket.py test_strict_r2.py test_hub_repo.py)
contract: env  ## Test the contracts of S3 and Hub on local servers, or on your own. BUCKET=name REPO=owner/name
	@CONTRACT_BUCKET="$(BUCKET)" CONTRACT_REPO="$(REPO)" $(BIN)/python -m pytest -o addopts= -v -W default --no-header \
		--timeout 900 $(addprefix r2_hf_assets_tests/contract/,$(CONTRACTS))

image: env  ## Build deploy/Dockerfile with buildah, and run it and the services of compose.yaml. Needs root.
	@$(BIN)/python -m r2_hf_assets_tests.integration.image $(ARGS)

style: env  ## Format the code, and apply ruff's fixes.
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

dev: env home  ## Open the Dagster UI with the settings in .env.
	@DAGSTER_HOME="$${DAGSTER_HOME:-$(CURDIR)/.dagster_home}" VIRTUAL_ENV="$(CURDIR)/$(VENV)" $(BIN)/dg dev

home: env  ## Create a persistent DAGSTER_HOME (.dagster_home unless set) from the template.
	@mkdir -p "$${DAGSTER_HOME:-$(CURDIR)/.dagster_home}"
	@cp -n dagster.yaml "$${DAGSTER_HOME:-$(CURDIR)/.dagster_home}/" || true
	@# Processes that open a new home at once may create two schema versions in its database, so one creates it.
	@cd "$${DAGSTER_HOME:-$(CURDIR)/.dagster_home}" && { [ -d history ] || \
		DAGSTER_HOME="$$PWD" $(CURDIR)/$(BIN)/dagster instance migrate >/dev/null; }

lock: env  ## Update the lock files from pyproject.toml.
	@sh scripts/lock.sh $(BIN)
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--custom-compile-command "make lock" --upgrade --group bench -c requirements.lock -o bench/requirements.lock

bench: $(VENV)/.bench  ## Measure everything and write docs/performance.md. ARGS: see bench/, e.g. "--quick".
	@$(BIN)/python -m bench $(ARGS)

scale: env  ## Simulate 5,000 partitions on PostgreSQL: database size and query times. ARGS="--partitions 500"
	@$(BIN)/python -m bench.scale $(ARGS)

$(VENV)/.bench: bench/requirements.lock $(STAMP)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r bench/requirements.lock
	@touch $@

clean:  ## Remove the environment and the demo's files.
	@rm -rf $(VENV) $(READERS) .demo
