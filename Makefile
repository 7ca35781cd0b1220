# Thin: each target makes .venv if need be and calls the tool a contributor would call.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
# What is there stays: made once more by another Python, it would be of two.
INSTALL = @{ $(BIN)/python -c 'import pip' 2>/dev/null || $(PYTHON) -m venv .venv; } && \
    $(BIN)/pip install --quiet --disable-pip-version-check --editable
NATIVE := $(wildcard pltvm/*/native/*.[ch]) pltvm/monitor/records.h pltvm/fuzz/arena.h pltvm/host/linux/structs.h

# What Python alone must do the same. The model, the attacks and their holes take turns by themselves.
WITHOUT_CORE := tests/engine tests/monitor tests/test_examples.py tests/test_examples_shared.py

# A worker that has nothing left takes tests from another one. The hundreds of processes that tests start, and all
# workers, keep what Python compiles.
PYTEST = $(BIN)/pytest -n auto --dist worksteal
unexport PYTHONDONTWRITEBYTECODE
# glibc keeps what is freed: a page that the kernel has to clear again takes longer than most that is done with it.
test: export MALLOC_TRIM_THRESHOLD_ = 268435456
test: export MALLOC_MMAP_THRESHOLD_ = 33554432
SITE = NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

run: .venv/run .venv/core
	@$(BIN)/pltvm demo

# Beside what needs one core: Python compiles the tests, which else each worker does by itself, and the compiler
# makes musl for them, of which it does nothing in parallel.
test: .venv/test .venv/core
	@($(BIN)/pytest --collect-only; $(BIN)/python -m tests.musl) >/dev/null 2>&1 &
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(SITE)
	$(PYTEST)
	PLTVM_NATIVE=0 $(PYTEST) $(WITHOUT_CORE)

# The site, in site/; in `make test` it is made to see whether all links and names are good.
docs: .venv/test
	$(SITE)
	@echo "made site/index.html; with search: python3 -m http.server --directory site"

# A wheel for each machine, made on this one.
wheels: .venv/test
	@for target in $$($(BIN)/python -c 'from pltvm.build.core import TARGETS; print(*TARGETS)'); do \
	    PLTVM_TARGET=$$target $(BIN)/pip wheel --quiet --no-deps --wheel-dir dist . || exit 1; done

.venv/run: pyproject.toml
	$(INSTALL) .
	@touch $@

.venv/test: pyproject.toml
	$(INSTALL) '.[dev]'
	@touch .venv/run $@

# Installing makes it the first time, with a compiler that is gone then; where there is none, all works without.
.venv/core: $(NATIVE) | .venv/run
	@$(BIN)/python -c 'from pltvm.native import core; raise SystemExit(core is None)' 2>/dev/null || \
	    $(BIN)/python -m pltvm.build core >/dev/null || true
	@touch $@

.PHONY: run test docs wheels
