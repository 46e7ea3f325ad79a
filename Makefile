# `make demo` and `make test` do all of their own set-up: a virtual environment in .venv from pinned versions.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SETUP_LOG := $(VENV)/setup.log
BENCHES := bench/curves.py bench/replay.py bench/seek.py bench/screen.py bench/hostile.py bench/ssh.py bench/start_up.py \
  bench/loader.py bench/telemetry.py bench/checkpoint.py

.PHONY: demo test check bench mutants clean

demo: $(READY)
	@$(BIN)/fastconsole local

test: $(READY)
	@./tests/system-packages.sh
	@# Three files at a time: much of the suite waits for leases, notices and hosts that boot. In the order of their names,
	@# which has the long ones first, and not the files with the most tests first.
	$(BIN)/python -m pytest -q -n 3 --dist loadfile --no-loadscope-reorder

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

bench: $(READY)
	@$(BIN)/python -m pip install --disable-pip-version-check --no-input -q -c constraints.txt -e '.[bench]'
	@for one in $(BENCHES); do echo "== $$one"; $(BIN)/python $$one || exit 1; done

# Minutes: `make mutants MUTANTS="--seed 1 --sample 50"`.
mutants: $(READY)
	@$(BIN)/python bench/mutants.py $(MUTANTS)

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "fastconsole needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Say make PYTHON=python3.12, for example.")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "setting up $(VENV): torch with its CUDA libraries takes 6 GB and a minute or two, once; log in $(SETUP_LOG)"
	@$(BIN)/python -m pip install --disable-pip-version-check --no-input -c constraints.txt -e '.[train,dev]' \
	  >$(SETUP_LOG) 2>&1 & pip=$$!; trap "kill $$pip 2>/dev/null; exit 130" INT TERM; \
	while kill -0 $$pip 2>/dev/null; do printf .; sleep 1; done; echo; \
	wait $$pip || { tail -n 20 $(SETUP_LOG); echo "setting up failed; the whole log is $(SETUP_LOG)"; exit 1; }
	@# A pair from two indexes fails here and not in the middle of a run; and the first run finds compiled modules.
	@$(BIN)/python -c 'import torch._dynamo, torchvision'
	@touch $@
