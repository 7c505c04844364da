# Two commands for everyone: `make demo` and `make test`. Developers type `make check` and `make style`.
# All of them make the environment they need, in .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export DAGSTER_DISABLE_TELEMETRY := 1

.PHONY: help env demo demo-down test browser lint check audit fuzz soak cluster-demo style lock bench scale dev home clean

help:  ## List the commands.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

env: $(STAMP)  ## Make the environment.

$(STAMP): requirements.lock pyproject.toml setup.cfg
	@PYTHON="$(PYTHON)" sh scripts/make-env.sh $(VENV)
	@touch $@

demo: env  ## Run the main job on a sandbox. KEEP=1 leaves it up, with a .env for dagster.
	@$(BIN)/python -m r2_hf_sandbox demo $(if $(KEEP),--keep)

demo-down: env  ## Stop what `make demo KEEP=1` left up.
	@$(BIN)/python -m r2_hf_sandbox demo-down

test: env  ## Run the tests.
	@sh scripts/get-chromium.sh || true
	@# More than the cores: tests wait for servers half of the time.
	@$(BIN)/python -m pytest -n 6 --dist loadgroup

browser: env  ## Use the UI in a real browser: everything that is tested there. SCREENSHOTS=1 renews the pictures in docs/.
	@sh scripts/get-chromium.sh
	@$(BIN)/python -m pytest -s --timeout 600 $(addprefix r2_hf_assets_tests/browser/,test_clicks.py large.py empty.py)

lint: env  ## Lint, format, types, and whether Dagster loads the definitions.
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/dagster definitions validate

check: lint  ## Lint, types, tests, and the audit.
	@$(MAKE) --no-print-directory test
	@$(MAKE) --no-print-directory audit

audit: env  ## Look for known vulnerabilities in the locks; says so where the service can't be reached.
	@$(BIN)/python scripts/audit.py requirements.lock bench/requirements.lock deploy/celery/requirements.lock

fuzz: env  ## Feed spoilt metadata to the parser for a minute. ARGS="--seconds 600 --seed 7"
	@$(BIN)/python -m r2_hf_assets_tests.property.fuzz $(ARGS)

soak: env  ## Kill every process repeatedly, and check that nothing is lost. ARGS: see the module.
	@$(BIN)/python -m r2_hf_assets_tests.soak $(ARGS)

cluster-demo: env  ## A cluster on this machine (PostgreSQL, Redis, two Celery workers); one machine dies. Installs what is missing.
	@$(BIN)/python -m r2_hf_assets_tests.integration.cluster $(ARGS)

style: env  ## Format the code and mend what ruff can mend.
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

dev: env home  ## Open the Dagster UI on the settings in .env.
	@DAGSTER_HOME="$${DAGSTER_HOME:-$(CURDIR)/.dagster_home}" $(BIN)/dagster dev

home: env  ## Make a persistent DAGSTER_HOME (.dagster_home unless set) from the template.
	@mkdir -p "$${DAGSTER_HOME:-$(CURDIR)/.dagster_home}"
	@cp -n dagster.yaml "$${DAGSTER_HOME:-$(CURDIR)/.dagster_home}/" || true
	@# Processes that open a new home at once may leave its database with two schema versions: one makes it, alone.
	@cd "$${DAGSTER_HOME:-$(CURDIR)/.dagster_home}" && { [ -d history ] || \
		DAGSTER_HOME="$$PWD" $(CURDIR)/$(BIN)/dagster instance migrate >/dev/null; }

lock: env  ## Write the lock files anew from pyproject.toml.
	@sh scripts/lock.sh $(BIN)
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--custom-compile-command "make lock" --upgrade --group bench -c requirements.lock -o bench/requirements.lock

bench: $(VENV)/.bench  ## Measure everything and write docs/performance.md. ARGS="--quick" and others: see bench/.
	@$(BIN)/python -m bench $(ARGS)

scale: env  ## Simulate 5,000 partitions on PostgreSQL: what the database holds, how fast it answers. ARGS="--partitions 500"
	@$(BIN)/python -m bench.scale $(ARGS)

$(VENV)/.bench: bench/requirements.lock $(STAMP)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r bench/requirements.lock
	@touch $@

clean:  ## Remove the environment and the demo's leftovers.
	@rm -rf $(VENV) .demo
