# Two commands matter: `make demo` shows elanus at work, `make test` proves it. Every target sets up what it needs.
#
# A fresh machine needs Python 3.11+ (with venv), make, and a network to the package registries; Go 1.25+ for the
# Kitex peers. Nothing is installed outside of this folder.

PYTHON ?= python3
UV_VERSION := 0.13.8
# Files of unit tests are dealt out to the cores.
PARALLEL := --numprocesses auto --dist loadfile
VENV := .venv
BIN := $(VENV)/bin
SETUP := $(VENV)/.setup
PROJECTS := pyproject.toml $(wildcard core/pyproject.toml plugins/*/pyproject.toml)
SOURCES := core/src $(wildcard plugins/*/src)

export UV_PYTHON_DOWNLOADS := never

.DEFAULT_GOAL := help
.PHONY: help setup demo test check format unit pythons wheels interop integration peers bench hedge profile soak overload clean

help:  ## Show what there is.
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

setup: $(SETUP)  ## Build .venv with every member of the workspace and the tools.

$(SETUP): $(PROJECTS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "elanus needs Python 3.11 or newer; say which: make PYTHON=python3.12 ..."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
	  { echo "python has no venv module; on Debian: apt-get install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(BIN)/uv sync --quiet --all-groups --inexact
	@touch $@

REGISTRY ?= file
demo: setup  ## Three instances, one killed under load; then Kitex on either end. REGISTRY=file, etcd or consul.
	REGISTRY=$(REGISTRY) $(BIN)/python -m examples.demo

test: check unit pythons wheels peers interop integration  ## Everything that must hold.

check: setup  ## Static checks: lint, format, types, who may import whom.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy $(SOURCES) tests benchmarks examples
	$(BIN)/lint-imports --no-logo

format: setup  ## Format the code and fix what can be fixed.
	$(BIN)/ruff check --fix --quiet . || true
	$(BIN)/ruff format --quiet .

unit: setup  ## Unit tests, on the Python of .venv.
	$(BIN)/pytest -q $(PARALLEL) -m "not interop and not integration and not wheels and not soak"

pythons: setup  ## The same on every other supported Python that the machine has.
	$(BIN)/python -m tests.pythons

wheels: setup  ## Each wheel alone in an empty environment, with its own tests.
	$(BIN)/pytest -q -m wheels tests/house

peers: setup  ## Build the Go peers and the registries from their modules; what cannot be built is said by the tests.
	-$(BIN)/python -m tests.interop.build_peers
	-$(BIN)/python -m tests.integration.build_servers

interop: setup  ## Against real peers: Go Kitex, thriftpy2, Apache Thrift.
	$(BIN)/pytest -q -m "interop and not soak" tests

integration: setup  ## Against real registries: etcd, Consul, a DNS server; with every outage that can be staged.
	$(BIN)/pytest -q -m "integration and not soak" tests

bench: setup  ## Side by side with its peers, in one run; see benchmarks/README.md.
	$(BIN)/python -m benchmarks
	$(BIN)/python -m benchmarks --idle
	$(BIN)/python -m benchmarks --import
	$(BIN)/python -m benchmarks --discovery

hedge: setup  ## What hedging does about a tail: real servers of which one reply in twenty is half a second late.
	$(BIN)/python -m benchmarks.hedging

overload: setup  ## Three times more calls than a real server can serve: no limiter, token, adaptive.
	$(BIN)/python -m benchmarks.overload

profile: setup  ## Where the microseconds of a call go.
	$(BIN)/python -m benchmarks --profile

soak: setup  ## A million concurrent calls with faults; memory, tasks and descriptors must stay flat.
	$(BIN)/pytest -q -m soak --timeout=3600 tests plugins

clean:  ## Remove what was built; .peers stays, it is slow to build.
	rm -rf $(VENV) .venv-* bench-results .wheels
