# The commands of stockpick. `make` alone lists them.
#
# Variables: PYTHON, the Python that makes .venv. Of `make demo`: SOURCE=simulated|recorded, BARS=<Parquet file>,
# SESSION=YYYY-MM-DD, SPEED=<market minutes a minute>, ONCE=1 to end after three published minutes.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help .venv demo live stop clean test unit integration packages minio lint format types docs

PYTHON ?= python3
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/stockpick
MINIO := github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c

help: ## list the commands
	@sed -n 's/^\([.a-z-]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

.venv: .venv/installed ## make the virtual environment from constraints.txt

.venv/installed: constraints.txt setup.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	    echo "stockpick needs Python 3.11 or newer, and $(PYTHON) is $$($(PYTHON) --version 2>&1); install one and name it: make PYTHON=python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "installing into .venv"
	@if command -v uv >/dev/null; then \
	    uv venv --quiet --allow-existing --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')" .venv; \
	    uv pip install --quiet --python .venv/bin/python --constraint constraints.txt --editable '.[dev]'; \
	else \
	    $(PYTHON) -m venv .venv; \
	    .venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'; \
	fi
	@touch $@

demo: .venv ## the whole platform on this machine, offline; Ctrl-C stops it
	@.venv/bin/stockpick demo $(if $(SOURCE),--source '$(SOURCE)') $(if $(BARS),--bars '$(BARS)') \
	    $(if $(SESSION),--session '$(SESSION)') $(if $(SPEED),--speed '$(SPEED)') $(if $(filter-out 0,$(ONCE)),--once)

live: .venv ## the same on Yahoo Finance
	@.venv/bin/stockpick live

stop: .venv ## stop the services of this home
	@.venv/bin/stockpick down

clean: .venv ## remove the data of this home; asks before
	@.venv/bin/stockpick clean

test: lint types unit integration ## style, types and every test, on everything they need

unit: .venv packages ## the tests that need no service
	@.venv/bin/python -m pytest --numprocesses 2 --dist loadgroup --ignore stockpick_assets_tests/integration

integration: .venv packages minio ## the tests on real services
	@.venv/bin/python -m pytest --numprocesses 2 --dist loadgroup stockpick_assets_tests/integration

# PostgreSQL, and for the integration tests a browser and a MinIO, all of the tests' own.
packages:
	@missing=; \
	command -v chromium chromium-browser google-chrome >/dev/null || missing+=" chromium"; \
	compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null || command -v postgres >/dev/null || missing+=" postgresql"; \
	if [ -n "$$missing" ]; then \
	    if [ "$$(id -u)" = 0 ]; then root=; elif sudo -n true 2>/dev/null; then root=sudo; else root=none; fi; \
	    if [ "$$root" = none ] || ! command -v apt-get >/dev/null; then \
	        echo "the tests need$$missing; install it (Debian: sudo apt-get install$$missing)" >&2; exit 1; \
	    fi; \
	    echo "installing$$missing"; \
	    $$root apt-get update -qq; \
	    DEBIAN_FRONTEND=noninteractive $$root apt-get install -qq -y --no-install-recommends $$missing >/dev/null; \
	fi

minio:
	@if ! command -v minio >/dev/null && [ ! -x '$(CACHE)/bin/minio' ]; then \
	    command -v go >/dev/null || { echo "the integration tests need MinIO, or Go to build it: put minio or go on PATH" >&2; exit 1; }; \
	    echo "building MinIO (some minutes, once)"; \
	    CGO_ENABLED=0 GOBIN='$(CACHE)/bin' go install -trimpath -ldflags '-s -w' $(MINIO); \
	fi

lint: .venv ## style and formatting
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .

format: .venv ## write the formatting
	@.venv/bin/ruff format .
	@.venv/bin/ruff check --fix .

types: .venv ## check the types
	@.venv/bin/pyright

docs: .venv ## write docs/features.md from the tables it describes
	@.venv/bin/python -c 'from pathlib import Path; from stockpick_assets.core.feature_page import feature_page; \
	    Path("docs/features.md").write_text(feature_page(), encoding="utf-8")'
