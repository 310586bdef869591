# make demo | make test | make up | make check          (everything lives in .venv and .argus)
PYTHON ?= python3
PYTHON313 ?= python3.13
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
WORKERS ?= -n 3 --dist loadfile
PIP_FLAGS := --quiet --disable-pip-version-check

.PHONY: demo up test check check-313 crash conformance azurite bench format pages clean help

help:
	@echo "make demo    play one incident through the whole loop (ARGS=--wait leaves the approval to you; STORE=tables)"
	@echo "make up      keep the stack running until Ctrl-C (APPS=3: edge, core and exec apart)"
	@echo "make test    install and run all tests"
	@echo "make check   format, lint, types, import contracts, tests with coverage gates"
	@echo "make check-313   the tests again on Python 3.13 (PYTHON313=/path/to/python3.13)"
	@echo "make crash   kill -9 at 50 seeded points; nothing lost, nothing doubled (ARGS='--kills 200 --seed 7')"
	@echo "make conformance   Microsoft's own Service Bus tests and the JavaScript SDK against the broker (downloads both)"
	@echo "make azurite the store's contract against Azurite (downloads it; needs node and npm)"
	@echo "make bench   storm, duplicates, latency, lists, growth and cost beside Alertmanager (about an hour)"

$(STAMP): requirements.txt requirements-dev.txt
	@command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) is not here; ARGUS needs Python 3.11 or newer"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: ARGUS needs Python 3.11 or newer; set PYTHON=/path/to/it"; exit 1; }
	@echo "installing into $(VENV) (about a minute, once) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(PY) -m pip install $(PIP_FLAGS) -r requirements-dev.txt
	@touch $(STAMP)

demo: $(STAMP)
	@$(PY) -m local demo $(ARGS)

up: $(STAMP)
	@exec $(PY) -m local up $(ARGS)

test: $(STAMP)
	$(PY) -m pytest $(WORKERS) $(ARGS)

check: $(STAMP)
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports
	$(PY) -m coverage erase
	$(PY) -m coverage run -m pytest $(WORKERS) $(ARGS)
	@$(PY) -m coverage combine --quiet
	$(PY) -m coverage report --include='shared/*,functions/*' --fail-under=90
	$(PY) -m coverage report --include='local/*,argus/*' --fail-under=85

check-313:
	@command -v $(PYTHON313) >/dev/null || { echo "error: $(PYTHON313) is not here; set PYTHON313=/path/to/python3.13"; exit 1; }
	$(MAKE) test PYTHON=$(PYTHON313) VENV=.venv-313 PY=.venv-313/bin/python STAMP=.venv-313/.installed

crash: $(STAMP)
	$(PY) -m benchmarks crash --kills 50 --seed 1 $(ARGS)

conformance: $(STAMP)
	$(PY) -m tests.local.servicebus_conformance $(ARGS)

azurite: $(STAMP)
	$(PY) -m tests.contracts.azurite $(ARGS)

bench: $(STAMP)
	@for name in cost latency lists duplicates growth storm; do $(PY) -m benchmarks $$name $(ARGS) || exit 1; done

format: $(STAMP)
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

pages: $(STAMP)
	$(PY) -m local pages

clean:
	rm -rf $(VENV) .venv-313 .argus .coverage* .mypy_cache .ruff_cache .pytest_cache .hypothesis
