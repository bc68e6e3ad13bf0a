# Two commands matter: `make demo` and `make test`. Both set up everything they need from Python 3.11+ alone.

SHELL  := /bin/bash
PYTHON ?= python3
VENV   := .venv
# Processes of `make test`: three keep two processors busy, for a third of the time that tests take they wait.
WORKERS ?= 3
BIN    := $(VENV)/bin
override Q := $(value Q)
export Q

.DEFAULT_GOAL := help
.PHONY: help demo setup test chaos fuzz check format generate bench bench-quick lock models editor clean

help:  ## Show what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(VENV)/run.ok models  ## Answer questions from real documents with the embedded model (Q="..." asks your own)
	@$(BIN)/python examples/01-quickstart/build.py
ifeq ($(strip $(Q)),)
	@$(BIN)/loomd run examples/01-quickstart "What does the lambda expression create?"
	@echo
	@$(BIN)/loomd run examples/01-quickstart "What is the empty tuple written as?"
	@echo
	@echo 'Ask your own:  make demo Q="How do I leave a loop early?"'
else
	@$(BIN)/loomd run examples/01-quickstart "$$Q"
endif

models: $(VENV)/run.ok  ## Fetch and verify the embedded models
	@$(BIN)/loomd models pull --default

setup: $(VENV)/dev.ok  ## Install all that is needed to work on the code, and run nothing

test: $(VENV)/dev.ok models  ## Run the tests
	@$(BIN)/loomd models pull minilm
	@$(BIN)/python examples/01-quickstart/build.py
	@$(BIN)/pytest -n $(WORKERS) --dist worksteal $(ARGS)

chaos: $(VENV)/dev.ok  ## Kill daemons under 5,000 tasks and audit what they kept, then simulate 20,000 histories
	@$(BIN)/python -m tests.chaos.crash --tasks 5000 $(ARGS)
	@$(BIN)/python -m tests.simulation.run 1000000 --count 20000

fuzz: $(VENV)/dev.ok  ## Feed the reader of manifests what it has never seen, for ten minutes (TIME=600)
	@$(BIN)/python -m tests.manifest.fuzz $(or $(TIME),600)

check: $(VENV)/dev.ok  ## Formatter, linters, type checkers, floors, freshness of what is generated
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/pyright
	$(BIN)/python -m tests.house.generate --check

format: $(VENV)/dev.ok  ## Format the code and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

generate: $(VENV)/dev.ok  ## Write schemas/ and docs/reference/ from the types
	$(BIN)/python -m tests.house.generate

bench: $(VENV)/dev.ok models  ## Measure what is fast (benchmarks/README.md)
	@$(BIN)/python examples/01-quickstart/build.py
	$(BIN)/python benchmarks/run.py $(ARGS)

bench-quick: $(VENV)/dev.ok  ## The short form, which fails when something got far too slow
	$(BIN)/python benchmarks/run.py --quick --check --only startup,loop,manifests,journal

lock: $(VENV)/dev.ok  ## Resolve the dependencies anew
	$(BIN)/uv pip compile -q --universal --generate-hashes --no-header --python-version 3.11 --all-extras pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile -q --universal --generate-hashes --no-header --python-version 3.11 --all-extras --group dev -c requirements.lock pyproject.toml -o requirements-dev.lock

clean:  ## Remove the environment and all caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis dist build

# The environment. uv comes from the package registry like everything else; the locks pin every file by its hash.
$(VENV)/uv.ok:
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(f"loomd needs Python 3.11 or newer, this is {v[0]}.{v[1]}: make PYTHON=python3.12 ..." if v < (3, 11) else 0)'
	@$(PYTHON) -m venv $(VENV) || { echo "The venv module is missing: on Debian and Ubuntu, apt install python3-venv"; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@touch $@

$(VENV)/run.ok: $(VENV)/uv.ok requirements.lock pyproject.toml
	@echo "Installing loomd into $(VENV) ..."
	@VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --compile-bytecode --require-hashes -r requirements.lock
	@VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --no-deps --editable .
	@$(BIN)/python -m compileall -q loomd
	@touch $@

editor: $(VENV)/npm.ok  ## Fetch what some tests need from npm: the YAML language server, the schema of SARIF, two MCP servers

$(VENV)/npm.ok: | $(VENV)/uv.ok
	@npm install --silent --no-audit --no-fund --no-save --prefix $(VENV)/npm yaml-language-server@1.19.2 @microsoft/jest-sarif@1.0.0-beta.0 @modelcontextprotocol/server-everything@2026.8.31 @modelcontextprotocol/server-filesystem@2026.8.31
	@touch $@

$(VENV)/dev.ok: $(VENV)/run.ok requirements-dev.lock
	@echo "Installing the development tools ..."
	@VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --compile-bytecode --require-hashes -r requirements-dev.lock
	@touch $@
