# make demo    learn the over-the-counter market and print where the report is
# make test    the test suite (without the tests marked slow: make slow)
# make lint    ruff and pyright        make docs    the documentation, in docs/_build
#
# Needs python3 (3.11 or newer), pip and make. Works from any working directory (make -C DIR) and without git.

PYTHON ?= python3
ROOT := $(if $(wildcard pyproject.toml),.,$(patsubst %/,%,$(dir $(lastword $(MAKEFILE_LIST)))))
PY := .venv/bin/python
# Compilation runs in one thread: two processes, each with whole files, the longest first, keep two cores busy.
WORKERS := -n 2 --dist loadfile --no-loadscope-reorder --durations=10
# Instructions without AVX; only x86 knows the flag.
OTHER := $(if $(filter x86_64,$(shell uname -m)),XLA_FLAGS=--xla_cpu_max_isa=SSE4_2)

# An environment that another checkout left here, or whose Python is gone, is built anew.
HEALTHY := $(shell cd "$(ROOT)" && $(PY) -c "import os, diffgames; \
  print(os.path.samefile(os.path.dirname(diffgames.__file__), 'src/diffgames'))" 2>/dev/null)

.PHONY: demo test slow long float32 rounding lint docs environment clean
.DEFAULT_GOAL := demo

demo: environment
	@cd "$(ROOT)" && $(PY) -m diffgames run otc-market --preset quick

# The examples of the docs run once, as users run them: see float32.
test: environment
	@cd "$(ROOT)" && $(PY) -m pytest -q --ignore=tests/test_docs.py $(WORKERS)

slow: environment
	@cd "$(ROOT)" && sh scripts/install twins
	@cd "$(ROOT)" && $(PY) -m pytest -q -m "slow and not long" $(WORKERS)

# what trains for many minutes over several seeds: before a release
long: environment
	@cd "$(ROOT)" && $(PY) -m pytest -q -m long $(WORKERS)

# as users run it who never set JAX's flag for 64 bits: the market, precision, every example of the docs
float32: environment
	@cd "$(ROOT)" && JAX_ENABLE_X64=0 $(PY) -m pytest -q tests/markets tests/numerics/test_precision.py tests/test_docs.py $(WORKERS)

# as on a processor of other instructions, which rounds otherwise: what learns, in float32, and what certifies;
# the planted errors of exact gaps, far above any rounding, are left to `make test`
rounding: environment
	@cd "$(ROOT)" && JAX_ENABLE_X64=0 $(OTHER) $(PY) -m pytest -q tests/learning $(WORKERS)
	@cd "$(ROOT)" && $(OTHER) $(PY) -m pytest -q tests/verification -k "not planted_error_alike" $(WORKERS)

lint: environment
	@cd "$(ROOT)" && sh scripts/install lint
	@cd "$(ROOT)" && $(PY) -m ruff check && $(PY) -m ruff format --check
	@cd "$(ROOT)" && $(PY) -m pyright --pythonpath $(PY)

docs: environment
	@cd "$(ROOT)" && sh scripts/install docs
	@cd "$(ROOT)" && $(PY) -m sphinx -q -W -b html docs docs/_build

environment:
	@cd "$(ROOT)" && PYTHON="$(PYTHON)" HEALTHY="$(HEALTHY)" sh scripts/environment

clean:
	rm -rf "$(ROOT)/.venv" "$(ROOT)/docs/_build" "$(ROOT)/docs/api"
