# Every environment is .venv/NAME, made from requirements/NAME.txt and made anew when that lock changes.

PYTHON ?= python3
FAMILY ?= dmn_plus
PRESET ?= cpu
RUN    ?= runs/$(FAMILY)-$(PRESET)
NAME   ?= serve
BENCH  ?= ceiling
IMAGE  ?= engram

QUICK := not slow and not gpu and not image
PYTEST := -m pytest -q
SIDE_BY_SIDE := -n auto --maxprocesses 4 --dist worksteal

PIP := -m pip --disable-pip-version-check --no-input -qq
LOCK := .venv/lock/bin/uv pip compile --quiet --no-header --no-annotate --no-emit-index-url --no-emit-find-links \
  --python-version 3.11 --python-platform x86_64-manylinux_2_28 $(UPGRADE)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PRECIOUS: .venv/%/.ready .venv/%/.sdk
.PHONY: help serve serve-gpu demo test test-slow test-gpu test-torch-free check format train export bundles bench openapi environment lock image image-gpu clean

help:  ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

serve: .venv/serve/.ready  ## answer on port 8000 with every committed model, on the CPU and without torch
	@.venv/serve/bin/python -m server

serve-gpu: .venv/gpu/.ready  ## the same on a CUDA device (CUDA 13 and cuDNN 9 installed); fails where there is none
	@ENGRAM_DEVICE=cuda .venv/gpu/bin/python -m server

demo: .venv/torch-free/.sdk  ## start a server, ask where the milk is, show where the model looked, stop it
	@PATH="$(CURDIR)/.venv/torch-free/bin:$$PATH" docs/examples/demo.sh

test: .venv/dev/.sdk  ## run every test that is quick and needs no special machine
	@.venv/dev/bin/python $(PYTEST) $(SIDE_BY_SIDE) -m "$(QUICK) and not alone"
	@.venv/dev/bin/python $(PYTEST) -m "$(QUICK) and alone"

test-slow: .venv/dev/.sdk .venv/triton/.ready  ## run the tests marked slow
	@.venv/dev/bin/python $(PYTEST) -m "slow and not gpu and not image"

test-gpu: .venv/dev/.sdk  ## run the tests marked gpu
	@.venv/dev/bin/python $(PYTEST) -m gpu

test-torch-free: .venv/torch-free/.sdk  ## run the server's and the SDK's tests where torch cannot be imported
	@.venv/torch-free/bin/python -c 'import importlib.util as u; u.find_spec("torch") and exit("torch is importable here")'
	@.venv/torch-free/bin/python $(PYTEST) $(SIDE_BY_SIDE) -m "$(QUICK) and not alone" tests/server tests/end_to_end clients/python/tests
	@.venv/torch-free/bin/python $(PYTEST) -m "$(QUICK) and alone" tests/end_to_end

check: .venv/dev/.sdk  ## check format, lint, types and import rules, then make test
	@echo "format"  && .venv/dev/bin/ruff format --check --quiet .
	@echo "lint"    && .venv/dev/bin/ruff check --quiet .
	@echo "types"   && .venv/dev/bin/mypy --no-error-summary
	@echo "imports" && .venv/dev/bin/lint-imports --no-cache --no-logo
	@$(MAKE) --no-print-directory test

format: .venv/dev/.ready  ## format the code and apply the safe lint fixes
	@.venv/dev/bin/ruff check --fix --quiet . ; .venv/dev/bin/ruff format --quiet .

train: .venv/train/.ready  ## train FAMILY with PRESET into RUN; a killed run resumes
	@.venv/train/bin/python -m models train $(FAMILY) --preset $(PRESET) --run $(RUN)

export: .venv/train/.ready  ## turn the checkpoint in RUN into a verified bundle in model_repository
	@.venv/train/bin/python -m export $(RUN)

bundles: .venv/train/.ready  ## export every committed bundle anew from the checkpoint it keeps
	@.venv/train/bin/python -m export rebuild model_repository/*

bench: .venv/dev/.ready  ## measure one thing: BENCH is a module of benchmarks/, such as ceiling or memory
	@.venv/dev/bin/python -m benchmarks.$(BENCH)

openapi: .venv/dev/.ready  ## write docs/openapi.json from the application
	@.venv/dev/bin/python -c 'import json; from server.app import create_app; from server.settings import Settings; \
	  print(json.dumps(create_app(Settings()).openapi(), indent=2))' > docs/openapi.json

environment: .venv/$(NAME)/.ready  ## make .venv/NAME and run nothing; NAME is serve, gpu, train, torch-free or dev

lock:  ## resolve requirements/*.in into locks; UPGRADE=--upgrade moves to the latest versions
	@echo "resolving requirements"
	@$(PYTHON) -m venv .venv/lock && .venv/lock/bin/python $(PIP) install uv
	@$(LOCK) requirements/dev.in --output-file requirements/dev.txt
	@for name in serve gpu tracing torch-free train; do \
	  $(LOCK) --constraints requirements/dev.txt requirements/$$name.in --output-file requirements/$$name.txt || exit 1; done

image:  ## build the CPU image
	docker build --target cpu --tag $(IMAGE):cpu .

image-gpu:  ## build the CUDA image
	docker build --target gpu --tag $(IMAGE):gpu .

clean:  ## remove environments, caches and build outputs; training runs stay
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

define make_environment
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Engram needs Python 3.11 or newer and $(PYTHON) is %d.%d: name another with make PYTHON=python3.11" % sys.version_info[:2])'
	@echo "making .venv/$* from $<"
	@rm -rf .venv/$* && $(PYTHON) -m venv .venv/$*
	@.venv/$*/bin/python $(PIP) install --no-compile -r $<  # modules compile when first imported, most never are
	@touch $@
endef

.venv/%/.ready: requirements/%.txt
	$(make_environment)

.venv/%/.ready: tests/conformance/%.txt  # triton: a server to compare with, whose numpy is older than ours
	$(make_environment)

.venv/%/.sdk: .venv/%/.ready clients/python/pyproject.toml
	@.venv/$*/bin/python $(PIP) install --no-deps --no-build-isolation -e clients/python
	@touch $@
