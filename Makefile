# make demo: a small study from plan to PDF.   make test: the tests.   Both set up .venv when there is none.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN = $(abspath $(VENV))/bin
READY = $(VENV)/.ready

DEMO = demo
DEMO_BUDGETS = 6e10,1.2e11,2.4e11
DEMO_RECURRENCES = 2,3,4,6,8,12
DEMO_SEED = 0

.PHONY: demo test test-slurm test-library test-others lint mutants faults clean

demo: $(READY)
	mkdir -p $(DEMO)
	cd $(DEMO) && $(BIN)/parcae-sweep plan --sweep seed-$(DEMO_SEED) --model nano --flops $(DEMO_BUDGETS) --recurrences $(DEMO_RECURRENCES) --seeds $(DEMO_SEED)
	cd $(DEMO) && $(BIN)/parcae-sweep submit --sweep seed-$(DEMO_SEED) --cluster local
	cd $(DEMO) && $(BIN)/parcae-fit isoflop --sweep seed-$(DEMO_SEED)
	cd $(DEMO) && $(BIN)/parcae-fit report --sweep seed-$(DEMO_SEED)

# Two at a time: tests on SLURM mostly wait for it, and the others keep a processor busy each.
test: $(READY)
	@$(MAKE) --no-print-directory --jobs 2 --output-sync=target test-slurm test-others test-library

test-slurm: $(READY)
	$(BIN)/pytest tests/slurm

test-library: $(READY)
	$(BIN)/pytest tests/parcae tests/analysis

test-others: $(READY)
	$(BIN)/pytest --ignore tests/slurm --ignore tests/parcae --ignore tests/analysis

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo --no-cache
	$(BIN)/mkdocs build  # fails on a broken link

# Do the tests notice? Faults are planted one at a time; the score goes to bench/results/mutants.txt.
mutants: $(READY)
	$(BIN)/python -m tests.mutants.run

# Every file operation of a small sweep fails once, and every bit of its files is flipped once (an hour).
faults: $(READY)
	FAULTS=all FLIPS=all $(BIN)/pytest -s tests/sweeps/test_faults.py tests/sweeps/test_integrity.py

clean:
	rm -rf $(VENV) $(DEMO) build *.egg-info

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@
