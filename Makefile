# What one can do here. Each target sets up what it needs; `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PY := .venv/bin/python
# Byte code is kept between runs, where the environment would forbid it too: making it anew, with the rewritten
# assertions of the tests, takes half a minute of each process that collects them. Empty means: not forbidden.
export PYTHONDONTWRITEBYTECODE :=
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && { echo $$p; break; }; done)
STAMP := .venv/.installed
CATALOG := locale/de/LC_MESSAGES/django
CODE := byokportal tenants keys support tests manage.py
DEV_ENV := EMBEDDED=1 SECRET_KEY=not-a-secret-only-for-checks BASE_URL=http://localhost:8000 VAR_DIR=$(shell mktemp -du)
# A production-like environment for the checks that judge settings.
DEPLOY_ENV := EMBEDDED=0 SECRET_KEY=$$($(PY) -c 'import secrets; print(secrets.token_urlsafe(60))') ALLOWED_HOSTS=byok.example BASE_URL=https://byok.example \
	BEHIND_PROXY=1 AWS_MODE=real AWS_ACCOUNT_ID=111122223333 CANARY_ACCOUNT_ID=444455556666 STAFF_EMAIL_DOMAINS=byok.example \
	DATABASE_URL=postgres://byok:byok@db.byok.example/byok REDIS_URL=redis://redis.byok.example:6379/0 EMAIL_URL=smtp+tls://user:password@mail.byok.example:587 \
	DEFAULT_FROM_EMAIL=byok@byok.example SUPPORT_EMAIL=support@byok.example SEAL_HEADS_DIR=/var/lib/byok/heads \
	SEAL_KMS_KEY_ARN=arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab \
	ON_CALL_WEBHOOK_URL=https://on-call.byok.example/page ON_CALL_WEBHOOK_SECRET=whsec_$$($(PY) -c 'import base64, os; print(base64.b64encode(os.urandom(32)).decode())')

.PHONY: help run demo test test-all test-beside-servers screenshots omissions conformance mutate mutants bench ci format lint types imports check openapi messages lock clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

$(STAMP): requirements-dev.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed; none was found."; exit 1; }
	@test -x $(PY) || $(PYTHON) -m venv .venv
	@awk '/^uv==/{take=1} take{print} take && !/\\$$/{exit}' requirements-dev.txt > .venv/uv.txt  # the installer, with its hashes too
	@$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r .venv/uv.txt || true
	@if $(PY) -m uv --version >/dev/null 2>&1; then $(PY) -m uv pip install --quiet --compile-bytecode --python $(PY) --require-hashes -r requirements-dev.txt; \
	else $(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt; fi
	@$(PY) -m compileall -q -j 0 $(CODE)
	@touch $@

# The catalogs of sentences, compiled by our own code: nobody needs the programs of gettext to run this.
$(CATALOG).mo: $(CATALOG).po byokportal/catalogs.py | $(STAMP)
	@$(PY) -m byokportal.catalogs compile

run: $(STAMP) $(CATALOG).mo ## the whole system on this machine: portal, back office, workers, local AWS (PORT, AWS_PORT, VAR_DIR)
	@exec $(PY) -m byokportal.embedded run

demo: $(STAMP) $(CATALOG).mo ## the whole journey, headless; exit 0 only if all of it worked
	@exec $(PY) -m byokportal.embedded demo

test: $(STAMP) $(CATALOG).mo ## the suite; nothing to start first
	@$(PY) -m pytest -n 2 --dist worksteal -q -m "not slow"

test-all: $(STAMP) $(CATALOG).mo ## the suite with its long runs
	@$(PY) -m pytest -n 2 --dist worksteal -q

test-beside-servers: $(STAMP) $(CATALOG).mo
	@$(PY) -m pytest -n 2 --dist worksteal -q --beside-servers

SCREENSHOTS ?= var/screenshots
screenshots: $(STAMP) $(CATALOG).mo ## a picture of every page in every state, light, dark and on a phone, in SCREENSHOTS (var/screenshots)
	@mkdir -p $(SCREENSHOTS)
	@SCREENSHOTS=$(abspath $(SCREENSHOTS)) $(PY) -m pytest -q tests/browser/test_every_page_in_chromium.py tests/browser/test_home_in_chromium.py
	@echo "$$(ls $(SCREENSHOTS) | wc -l) pictures in $(SCREENSHOTS)"

# The tables of the suite that know every operation, address, page, mail, event, check, cause, error and move.
OMISSIONS := tests/architecture/test_log.py tests/architecture/test_vocabulary.py tests/architecture/test_permissions.py tests/architecture/test_mounted_urls.py \
	tests/architecture/test_who_may.py tests/architecture/test_query_budgets.py tests/architecture/test_tenant_isolation.py tests/architecture/test_old_words.py \
	tests/architecture/test_pasted_secrets.py tests/tenants/test_token_permissions.py tests/keys/test_two_operations_at_once.py tests/support/test_notices.py \
	tests/unit/test_checks.py tests/unit/test_diagnosis.py tests/tenants/test_ocsf_events.py tests/browser/test_every_page_in_chromium.py

omissions: $(STAMP) $(CATALOG).mo ## what something new still lacks: see the recipes in CONTRIBUTING.md
	@$(DEV_ENV) $(PY) manage.py makemigrations --check --dry-run; $(MAKE) --no-print-directory openapi-check imports; \
	$(PY) -m pytest -n 2 -q -m "not slow" $(OMISSIONS)

conformance: $(STAMP) ## the table of AWS's behaviour against real AWS: CONFORMANCE_OURS=profile CONFORMANCE_THEIRS=profile
	@test -n "$$CONFORMANCE_OURS" -a -n "$$CONFORMANCE_THEIRS" || { echo "Off: name the AWS profiles of two accounts to try things in, CONFORMANCE_OURS=… CONFORMANCE_THEIRS=…"; exit 1; }
	@CONFORMANCE=real $(PY) -m pytest -n 4 -q tests/localaws/test_conformance.py

mutate: $(STAMP) ## switch off each rule of the local AWS and see its table go red (RULE=word for some)
	@$(PY) tests/localaws/mutations.py $(RULE)

mutants: $(STAMP) $(CATALOG).mo ## turn off each security switch of the system and see its tests go red (RULE=word for some)
	@$(PY) -m tests.mutants $(RULE)

BENCH_STAMP := .venv-bench/.installed
$(BENCH_STAMP): requirements-bench.txt $(STAMP)
	@test -x .venv-bench/bin/python || $(PYTHON) -m venv .venv-bench
	@if $(PY) -m uv --version >/dev/null 2>&1; then $(PY) -m uv pip install --quiet --python .venv-bench/bin/python --require-hashes -r requirements-bench.txt; \
	else .venv-bench/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-bench.txt; fi
	@touch $@

bench: $(STAMP) $(BENCH_STAMP) ## what things cost, as a table (BENCH=name for some)
	@$(PY) -m tests.bench $(BENCH)

soak: $(STAMP) ## the long runs: faults and killed processes (SOAK_SECONDS, default 600), Suspend under load (SUSPEND_TRIALS, default 100), step 5 by twenty workers (CONFIGURATION_ROUNDS, default 200), the API against its OpenAPI (SCHEMA_EXAMPLES, default 5: 5,300 cases), calls of any shape to the local AWS (SHAPE_EXAMPLES, default 10,000), broken documents in the paste box (BROKEN_DOCUMENTS, default 5,000 for each of ten seeds), and all of `make chaos`
	@CONFIGURATION_ROUNDS=$${CONFIGURATION_ROUNDS:-200} CONFIGURATION_STEPS=$${CONFIGURATION_STEPS:-1000} $(PY) -m pytest -q -p no:xdist tests/keys/test_many_configure_one_role.py
	@SCHEMA_EXAMPLES=$${SCHEMA_EXAMPLES:-5} $(PY) -m pytest -q -n 2 tests/api/test_openapi_holds.py
	@SHAPE_EXAMPLES=$${SHAPE_EXAMPLES:-10000} $(PY) -m pytest -q -p no:xdist tests/localaws/test_every_shape.py -k for_long
	@BROKEN_DOCUMENTS=$${BROKEN_DOCUMENTS:-5000} $(PY) -m pytest -q -n 2 tests/unit/test_linter_fuzz.py -k thousands
	@$(PY) -m tests.soak
	@$(PY) -m tests.soak.suspend
	@$(PY) -m tests.soak.chaos

.PHONY: chaos
chaos: $(STAMP) $(CATALOG).mo ## what breaks, one after another, under load (CASE=name,… for some, CHAOS_SECONDS=20 an outage, CHAOS_AWS_SECONDS=600, CHAOS_ROUNDS=6); PostgreSQL and Redis are started for it
	@CASE="$(CASE)" $(PY) -m tests.soak.chaos

.PHONY: upgrade-drill
upgrade-drill: $(STAMP) $(CATALOG).mo ## two versions beside each other under load: from OLD=revision (default: the newest one with other migrations), UPGRADE_SECONDS=20 a phase; PostgreSQL and Redis are started for it
	@$(PY) -m tests.soak.upgrade

ci: $(STAMP) $(CATALOG).mo ## everything that has to pass before a change lands; what asks a database runs on PostgreSQL, and with FULL=1 on SQLite too
	@$(MAKE) --no-print-directory format-check lint types imports check openapi-check messages-check
	@if [ -z "$(FULL)" ] && $(PY) tests/on_servers.py --found; then $(MAKE) --no-print-directory test-beside-servers; \
	else $(MAKE) --no-print-directory test-all; fi
	@$(PY) tests/on_servers.py

format: $(STAMP) ## format the code
	@$(PY) -m ruff format $(CODE)
	@$(PY) -m ruff check --fix --quiet $(CODE) || true

.PHONY: format-check openapi-check messages-check
format-check: $(STAMP)
	@echo "== format"; $(PY) -m ruff format --check --quiet $(CODE)

lint: $(STAMP) ## ruff
	@echo "== lint"; $(PY) -m ruff check --quiet $(CODE)

types: $(STAMP) ## mypy
	@echo "== types"; $(DEV_ENV) $(PY) -m mypy byokportal tenants keys support

imports: $(STAMP) ## import contracts
	@echo "== imports"; PYTHONPATH=. .venv/bin/lint-imports --no-logo

check: $(STAMP) $(CATALOG).mo ## Django's checks and missing migrations
	@echo "== check"; export STATIC_ROOT=$$(mktemp -d) $(DEPLOY_ENV); \
	$(PY) manage.py collectstatic --noinput --verbosity 0 && $(PY) manage.py check --deploy --fail-level WARNING; status=$$?; rm -rf "$$STATIC_ROOT"; exit $$status
	@$(DEV_ENV) $(PY) manage.py makemigrations --check --dry-run

openapi: $(STAMP) ## write docs/openapi.yaml
	@$(DEV_ENV) $(PY) manage.py spectacular --file docs/openapi.yaml

openapi-check: $(STAMP)
	@echo "== openapi"; $(DEV_ENV) $(PY) manage.py spectacular | diff -u docs/openapi.yaml - || { echo "docs/openapi.yaml is old: make openapi"; exit 1; }

messages: $(STAMP) ## write the sentences of code and templates into locale/ (needs gettext)
	@$(DEV_ENV) $(PY) manage.py makemessages --verbosity 0

messages-check: $(STAMP)
	@echo "== messages"; was=$$(mktemp); cp $(CATALOG).po $$was; $(MAKE) --no-print-directory messages; \
	diff -u $$was $(CATALOG).po; status=$$?; cp $$was $(CATALOG).po; rm $$was; \
	[ $$status = 0 ] || { echo "$(CATALOG).po is old: make messages, then translate what is new"; exit 1; }
	@$(PY) -m byokportal.catalogs check

lock: $(STAMP) ## compile the requirements with hashes
	@$(PY) -m uv pip compile --quiet --no-header --generate-hashes --universal --python-version 3.11 requirements-dev.in -o requirements-dev.txt
	@for part in requirements requirements-embedded; do $(PY) -m uv pip compile --quiet --no-header --generate-hashes --universal --python-version 3.11 $$part.in -c requirements-dev.txt -o $$part.txt || exit 1; done
	@$(PY) -m uv pip compile --quiet --no-header --generate-hashes --universal --python-version 3.11 requirements-bench.in -o requirements-bench.txt

clean: ## remove what was made here, but not var/
	@rm -rf .venv .venv-bench .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
