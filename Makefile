# Everything a developer or CI runs. Every target does its own set-up in .venv; `make` alone lists them.
#
# Variables: PYTHON (the interpreter .venv is made from, 3.11 or later), ARGS (more arguments for pytest, `lunar perf
# compare`, the lab or the demo), TESTS (what `make test` runs, default all of tests/).

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := bash
.SHELLFLAGS := -euo pipefail -c

# The first interpreter on PATH that starts (a version manager's stub may not) and is new enough.
PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13 python3.14; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo "$$p"; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

CODE := .
CORE_C := $(sort $(wildcard lunar/_native/core/*.c))
NATIVE := $(CORE_C) $(sort $(wildcard lunar/_native/*/*.h lunar/_native/bus/*.c lunar/_native/codec/*.c lunar/_native/build_control.py \
	transports/*/native/*.[ch] transports/*/native/*/*.[ch]))
# The set itself, so that a removed source rebuilds as well.
NATIVE_LIST := build/native-sources
# The engine of the accelerated path: linked into the tests that are named after it.
PROTOCOL_C := $(sort $(wildcard transports/xdp/native/protocol/*.c))
C_TESTS := $(patsubst tests/native/%.c,%,$(sort $(wildcard tests/native/test_*.c)))

TESTS ?= tests
ARGS ?=
# With -P nothing is imported from the current folder by accident: tests see the installed package.
PYTEST := PYTHONSAFEPATH=1 $(BIN)/pytest

.PHONY: help
help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# ---- set-up -----------------------------------------------------------------------------------------------------

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "no python3.11 or later on PATH; set PYTHON=..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# Locked, because two of these may run at once in one checkout (a test run here, a linter there).
LOCKED := flock $(VENV)

# No build isolation: a rebuild of the C core then takes seconds and asks no registry.
$(VENV)/.build-tools: $(BIN)/python
	$(LOCKED) $(PIP) install --quiet "setuptools>=80" "cffi>=2.0"
	@touch $@

$(VENV)/.installed: $(VENV)/.build-tools pyproject.toml setup.py
	$(LOCKED) $(PIP) install --quiet --no-build-isolation --editable '.[dev]'
	@touch $@ $(VENV)/.native

$(VENV)/.native: $(VENV)/.installed $(NATIVE) $(NATIVE_LIST)
	$(LOCKED) $(BIN)/python setup.py --quiet build_ext --inplace
	@touch $@

$(NATIVE_LIST): FORCE
	@mkdir -p $(@D); echo '$(NATIVE)' | cmp --silent - $@ || echo '$(NATIVE)' > $@

$(VENV)/.demo $(VENV)/.compare: $(VENV)/.%: $(VENV)/.installed
	$(LOCKED) $(PIP) install --quiet --no-build-isolation --editable '.[$*]'
	@touch $@ $(VENV)/.native

.PHONY: FORCE
FORCE:

.PHONY: dev
dev: export LUNAR_WERROR := 1
dev: $(VENV)/.native  ## make .venv with the package (editable), its C core and all tools

# ---- checks -----------------------------------------------------------------------------------------------------

.PHONY: lint
lint: $(VENV)/.native  ## ruff, mypy, the import contracts, and the C core with warnings as errors
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	rm -rf build/lint
	LUNAR_WERROR=1 $(BIN)/python setup.py --quiet build_ext --build-lib build/lint --build-temp build/lint/tmp
	@for t in $(C_TESTS); do $(CC) $(C_DIALECT) $(C_WARNINGS) -Werror $(C_INCLUDES) -fsyntax-only "tests/native/$$t.c"; done

.PHONY: format
format: $(VENV)/.installed  ## rewrite the Python code in the project's format
	$(BIN)/ruff check --fix-only --quiet $(CODE)
	$(BIN)/ruff format $(CODE)

.PHONY: test
test: $(VENV)/.native $(VENV)/.demo c-tests  ## all tests, the kill and hostile-peer runs at a short count
	$(PYTEST) --durations=15 $(TESTS) $(ARGS)

.PHONY: faults
faults: $(VENV)/.native  ## the kill and hostile-peer runs at full count
	LUNAR_ROUNDS=25 $(MAKE) --no-print-directory c-tests
	$(PYTEST) --full --durations=15 -m "faults or hostile" tests $(ARGS)

# ---- the C core's own tests, plain or under a sanitizer ------------------------------------------------------------

SANITIZER := plain
SAN := build/$(SANITIZER)
C_DIALECT := -std=c11 -D_GNU_SOURCE
C_WARNINGS := -Wall -Wextra
C_INCLUDES := -Ilunar/_native/core -Itests/native
C_FLAGS_plain := -O2
C_FLAGS_asan := -O1 -fno-omit-frame-pointer -fno-sanitize-recover=all -fsanitize=address,undefined
# Its doubts about fences concern the bells alone, whose promise is tested by waiting for it.
C_FLAGS_tsan := -Wno-tsan -O1 -fno-omit-frame-pointer -fsanitize=thread -Wno-tsan

.PHONY: c-tests
c-tests: $(addprefix $(SAN)/,$(C_TESTS))
	@for t in $^; do echo "$$t"; $(C_TEST_RUN) "$$t"; done

$(SAN)/test_%: tests/native/test_%.c $(NATIVE) $(wildcard tests/native/*.h)
	@mkdir -p $(@D)
	$(CC) $(C_DIALECT) $(C_WARNINGS) $(C_INCLUDES) -g $(C_FLAGS_$(SANITIZER)) \
		$< $(CORE_C) -pthread -o $@

$(SAN)/test_xdp_protocol_%: tests/native/test_xdp_protocol_%.c $(wildcard tests/native/*.h transports/xdp/native/*/*.h) $(PROTOCOL_C)
	@mkdir -p $(@D)
	$(CC) $(C_DIALECT) $(C_WARNINGS) $(C_INCLUDES) -g $(C_FLAGS_$(SANITIZER)) $< $(PROTOCOL_C) -o $@

# Children inherit the preload, so every process of a test runs the instrumented core. CPython frees nothing at exit:
# no leak check. Its own allocator would hide overruns from ASan: malloc instead.
ASAN_ENV = LD_PRELOAD="$$($(CC) -print-file-name=libasan.so) $$($(CC) -print-file-name=libubsan.so)" PYTHONMALLOC=malloc \
	ASAN_OPTIONS=detect_leaks=0:abort_on_error=1:allocator_may_return_null=1 \
	UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
	LUNAR_SANITIZED=address PYTHONPATH=build/asan/lib

.PHONY: asan
asan: $(VENV)/.native  ## native and hostile-peer tests with the C core under ASan and UBSan
	ASAN_OPTIONS=detect_leaks=1 $(MAKE) --no-print-directory c-tests SANITIZER=asan
	rm -rf build/asan/lib
	LUNAR_SANITIZE=address,undefined $(BIN)/python setup.py --quiet build --build-base build/asan/base \
		--build-lib build/asan/lib
	$(ASAN_ENV) $(BIN)/python -P -c 'from lunar._native import _bus, _codec; from lunar_dds import _cdr; from lunar_zmq import _frames; \
		from lunar_xdp import _xdp; \
		assert all("build/asan" in each.__file__ for each in (_bus, _codec, _cdr, _frames, _xdp)), _cdr.__file__'
	$(ASAN_ENV) $(PYTEST) --timeout 300 -m "native or hostile" tests $(ARGS)

# Without address randomisation: kernels with many random bits place mappings where TSan's shadow must be.
.PHONY: tsan
tsan:  ## the C core's tests (its rings) under ThreadSanitizer
	TSAN_OPTIONS=halt_on_error=1 $(MAKE) --no-print-directory c-tests SANITIZER=tsan C_TEST_RUN="setarch -R"

.PHONY: idl
idl: $(VENV)/.native  ## write what lunar.msgs is made of from the schemas in idl/
	$(BIN)/python idl/generate.py

# ---- shows ------------------------------------------------------------------------------------------------------

.PHONY: demo
demo: $(VENV)/.demo $(VENV)/.native  ## stream photographs and telemetry between processes, then compare with pyzmq
	$(BIN)/python examples/demo/demo.py $(ARGS)

.PHONY: bench
bench: $(VENV)/.compare $(VENV)/.native  ## lunar perf compare: Lunar and its peers, interleaved in one run
	$(BIN)/lunar perf compare $(ARGS)

.PHONY: hosts
hosts: $(VENV)/.native  ## a lab of three hosts on this one, until Ctrl-C; needs root (docs/lab.md)
	@$(BIN)/python -P -m lunar.testing.lab --scripts build/hosts $(ARGS)

.PHONY: clean
clean:  ## remove everything that make made, .venv included
	rm -rf $(VENV) build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache *.egg-info
	find lunar transports perf $(wildcard examples) tests \( -name '*.so' -o -name __pycache__ \) -prune -exec rm -rf {} +
