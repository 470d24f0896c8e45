# Everything here works in the environment that the README's second command makes; BIN names another one.
BIN ?= .venv/bin

.PHONY: check format test fast faults audit results

check: ## lint, format, strict types, import contract
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format:
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test:
	$(BIN)/pytest -n 2 --dist loadfile

fast: ## the tests that need neither MNIST nor many processes
	$(BIN)/pytest -n 2 --dist loadfile -m "not slow"

audit: ## known vulnerabilities of everything that is installed; asks PyPI, fails where that gives no answer
	$(BIN)/python -m pip freeze --exclude-editable > .audit.txt
	$(BIN)/pip-audit --strict --disable-pip --no-deps --requirement .audit.txt; status=$$?; rm .audit.txt; exit $$status

TIMES ?= 1

faults: ## what may happen to a sweep, tried on purpose, TIMES times; writes the table of docs/reliability.md; takes long
	$(BIN)/python -m tests.faults $(TIMES)

results: ## trains every row of docs/results.md, which takes hours, and writes the page; ROWS names some of them
	$(BIN)/python benchmarks/results.py $(ROWS)
