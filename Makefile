# Everything from a fresh checkout: needs Python 3.11 or newer and make; uses uv where it is found, else venv and pip, which brings uv.
#   make run ARGS="--port 9000"    the whole platform, alive        make test ARGS="-k book"    all tests
#   make check                     what CI demands                  make bench                  the measurements
# What a recipe says goes to standard error: the standard output of `make run ARGS=--ready-json` is one line of JSON.

SHELL := /bin/sh
ARGS ?=
VENV ?= .venv
BIN := $(VENV)/bin
UV := $(shell command -v uv 2>/dev/null)
CANDIDATES := python3 python3.13 python3.12 python3.11 python3.14 python
PYTHON ?= $(shell for name in $(CANDIDATES); do \
	"$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { command -v "$$name"; break; }; done)
NO_PYTHON := Alhambra needs Python 3.11 or newer, and none is on the PATH: install one, or name it with PYTHON=/path/to/python3.
NO_VENV := This Python cannot make a virtual environment: install its venv module (on Debian and Ubuntu: apt-get install python3-venv).
BUILT_FROM := pyproject.toml hatch_build.py $(wildcard dashboard/frontend/*.js*) $(wildcard dashboard/locale/*/*/*.po)

.PHONY: run install dev test check bench bench-ratios bench-peers soak test-kafka java chromium requirements clean
.DEFAULT_GOAL := run

run: $(VENV)/installed
	@exec $(BIN)/alhambra up $(ARGS)

install: $(VENV)/installed

dev: $(VENV)/installed-dev

# Each worker has servers of its own; with -s they would talk at once, so then there is one.
WORKERS ?= $(if $(filter -s,$(ARGS)),0,logical)
test: $(VENV)/installed-dev chromium
	@exec $(BIN)/python -m pytest --numprocesses $(WORKERS) --maxprocesses 4 --dist loadfile $(ARGS)

check: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/installed
	$(BIN)/alhambra bench book
	$(BIN)/alhambra bench start
	$(BIN)/alhambra bench pipeline
	$(BIN)/alhambra bench pipeline --portfolios 84 --max-hz 20
	$(BIN)/alhambra bench encodings
	$(BIN)/alhambra bench feeds
	$(BIN)/alhambra bench fanout
	$(BIN)/alhambra bench fanout --rooms own
	$(BIN)/alhambra bench fanout --clients 5000 --transport websocket

# The same as ratios within one run, which hold on any machine; nothing fails on a time.
bench-ratios: $(VENV)/installed-dev
	@exec $(BIN)/python -m pytest tests/benchmarks --benchmark-enable --benchmark-only -s $(ARGS)

# What one core of the web process delivers, beside Node's socket.io under the same load: some eight minutes.
bench-peers: $(VENV)/installed-dev
	@exec $(BIN)/python -m pytest tests/benchmarks/test_fanout.py --benchmark-enable -s $(ARGS)

# Ten minutes (SOAK_SECONDS) of all that can happen to it, with 200 clients (SOAK_CLIENTS): every client must hold what
# the bank holds after each fault, and memory must not grow; it is drawn in SOAK_DIR, .soak where that is not set.
soak: $(VENV)/installed-dev
	@SOAK_SECONDS="$${SOAK_SECONDS:-600}" $(BIN)/python -m pytest tests/live/test_soak.py -s $(ARGS)

# On Apache Kafka: the one that KAFKA_BOOTSTRAP_SERVERS names, which must hold none of our topics; else one that Maven
# fetches, once, and Java runs. Without them the tests skip, unless CI=true: then that is a failure. They take some four
# minutes, for want of a faster way to let a session expire.
test-kafka: $(VENV)/installed-dev java
	@exec $(BIN)/python -m pytest -m kafka $(ARGS)

# Apache Kafka wants Java, and Maven fetches it; Debian's packages are installed where they lack and we may.
java:
	@test -n "$$KAFKA_BOOTSTRAP_SERVERS" || { command -v java && command -v mvn; } >/dev/null \
	|| { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && apt-get update -qq >&2 \
	     && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq default-jre-headless maven >&2; } \
	|| echo "Without Java and Maven there is no Apache Kafka to test on." >&2

# The browser tests drive a real Chromium; Debian's package is installed where there is none and we may.
chromium:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null \
	|| test "$$ALHAMBRA_BROWSER" = skip \
	|| { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && apt-get update -qq >&2 \
	     && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >&2; } \
	|| { echo "The browser tests need Chromium: install it, or set ALHAMBRA_BROWSER=skip." >&2; exit 1; }

$(VENV)/pyvenv.cfg:
	@test -n "$(PYTHON)$(UV)" || { echo "$(NO_PYTHON)" >&2; exit 1; }
	@if test -n "$(UV)"; then "$(UV)" venv --quiet --python "$(or $(PYTHON),>=3.11)" $(VENV) >&2; \
	else "$(PYTHON)" -m venv $(VENV) >&2 || { rm -rf $(VENV); echo "$(NO_VENV)" >&2; exit 1; }; \
	$(BIN)/python -m pip --disable-pip-version-check --quiet install --require-hashes -r requirements-uv.txt >&2; fi

$(VENV)/installed: $(VENV)/pyvenv.cfg requirements.txt requirements-uv.txt $(BUILT_FROM)
	@echo "Installing Alhambra into $(VENV) ..." >&2
	@$(INSTALL) --require-hashes -r requirements.txt >&2
	@$(INSTALL) --no-deps -e . >&2
	@touch $@

$(VENV)/installed-dev: requirements-dev.txt $(VENV)/installed
	@echo "Installing what the tests need ..." >&2
	@$(INSTALL) --require-hashes -r requirements-dev.txt >&2
	@touch $@

# Where there is no uv, pip brings it into the environment: it installs in a tenth of the time.
INSTALL = VIRTUAL_ENV=$(VENV) "$(or $(UV),$(BIN)/uv)" pip install --quiet

# Pins every package with its hashes, for all systems and Pythons; --no-emit-index-url keeps registries' addresses out.
COMPILE := uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
	--no-emit-index-url --no-emit-find-links --quiet $(ARGS)
requirements:
	@command -v uv >/dev/null || { echo "Pinning needs uv." >&2; exit 1; }
	echo uv | $(COMPILE) - -o requirements-uv.txt
	$(COMPILE) pyproject.toml -o requirements.txt
	$(COMPILE) pyproject.toml --extra dev -c requirements.txt -o requirements-dev.txt
	@! grep -nE '://|^-' requirements*.txt

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
