# Everything here works in the environment that the README's second command makes; BIN names another one.
BIN ?= .venv/bin

.PHONY: check format test fast slowest native cross sanitize hydra-next faults audit results

check: ## lint, format, strict types, import contract
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format:
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test:
	$(BIN)/pytest -n 2 --dist worksteal

fast: ## the tests that need neither MNIST nor many processes
	$(BIN)/pytest -n 2 --dist worksteal -m "not slow"

slowest: ## all tests, and then the table of CONTRIBUTING.md: those that take most of a processor
	$(BIN)/pytest -n 2 --dist worksteal -p tests.slowest

BUILD := $(BIN)/python rnn_sweep/engines/native/build.py

native: ## compiles the native engine in place, as an installation does; after a change of its source
	$(BUILD)

cross: ## the native engine for systems that nobody here could try it on: Linux on aarch64, macOS on arm64
	$(BUILD) --system linux-aarch64 --into build/native/linux-aarch64
	$(BUILD) --system darwin-arm64 --into build/native/darwin-arm64

SANITIZED ?= $(shell grep -qw avx512_bf16 /proc/cpuinfo && echo x86-64-v4-bf16 || echo x86-64-v3)

sanitize: ## the native engine's tests on a build that checks every address and undefined behaviour; needs g++
	CXX=g++ $(BUILD) --into build/native/sanitized --only $(SANITIZED) -- \
	    -O0 -g1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined
	LD_PRELOAD="$$(g++ -print-file-name=libasan.so) $$(g++ -print-file-name=libstdc++.so)" \
	    ASAN_OPTIONS=detect_leaks=0 RNN_SWEEP_NATIVE=$(CURDIR)/build/native/sanitized/$(SANITIZED).so \
	    $(BIN)/python -m pytest -p no:cacheprovider --capture=sys tests/engines/test_native*.py

NEXT := build/hydra-next
# A folder before the environment's own packages is the second environment: Hydra and OmegaConf come from it, and all else
# from the first one. HYDRA_DEPRECATION_WARNINGS_AS_ERRORS is Hydra's own; its warnings of plugins have no such variable.
NEXT_ENV := PYTHONPATH=$(CURDIR)/$(NEXT)/packages HYDRA_DEPRECATION_WARNINGS_AS_ERRORS=1
NEXT_RUN = $(NEXT_ENV) PYTHONWARNINGS=error::UserWarning:hydra.core.plugins $(BIN)/python run.py \
    experiment=smoke trainer.epochs=1 tracking.uri=sqlite:///$(NEXT)/mlflow.db
NEXT_SEARCH = $(NEXT_RUN) -m hydra/sweeper=optuna hydra.sweeper.n_trials=2 hydra.sweeper.storage=sqlite:///$(NEXT)/optuna.db

hydra-next: ## the newest release candidate of Hydra 1.4: a run of each kind without a deprecated use, then cheap tests
	rm -rf $(NEXT)
	$(BIN)/python -m pip install --quiet --pre --target $(NEXT)/packages "hydra-core>=1.4.0rc1,<1.5"
	$(NEXT_ENV) $(BIN)/python -c 'import hydra; print("Hydra", hydra.__version__); assert hydra.__version__ >= "1.4"'
	$(NEXT_RUN) hydra.run.dir=$(NEXT)/run
	$(NEXT_RUN) -m seed=1,2 hydra.sweep.dir=$(NEXT)/grid
	$(NEXT_SEARCH) hydra/launcher=threads hydra.sweep.dir=$(NEXT)/threads
	$(NEXT_SEARCH) hydra/launcher=processes hydra.sweep.dir=$(NEXT)/processes
	PYTHONPATH=$(CURDIR)/$(NEXT)/packages $(BIN)/python -m pytest -q -n 2 --dist worksteal $(NEXT_TESTS)

NEXT_TESTS := tests/run/test_hints.py tests/launch/test_turns.py $(addprefix tests/sweep/test_,$(addsuffix .py,\
    as_typed config_cache foreign grammar_property hooks names official own_space samplers trusted wrong_types))

audit: ## known vulnerabilities of everything that is installed; asks PyPI, fails where that gives no answer
	$(BIN)/python -m pip freeze --exclude-editable > .audit.txt
	$(BIN)/pip-audit --strict --disable-pip --no-deps --requirement .audit.txt; status=$$?; rm .audit.txt; exit $$status

TIMES ?= 1

faults: ## what may happen to a sweep, tried on purpose, TIMES times; writes the table of docs/reliability.md; takes long
	$(BIN)/python -m tests.faults $(TIMES)

results: ## trains every row of docs/results.md, which takes hours, and writes the page; ROWS names some of them
	$(BIN)/python benchmarks/results.py $(ROWS)
