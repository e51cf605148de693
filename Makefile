# `make` alone lists the targets. The first one that needs .venv makes it from requirements.lock.
PYTHON ?= python3
JOBS ?= 0
CONFIG ?= configs/embedded.yaml
ARMS := $(sort $(wildcard configs/arms/*.yaml))
# The experiment `human` counts label files that do not ship; results/README.md says how to run it.
EXPERIMENTS := small_loss collapse conditions advice label_errors
# The heads are small: threads that wait for each other cost more than they bring, so processes are used instead.
export OMP_NUM_THREADS ?= 1

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
STRIP := nbstripout --keep-id --extra-keys "metadata.papermill cell.metadata.papermill"

.DEFAULT_GOAL := .list
.PHONY: .list install test book run archive bench check clean

# What `make` alone does; it has no name of its own to call.
.list:
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-15s %s\n", $$1, $$2}'

install: $(STAMP)  ## make .venv from requirements.lock (PYTHON=python3.11 picks the interpreter)

test: $(STAMP)  ## run the tests in two processes (ARGS="-k noise -n 0" passes arguments to pytest; -n 0: in one)
	$(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

book: $(STAMP)  ## run the embedded study, the chapters that are out of date, and render _build/html/index.html
	$(BIN)/noisylib run configs/embedded.yaml --jobs $(JOBS)
	$(BIN)/noisylib book --jobs $(JOBS)
	@# The pages that warned are read again next time: an unchanged page would otherwise pass without its warning.
	$(BIN)/jupyter-book build --warningiserror --nitpick --keep-going -q . || { rm -rf _build/.doctrees; exit 1; }
	$(BIN)/python book/check.py _build/html
	@echo "The book is ready: _build/html/index.html"

run: $(STAMP)  ## run or resume a study (CONFIG=configs/embedded.yaml; JOBS=0 takes every core)
	$(BIN)/noisylib run $(CONFIG) --jobs $(JOBS)

archive: $(STAMP)  ## run or resume the benchmark, its arms and the experiments (hours), and collect their tables in results
	for config in configs/archive.yaml $(ARMS); do $(BIN)/noisylib run $$config --jobs $(JOBS) || exit; done
	$(BIN)/noisylib collect configs/archive.yaml --out results/archive.parquet
	$(BIN)/noisylib collect $(ARMS) --out results/arms.parquet
	for name in $(EXPERIMENTS); do $(BIN)/noisylib experiment $$name --jobs $(JOBS) --collect || exit; done
	$(BIN)/noisylib refit

bench: $(STAMP)  ## measure the training core (ARGS=--all measures everything, in some twenty minutes)
	$(BIN)/python -m benchmarks $(ARGS)

check: $(STAMP)  ## lint and format check of code and notebooks, without changing them
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	find notebooks -name '*.ipynb' -exec $(BIN)/$(STRIP) --verify {} +

clean:  ## delete the rendered book and caches (keeps .venv and results)
	rm -rf _build book/pages build *.egg-info .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "noisylib needs Python 3.11 or later; '$(PYTHON)' is missing or older. Say: make PYTHON=python3.11 ..." >&2; exit 1; }
	@echo "Installing requirements.lock into $(VENV) (the first time: a few minutes, 6 GB)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --disable-pip-version-check --quiet --no-compile -r requirements.lock
	@# pip compiles on one core. Files for other Python versions do not compile, which is no failure.
	$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib || true
	$(BIN)/pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation --editable .
	@touch $(STAMP)
