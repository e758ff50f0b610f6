# `make help` lists the targets. Everything they make is inside this directory: .venv, .cache, models.

PYTHON ?= python3
PORT ?= 8000
EVENT ?=
BULK_ROWS ?= 20000
CONFIG ?= models.toml
# As pyproject.toml's requires-python.
PYTHONS := 3.11-3.14
OLDEST_PYTHON := 3.11
VENV := .venv/bin
RUN := $(VENV)/python
# A process for each CPU, up to four; tests of one file stay together. What measures time (emulator) runs alone.
SIDE_BY_SIDE := -n logical --maxprocesses 4 --dist loadfile
UV_COMPILE = $(VENV)/uv pip compile --quiet --universal --python-version $(OLDEST_PYTHON) --generate-hashes \
	--no-header --no-annotate --no-emit-index-url --no-emit-find-links --no-emit-package torch $(LOCK_FLAGS)

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test check lint test-unit test-emulator coverage test-clients test-bulk bulk-demo invoke serve build verify image image-info scan test-image bench bench-quick bench-image bench-lazy bench-lazy-quick soak lock clean build-venv dev-venv

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: build-venv ## embed and rerank real texts under the Lambda Runtime Interface Emulator
	@$(RUN) -m scripts.local.demo

test: lint ## ruff, mypy and the tests (soak and image aside)
	@$(RUN) -m pytest $(SIDE_BY_SIDE) -m "not image and not soak and not long and not emulator and not bulk"
	@$(RUN) -m pytest -m "emulator and not image and not soak and not long and not bulk"
	@echo "not run: jobs over S3 (make test-bulk), and the image's tests, which need Docker (make image test-image)"

check: lint test-unit ## ruff, mypy and the fast tests: before each commit

lint: dev-venv ## ruff and mypy alone
	@$(VENV)/ruff check .
	@$(VENV)/ruff format --check --quiet .
	@$(VENV)/mypy

test-unit: dev-venv ## the fast tests alone
	@$(RUN) -m pytest -q $(SIDE_BY_SIDE) -m "not image and not soak and not long and not emulator and not bulk"

test-emulator: dev-venv ## the tests under the Lambda Runtime Interface Emulator alone
	@$(RUN) -m pytest -m "emulator and not image and not soak and not long and not bulk"

coverage: dev-venv ## the fast tests of the function with the coverage of its lines (the floor is in pyproject.toml)
	@$(RUN) -m pytest -q tests/unit/app -m "not image and not soak and not long and not emulator and not bulk" --cov

test-clients: dev-venv ## official clients, unmodified, against the function over HTTP
	@$(RUN) -m scripts.dev.clients -q

test-bulk: dev-venv ## jobs over S3 for real: MiniStack, emulators, killed children (BULK_ROWS=20000)
	@BULK_ROWS="$(BULK_ROWS)" $(RUN) -m pytest -m bulk

bulk-demo: dev-venv ## 20,000 rows through the state machine of template.yaml on this machine (MiniStack, emulators)
	@$(RUN) -m scripts.bulk demo

invoke: build-venv ## send one event to the function and print its response (EVENT=events/direct-embed.json)
	@$(RUN) -m scripts.local.invoke "$(EVENT)"

serve: build-venv ## the function on http://localhost:8000, for HTTP clients and boto3 (PORT=9000 for another)
	@$(RUN) -m scripts.local.embedded_bundle
	@$(RUN) -m scripts.local.serve --port "$(PORT)"

build: build-venv ## build the production models into models/ (CONFIG=models.minilm.toml for the small one)
	@$(RUN) build_models.py --config "$(CONFIG)"

verify: build-venv ## hash every file of the bundle in models/
	@$(RUN) build_models.py --verify models

image: ## build the function's image (BUNDLE_FROM=prebuilt takes models/; the README lists what else)
	@"$(PYTHON)" -m scripts.image.build

image-info: ## layers, models and their verification, packages of an image (IMAGE=name; default: the one built last)
	@"$(PYTHON)" -m scripts.image.info

scan: ## bill of materials of an image (CycloneDX) and known vulnerabilities
	@programs=$$("$(PYTHON)" -m scripts.dev.environments scan) && "$$programs/python" -m scripts.image.scan

test-image: dev-venv ## the tests of an image and of its callers (IMAGE=name; default: the one built last)
	@$(RUN) -m pytest -m "image and not soak and not long"

bench: dev-venv ## the cold start beside its alternatives
	@$(RUN) -m benchmarks.coldstart

bench-quick: dev-venv ## the same in three minutes
	@$(RUN) -m benchmarks.quick

bench-image: dev-venv ## the image with full-size models: size, start, memory, and the chunks a start touches
	@$(RUN) -m benchmarks.image

bench-lazy: dev-venv ## the cold start from images that arrive chunk by chunk, as in Lambda (root, FUSE, Docker)
	@$(RUN) -m benchmarks.lazy_image $(LAZY_FLAGS)

bench-lazy-quick: dev-venv ## the same of one image, with bounds (IMAGE=name; default: the one built last)
	@$(RUN) -m benchmarks.lazy_image --quick $(LAZY_FLAGS)

soak: dev-venv ## the long tests: thousands of requests, tens of thousands of texts
	@$(RUN) -m pytest -m "soak or long" -s

lock: dev-venv ## resolve requirements/*.txt anew from pyproject.toml (LOCK_FLAGS=--upgrade for newer versions)
	@$(UV_COMPILE) pyproject.toml -o requirements/runtime.txt
	@$(UV_COMPILE) pyproject.toml --extra build -c requirements/runtime.txt -o requirements/build.txt
	@$(UV_COMPILE) pyproject.toml --extra fetch -c requirements/runtime.txt -o requirements/fetch.txt
	@$(UV_COMPILE) pyproject.toml --extra bulk -c requirements/fetch.txt -o requirements/bulk.txt
	@$(UV_COMPILE) pyproject.toml --extra bulk --extra build --extra dev -c requirements/bulk.txt -c requirements/build.txt -o requirements/dev.txt
	@$(UV_COMPILE) --no-config requirements/clients.in -o requirements/clients.txt
	@$(UV_COMPILE) --no-config requirements/scan.in -o requirements/scan.txt
	@$(UV_COMPILE) --no-config requirements/sam.in -o requirements/sam.txt
	@$(UV_COMPILE) --no-config requirements/schemathesis.in -o requirements/schemathesis.txt
	@$(UV_COMPILE) --no-config requirements/ministack.in -o requirements/ministack.txt

clean: ## remove models/, compare/, .cache and what tools left; .venv stays
	@rm -rf models compare .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist *.egg-info
	@find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +

build-venv:
	@command -v "$(PYTHON)" >/dev/null || { echo "no $(PYTHON) here: install Python $(PYTHONS), or name one with PYTHON=" >&2; exit 1; }
	@"$(PYTHON)" scripts/dev/bootstrap.py build

dev-venv:
	@command -v "$(PYTHON)" >/dev/null || { echo "no $(PYTHON) here: install Python $(PYTHONS), or name one with PYTHON=" >&2; exit 1; }
	@"$(PYTHON)" scripts/dev/bootstrap.py dev
